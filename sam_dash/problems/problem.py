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
from sam_dash.problems.architecture import inputs, parse, size
from sam_dash.problems.arrays import NO_TOKENS, NPZ, SCALINGS, Contents, DataError, one_line, sha256
from sam_dash.problems.card import FILE, Card, card
from sam_dash.problems.datasets import DATASETS, Dataset, describe
from sam_dash.problems.listing import allowed, refuse_unlisted
from sam_dash.problems.npz import contents

STARTS = ("init", "memorised", "pretrained")
OWN = "own"  # the network of a problem file, which is the file's
RECORDED = "recorded:"
"""What the names of data begin with that were trained on elsewhere (`sam_dash.runs.recording`): they are not here."""
PLAIN = {"n_train": 0, "label_noise": 0.0, "start": "init", "imbalance": 1.0}  # nothing is done to the data


class SpecError(ValueError):
    """A specification that cannot be run; the message says in a line what was wrong and what was expected."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


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
    new = 1 - source_classes(classes) / classes if start == "pretrained" else 1
    return int(n * (0.5 if start == "memorised" else new))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data (`n_train` of its training samples, 0: all), network, label noise and where training starts.

    `imbalance`: how many times more training samples of the first class are kept than of the last; 1 keeps all.
    """

    dataset: str = "digits"
    data_hash: str = ""
    network: str = "mlp:64"
    n_train: int = fact(0, "Training samples (0: all)", "the first n of the training samples; 0: all", 0, 10**7)
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
            if self.dataset.startswith(FILE):
                self._check_file()
            elif self.dataset.startswith(NPZ):
                object.__setattr__(self, "data_hash", self.data_hash or sha256(self.path))
            else:
                check_choice("dataset", self.dataset, DATASETS)
                if digest := DATASETS[self.dataset].digest:
                    object.__setattr__(self, "data_hash", self.data_hash or digest())
            own, known = self.own, self.known
            if not self.is_file:
                self._check_network()
        except OSError as error:
            raise SpecError(f"no file {str(self.path)!r} that can be read ({error.strerror})") from None
        except ValueError as error:
            raise SpecError(str(error)) from None
        found = own or known
        n = len(own.y_train) if own else known.n_train if known else self.n_train
        check(self.n_train <= n, f"n_train = {self.n_train}: {self.title} has only {n} training samples")
        if found and not found.classes:
            for name in ("label_noise", "imbalance", "start"):
                usual = getattr(type(self), name)
                told = f"{name} = {getattr(self, name)} is about classes, and the labels of {self.title} are numbers"
                check(getattr(self, name) == usual, f"{told}: leave it at {usual}")
        if own and self.start == "pretrained":
            half = source_classes(own.classes)
            check(bool((own.y_test >= half).any()), f"start = pretrained: no test sample of the classes from {half} on")

    def _check_network(self) -> None:
        """Refuse a network by its name that does not fit the data, and tokens that are none."""
        parse(self.network)
        own, known = self.own, self.known
        there = bool(known and known.vocabulary)
        wrong = f"scaling = {self.scaling}: {self.title} has"
        check(self.scaling != "tokens" or not own or own.vocabulary > 0, f"{self.title}: {NO_TOKENS}")
        check(self.scaling != "tokens" or not known or there, f"{wrong} no tokens, but numbers")
        check(self.scaling == "none" or not there, f"{wrong} tokens already: none")
        if own:
            size(self.network, own.shape, own.outputs, self.vocabulary)
        elif known:
            size(self.network, known.shape, known.outputs, self.vocabulary)

    def _check_file(self) -> None:
        """Fill in what a problem file determines; refuse what it does not take."""
        check(self.path.is_absolute(), f"dataset = {self.dataset!r}: expected the whole path of a problem file")
        check(self.network in (OWN, type(self).network), f"network = {self.network}: {self.title} brings its own")
        check(self.scaling == "none", f"scaling = {self.scaling}: {self.title} scales its data itself")
        check(self.start != "pretrained", f"start = pretrained draws a last layer anew; {self.title} has its own")
        object.__setattr__(self, "network", OWN)
        if not self.data_hash:
            refuse_unlisted(self.path)
            object.__setattr__(self, "data_hash", card(self.path).digest)

    @property
    def is_file(self) -> bool:
        """Whether it is a problem file, with a network and a loss of its own."""
        return self.dataset.startswith(FILE)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, where inputs are such; else 0."""
        if self.own:
            return self.own.vocabulary if self.scaling == "tokens" else 0
        return DATASETS[self.dataset].vocabulary if self.dataset in DATASETS else 0

    @property
    def title(self) -> str:
        """The name of the data set, of a file without its folder."""
        return self.path.name if self.dataset.startswith((NPZ, FILE)) else self.dataset

    @property
    def path(self) -> Path:
        """The user's own file."""
        return Path(self.dataset.removeprefix(NPZ).removeprefix(FILE))

    @cached_property
    def card(self) -> Card | None:
        """The card of a problem file, where it may be run here and is the one of `data_hash`."""
        if not self.is_file or not allowed(self.path):
            return None
        try:
            found = card(self.path)
        except DataError:
            return None
        return found if found.digest == self.data_hash else None

    @property
    def known(self) -> Dataset | None:
        """What is known of a built-in set, or of a problem file that is there and has not changed."""
        if (of := self.card) is None:
            return DATASETS.get(self.dataset)
        return Dataset(self.title, of.shape, of.classes, of.n_train, of.n_test, lambda: None)  # type: ignore

    @property
    def score(self) -> str:
        """The key of the score beside the loss (see `sam_dash.maths.loss.Score`); "" where it is not known, or none."""
        if self.is_file:
            return self.card.score if self.card else ""
        found = self.own or self.known
        return "" if found is None else "acc" if found.classes else "error_RMSE"

    @property
    def data(self) -> Dataset:
        """What is known of the data set; SpecError where it cannot be trained on here."""
        try:
            if self.is_file and self.known is None:
                refuse_unlisted(self.path)
                card(self.path)
                raise DataError(f"{self.title} has changed since this run was specified; start a new sweep with it")
            return self.known or describe(self.dataset, self.scaling)
        except DataError as error:
            raise SpecError(str(error)) from None

    @cached_property
    def own(self) -> Contents | None:
        """What is in the user's own file; None for a built-in set, and where the file is not the one of `data_hash`."""
        if not self.dataset.startswith(NPZ):
            return None
        here = self.path.is_file() and (not self.data_hash or sha256(self.path) == self.data_hash)
        return contents(self.path) if here else None

    @cached_property
    def samples(self) -> int | None:
        """Training samples N of a run proper; None for the user's own file, if it is not there.

        Of a built-in set that is made long-tailed or fine-tuned on nearly so: it depends on the sizes of the classes.
        """
        own, known = self.own, self.known
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
        if self.card:
            return [f"{self.title}: {self.card.text()}"]
        if not self.own:
            return []
        said = f"{self.title}: {self.own.spread()}; scaling {self.scaling}: {SCALINGS[self.scaling]}"
        if self.own.target:
            said += f". Numbers to predict: {self.own.target}, standardised, so that the RMSE is in standard deviations"
        taken = inputs(self.network, self.own.shape, self.vocabulary)
        if taken.shape != self.own.shape:
            moved = ", the channels, which come last, first" if taken.moved else ""
            said += f". {self.network} takes inputs {self.own.shape} as {taken.shape}{moved}"
        return [said, *filter(None, [self.own.far(self.scaling)])]


def reset(was: str, to: str) -> dict[str, Any]:
    """The fields of a problem that start anew when its data set `was` becomes `to`.

    The user's own data start plain, whatever a preset did to its data, and standardised unless a file does that itself;
    the built-in sets are standardised already.
    """
    if to.startswith(FILE):
        return PLAIN | {"scaling": "none", "network": OWN}
    if to.startswith(NPZ):
        return {} if was.startswith(NPZ) else PLAIN | {"scaling": "standardise"}
    return {"scaling": "none"} if was.startswith(NPZ) else {}
