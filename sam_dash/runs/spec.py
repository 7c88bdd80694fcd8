"""What a run and a sweep are: frozen dataclasses that validate themselves and name themselves by a hash.

Torch-free, so that a page can build and check one. The key of a run is a hash of all that its result depends on,
hence the store is the cache: a run that exists is not run again.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from sam_dash import variants
from sam_dash.problems.problem import Problem, SpecError, check, check_choice, check_facts, check_number, fact
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.plain import digest, plain

SCHEMA = 1
OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "constant")
MAX_RUNS = 5000
STACKED = ("rho", "lam")  # knobs that may differ within a stack: no variant branches on them

__all__ = ["Measures", "Problem", "RunSpec", "SpecError", "SweepSpec", "Training", "divisors", "from_dict"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """The base optimiser, its schedule, the batch size B and the number of epochs."""

    optimiser: str = fact("sgd", "Base optimiser", choices=OPTIMISERS)
    lr: float = fact(0.1, "Learning rate", "", 1e-8, 100)
    momentum: float = fact(0.9, "Momentum", "", 0, 0.9999)
    nesterov: bool = fact(False, "Nesterov")
    weight_decay: float = fact(
        0.0, "Weight decay", "applied by the base optimiser, at w; never inside the perturbation", 0, 10
    )
    schedule: str = fact("cosine", "Schedule", "of the learning rate", choices=SCHEDULES)
    batch: int = fact(64, "Batch size B", "", 1, 4096)
    epochs: int = fact(50, "Epochs", "", 1, 10_000)

    def __post_init__(self) -> None:
        check_facts(self)


EVERY = f"0: only at the end, as {', '.join(key for key, m in MEASURES.items() if m.once)} always are"


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What is measured besides losses and accuracies: at the end and, but for what is made `once`, every `every` epochs
    (0: not).
    """

    what: tuple[str, ...] = ("trace", "lam_max", "noise")
    every: int = fact(
        0,
        "Measure every … epochs",
        f"0: only at the end, as {', '.join(k for k, m in MEASURES.items() if m.once)} always are",
        0,
        10_000,
    )

    def __post_init__(self) -> None:
        for q in self.what:
            check_choice("measure", q, MEASURES)
        object.__setattr__(self, "what", tuple(q for q in MEASURES if q in self.what))
        check_facts(self)


def _plain(spec: RunSpec | SweepSpec) -> dict[str, Any]:
    """A spec as plain JSON values, without what a later version added and is at its default: keys then stay."""
    out: dict[str, Any] = plain(spec)
    for name, usual in (("imbalance", 1), ("scaling", "none")):
        if out["problem"][name] == usual:
            del out["problem"][name]
    if out.get("networks") == []:
        del out["networks"]
    return out


def _common(spec: RunSpec | SweepSpec) -> None:
    """Turn the nested dicts of a JSON file into dataclasses."""
    for name, cls in (("problem", Problem), ("training", Training), ("measures", Measures)):
        if not isinstance(getattr(spec, name), cls):
            object.__setattr__(spec, name, from_dict(cls, getattr(spec, name)))


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run.

    `m` divides the batch size B; it is None for a variant without a perturbation (no rho), and B if left out.
    """

    variant: str
    seed: int = 0
    m: int | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    problem: Problem = field(default_factory=Problem)
    training: Training = field(default_factory=Training)
    measures: Measures = field(default_factory=Measures)

    def __post_init__(self) -> None:
        _common(self)
        try:
            v = variants.get(self.variant)
            object.__setattr__(self, "knobs", v.check(self.knobs))
        except ValueError as error:
            raise SpecError(str(error)) from None
        B = self.training.batch
        object.__setattr__(self, "m", (B if self.m is None else self.m) if "rho" in v.knobs else None)
        check(
            self.m is None or (type(self.m) is int and 1 <= self.m <= B and B % self.m == 0),
            f"m = {self.m!r} does not divide the batch size B = {B}; choose one of {', '.join(map(str, divisors(B)))}",
        )
        check(v.uses_m or self.m in (None, B), f"{v.title} has no micro-batches; leave m out (m = B = {B})")
        self._check_labels()
        n = self.problem.samples
        check(n is None or n >= B, f"{n} training samples are fewer than one batch of B = {B}")
        first = self.problem.source_samples
        check(first is None or first >= B, f"{first} samples to pre-train on are fewer than one batch of B = {B}")
        check_number(self, "seed", 0, 2**31 - 1, whole=True)

    def _check_labels(self) -> None:
        """Refuse what the labels, or the loss, of a problem do not have."""
        v, known, found = variants.get(self.variant), self.problem.known, self.problem.card
        check(
            not v.counts or known is None or known.classes > 0,
            f"{v.title} weighs classes by their size, and the labels of {self.problem.title} are numbers",
        )
        second = [q for q in self.measures.what if MEASURES[q].second]
        check(
            not second or found is None or not found.wrong,
            f"{', '.join(second)} needs second derivatives of {self.problem.title}'s loss: {found and found.wrong}; "
            f"choose of {', '.join(q for q, m in MEASURES.items() if not m.second)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return _plain(self)

    @cached_property
    def key(self) -> str:
        """Twelve hex digits that name this run."""
        return digest([SCHEMA, self.to_dict()])

    @property
    def group(self) -> str:
        """The key of everything but the seed, rho and lambda: runs of one group train in one stack."""
        defaults = variants.get(self.variant).defaults()
        same = {name: defaults[name] if name in STACKED else value for name, value in self.knobs.items()}
        return replace(self, seed=0, knobs=same).key

    def cost(self) -> Any:
        """Passes of one step (a `Cost`)."""
        return variants.get(self.variant).cost(**self.knobs)


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A grid of runs: networks x variants x m x knob values x seeds on one problem.

    `networks` are taken in turn in the place of the problem's; of a single one the problem says which, and it is empty.
    An axis is crossed only with the variants that have it: `m` with those swept over m (others run at m = B),
    `knobs["lam"]` with those that have a lambda.
    """

    preset: str = ""
    variants: tuple[str, ...] = ("sgd", "nsam", "sam")
    m: tuple[int, ...] = ()
    knobs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    problem: Problem = field(default_factory=Problem)
    training: Training = field(default_factory=Training)
    measures: Measures = field(default_factory=Measures)
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _common(self)
        for name in ("variants", "m", "seeds", "networks"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.networks:  # one way to say the same
            object.__setattr__(self, "problem", replace(self.problem, network=self.networks[0]))
            object.__setattr__(self, "networks", self.networks if len(self.networks) > 1 else ())
        check(
            isinstance(self.preset, str) and len(self.preset) <= 64 and self.preset.isprintable(),
            f"preset = {str(self.preset)[:64]!r}: expected a text of at most 64 printable characters",
        )
        check(bool(self.variants) and bool(self.seeds), "a sweep needs at least one variant and one seed")
        try:
            known = {name: knob for key in self.variants for name, knob in variants.get(key).knobs.items()}
            for name in self.knobs:
                check(name in known, f"none of {', '.join(self.variants)} has a knob {name!r}")
            values = {k: tuple(dict.fromkeys(known[k].check(k, x) for x in v)) for k, v in self.knobs.items() if v}
        except SpecError:
            raise
        except ValueError as error:
            raise SpecError(str(error)) from None
        object.__setattr__(self, "knobs", values)
        self.runs()  # every cell must be valid

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problem with each of the networks."""
        return tuple(replace(self.problem, network=name) for name in self.networks) or (self.problem,)

    def runs(self) -> tuple[RunSpec, ...]:
        """The cells of the grid, networks outermost and seeds innermost."""
        return self._runs

    @cached_property
    def _runs(self) -> tuple[RunSpec, ...]:
        cells = {}
        for problem, key in itertools.product(self.problems, self.variants):
            v = variants.get(key)
            axes = [[(k, x) for x in self.knobs.get(k, (knob.default,))] for k, knob in v.knobs.items()]
            for m in (self.m or (None,)) if v.m_axis else (None,):
                for knobs in itertools.product(*axes):
                    for seed in self.seeds:
                        run = RunSpec(
                            variant=key, m=m, knobs=dict(knobs), seed=seed,
                            problem=problem, training=self.training, measures=self.measures,
                        )  # fmt: skip
                        cells[problem, key, run.m, *run.knobs.items(), seed] = run  # a key for each would be dear
                        check(len(cells) <= MAX_RUNS, f"more than {MAX_RUNS} runs in one sweep; narrow an axis")
        return tuple(cells.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return _plain(self)

    @property
    def key(self) -> str:
        """Twelve hex digits that name this sweep."""
        return digest([SCHEMA, self.to_dict()])


def from_dict(cls: type[Any], data: Any) -> Any:
    """A spec of class `cls` from plain JSON values; SpecError for anything unknown or of the wrong shape."""
    check(isinstance(data, Mapping), f"expected a JSON object for {cls.__name__}, got {type(data).__name__}")
    known = {f.name for f in fields(cls)}
    for name in data:
        check(name in known, f"unknown field {name!r} in {cls.__name__}; known: {', '.join(sorted(known))}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    except SpecError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        raise SpecError(f"not a valid {cls.__name__}: {error}") from None


def divisors(n: int) -> list[int]:
    """The divisors of n, largest first: the micro-batch sizes of a batch of n."""
    return [k for k in range(n, 0, -1) if n % k == 0]
