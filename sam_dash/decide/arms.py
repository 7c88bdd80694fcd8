"""The two families: settings of the base optimiser, and of SAM or its variants on top of the best; as many of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sam_dash import variants
from sam_dash.maths.contract import Variant
from sam_dash.runs.spec import Measures, Problem, SpecError, SweepSpec, Training, divisors

DECAYS, LENGTHS = (0.0, 0.003, 0.02), (1, 2)  # of the base: added decay, and factors of epochs
RATES = (
    1.0,
    3.0,
    0.3,
    10.0,
    0.1,
    30.0,
)  # and of lr: two for each variant that is raced, so that the families are as large
RADII, SIZES = (0.4, 1.0, 2.0, 4.0), 3  # of a variant: factors of its usual ρ, and m of B, about its eighth, 1


@dataclass(frozen=True)
class Arm:
    """A setting: all of a run but its seed."""

    variant: str
    training: Training
    m: int | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The arm in words, by which it is known."""
        t = self.training
        own = "".join(f"{name} = {value:g}, " for name, value in {**self.knobs, "m": self.m}.items() if value)
        return f"{self.variant}, {own}lr = {t.lr:g}, weight decay = {t.weight_decay:g}, {t.epochs} epochs"

    def sweep(self, problem: Problem, seeds: tuple[int, ...]) -> SweepSpec:
        """Its runs, of which nothing but losses and scores is measured."""
        return SweepSpec(
            variants=(self.variant,), m=(self.m,) if self.m else (), knobs={k: (v,) for k, v in self.knobs.items()},
            seeds=seeds, problem=problem, training=self.training, measures=Measures(what=()),
        )  # fmt: skip


def edges(arm: Arm, among: Iterable[Arm]) -> str:
    """The values of an arm beyond which its family tried none, though it might have: "ρ (largest)"."""
    family = [other for other in among if other.variant == arm.variant]
    axes: dict[str, Callable[[Arm], float]] = {
        "ρ": lambda a: a.knobs.get("rho", 0.0), "lr": lambda a: a.training.lr,
        "weight decay": lambda a: a.training.weight_decay, "epochs": lambda a: a.training.epochs,
    }  # fmt: skip
    out = []
    for name, of in axes.items():
        tried = {of(other) for other in family}
        if len(tried) > 1 and of(arm) in (max(tried), min(tried)) and of(arm) > 0:
            out.append(f"{name} ({'largest' if of(arm) == max(tried) else 'smallest'})")
    return ", ".join(out)


def raced(text: str) -> tuple[str, ...]:
    """The variants that are named, separated by commas; SpecError for one that is none, has no radius, or too many."""
    keys = tuple(dict.fromkeys(text.split(",")))
    can = [key for key, v in variants.REGISTRY.items() if "rho" in v.knobs and not v.counts]
    if wrong := [key for key in keys if key not in can]:
        raise SpecError(f"--variants {wrong[0]}: expected some of {', '.join(can)}, which have a radius ρ")
    if len(keys) > len(RATES) // 2:
        raise SpecError(f"--variants: {len(keys)} are named; at most {len(RATES) // 2} are raced at once")
    return keys


def of_base(training: Training, many: int = 1) -> dict[str, Arm]:
    """The base optimiser at other rates, weight decays and lengths: with early stopping, rivals of so many variants."""
    found = [
        Arm("sgd", replace(training, lr=_round(training.lr * rate), weight_decay=training.weight_decay + decay,
                           epochs=training.epochs * length))
        for length in LENGTHS for rate in RATES[: 2 * many] for decay in DECAYS
    ]  # fmt: skip
    return {arm.name: arm for arm in found}


def of_sam(best: Arm, keys: Sequence[str] = ("sam",)) -> dict[str, Arm]:
    """Each variant at several ρ and m, at the rate, weight decay and length that serve the base best."""
    found = [arm for key in keys for arm in _of_variant(variants.get(key), best.training)]
    return {arm.name: arm for arm in found}


def _of_variant(v: Variant, training: Training) -> list[Arm]:
    B = training.batch
    middle = min(divisors(B), key=lambda m: abs(8 * m - B))
    sizes = list(dict.fromkeys((B, middle, 1))) if v.uses_m else [None]
    many = SIZES * len(RADII) // len(sizes)
    factors = RADII if many == len(RADII) else tuple(RADII[-1] / 2**i for i in range(many))
    usual = v.knobs["rho"].default
    return [Arm(v.key, training, m, {"rho": _round(usual * factor)}) for m in sizes for factor in factors]


def _round(value: float) -> float:
    """A product of round numbers as one writes it."""
    return float(f"{value:.6g}")
