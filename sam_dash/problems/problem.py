"""What is trained on what: the torch-free description of a problem, and the checks that all specifications share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sam_dash.maths.contract import Knob
from sam_dash.problems.architecture import parse, size
from sam_dash.problems.arrays import NPZ, SCALINGS, Contents, contents, sha256
from sam_dash.problems.datasets import DATASETS

STARTS = ("init", "memorised", "pretrained")
PLAIN = {"n_train": 0, "label_noise": 0.0, "start": "init", "imbalance": 1.0}  # nothing is done to the data


class SpecError(ValueError):
    """A specification that cannot be run; the message says what was wrong and what was expected."""


def check(good: bool, message: str) -> None:
    """Raise SpecError(message) unless `good`."""
    if not good:
        raise SpecError(message)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise SpecError unless `value` is one of `choices`."""
    check(value in choices, f"unknown {name} {value!r}; expected one of {', '.join(choices)}")


def check_number(spec: Any, name: str, low: float, high: float, whole: bool = False) -> None:
    """Raise SpecError unless the field is a finite number in [low, high]; make it a float unless `whole`.

    1 and 1.0 then name the same run.
    """
    value = getattr(spec, name)
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    good = number and low <= value <= high and (not whole or isinstance(value, int))
    check(good, f"{name} = {value!r}: expected {'a whole number' if whole else 'a number'} in [{low:g}, {high:g}]")
    if not whole:
        object.__setattr__(spec, name, float(value))


def fact(
    default: Any, label: str, about: str = "", low: float = 0, high: float = 0, choices: tuple[str, ...] = ()
) -> Any:
    """A field of a specification: its default and, for form and command line too, its name and what it takes."""
    knob = Knob(label, about, low, high, type(default), choices, default)
    return field(default=default, metadata={"fact": knob})


def facts(spec: Any) -> dict[str, Knob]:
    """The fields of a specification (its class or itself) that are made by `fact`, by name."""
    return {f.name: f.metadata["fact"] for f in fields(spec) if "fact" in f.metadata}


def check_facts(spec: Any) -> None:
    """Raise SpecError unless every field made by `fact` is what it says; 1 and 1.0 then name the same run."""
    for name, knob in facts(spec).items():
        try:
            object.__setattr__(spec, name, knob.check(name, getattr(spec, name)))
        except ValueError as error:
            raise SpecError(str(error)) from None


def class_shares(imbalance: float, classes: int) -> list[float]:
    """imbalance^(-c/(C-1)): which share of class c a long-tailed version keeps (Cui et al., arXiv:1901.05555)."""
    return [imbalance ** (-c / max(1, classes - 1)) for c in range(classes)]


def long_tail(y: np.ndarray, imbalance: float, classes: int) -> np.ndarray:
    """Which samples (in order) a long-tailed version keeps: of each class the first ones, exponentially fewer."""
    kept = [
        np.flatnonzero(y == c)[: max(1, round(share * (y == c).sum()))]
        for c, share in enumerate(class_shares(imbalance, classes))
    ]
    return np.sort(np.concatenate(kept))


def source_classes(classes: int) -> int:
    """How many classes, the first ones, a network is pre-trained on before it is fine-tuned on the others."""
    return classes // 2


def trained_on(n: int, start: str, classes: int) -> int:
    """How many of n samples the run proper has: half after a memorised start, those of the new classes after a
    pre-trained one (exact where classes are equally many).
    """
    new = {"memorised": 0.5, "pretrained": 1 - source_classes(classes) / classes}
    return int(n * new.get(start, 1))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data (`n_train` of its training samples, 0: all), network, label noise and where training starts.

    `imbalance`: how many times more training samples of the first class are kept than of the last; 1 keeps all.
    """

    dataset: str = "digits"
    data_hash: str = ""
    network: str = "mlp:64"
    n_train: int = fact(0, "Training samples", "the first n of the training samples; 0: all", 0, 10**7)
    label_noise: float = fact(
        0.0, "Label noise", "share of training labels replaced by a wrong one, drawn per seed", 0, 0.95
    )
    start: str = fact(
        "init", "Start",
        "init: from initialisation; memorised: SGD first fits data half of which is mislabelled; "
        "pretrained: SGD first learns the first half of the classes, the run is on the others",
        choices=STARTS,
    )  # fmt: skip
    imbalance: float = fact(
        1.0, "Imbalance",
        "long tail: so many times more samples of the first class than of the last, exponentially; 1: none",
        1, 10_000,
    )  # fmt: skip

    scaling: str = fact("none", "Scaling", "; ".join(f"{k}: {v}" for k, v in SCALINGS.items()), choices=tuple(SCALINGS))

    def __post_init__(self) -> None:
        check_facts(self)
        try:
            if self.dataset.startswith(NPZ):
                object.__setattr__(self, "data_hash", self.data_hash or sha256(self._path))
            else:
                check_choice("dataset", self.dataset, DATASETS)
            parse(self.network)
            own, known = self.own, DATASETS.get(self.dataset)
            if own:
                size(self.network, own.shape, own.classes)
            elif known:
                size(self.network, known.shape, known.classes)
        except OSError as error:
            raise SpecError(f"no file {str(self._path)!r} that can be read ({error.strerror})") from None
        except ValueError as error:
            raise SpecError(str(error)) from None
        there = len(own.y_train) if own else known.n_train if known else self.n_train
        check(self.n_train <= there, f"n_train = {self.n_train}: {self.title} has only {there} training samples")
        if own and self.start == "pretrained":
            half = source_classes(own.classes)
            check(bool((own.y_test >= half).any()), f"start = pretrained: no test sample of the classes from {half} on")

    @property
    def title(self) -> str:
        """The name of the data set, of a file without its folder."""
        return self._path.name if self.dataset.startswith(NPZ) else self.dataset

    @property
    def _path(self) -> Path:
        return Path(self.dataset.removeprefix(NPZ))

    @cached_property
    def own(self) -> Contents | None:
        """What is in the user's own file; None for a built-in set, and where the file is not the one of `data_hash`."""
        if not self.dataset.startswith(NPZ):
            return None
        here = self._path.is_file() and (not self.data_hash or sha256(self._path) == self.data_hash)
        return contents(self._path) if here else None

    @cached_property
    def samples(self) -> int | None:
        """Training samples N of a run proper; None for the user's own file, if it is not there.

        Of a built-in set that is made long-tailed or fine-tuned on nearly so: it depends on the sizes of the classes.
        """
        own, known = self.own, DATASETS.get(self.dataset)
        if own:
            y = own.y_train[: self.n_train or None]
            y = y[long_tail(y, self.imbalance, own.classes)] if self.imbalance != 1 else y
            y = y[y >= source_classes(own.classes)] if self.start == "pretrained" else y
            return len(y) // 2 if self.start == "memorised" else len(y)
        n = self.n_train or (known.n_train if known else None)
        if n and known and self.imbalance != 1:
            n = round(n * sum(class_shares(self.imbalance, known.classes)) / known.classes)
        return n and trained_on(n, self.start, known.classes if known else 2)

    @property
    def source_samples(self) -> int | None:
        """Samples that a network is pre-trained on first; None if it is not, or where they are not known."""
        if self.start != "pretrained" or not self.own:
            return None
        return int((self.own.y_train < source_classes(self.own.classes)).sum())

    def notes(self) -> list[str]:
        """What is to be said of the user's own data, in words: their spread and scaling, and what is wrong with it."""
        if not self.own:
            return []
        said = f"{self.title}: {self.own.spread()}; scaling {self.scaling}: {SCALINGS[self.scaling]}"
        return [said, *filter(None, [self.own.far(self.scaling)])]


def reset(was: str, to: str) -> dict[str, Any]:
    """The fields of a problem that start anew when its data set `was` becomes `to`.

    The user's own data start plain and standardised, whatever a preset did to its data; the built-in sets are
    standardised already.
    """
    if to.startswith(NPZ):
        return {} if was.startswith(NPZ) else PLAIN | {"scaling": "standardise"}
    return {"scaling": "none"} if was.startswith(NPZ) else {}
