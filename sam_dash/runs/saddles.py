"""What the page Saddles asks: trajectories on a landscape, and how often a network leaves its saddle. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sam_dash import variants
from sam_dash.problems.landscapes import LANDSCAPES, NETWORK_SAMPLES
from sam_dash.problems.problem import SpecError, check, check_choice, check_number
from sam_dash.runs.spec import from_dict

MAX_POINTS = 200  # of a trajectory that are kept


def choices() -> list[str]:
    """The variants that need no layers, which two weights are not."""
    return [key for key, v in variants.REGISTRY.items() if not v.layered]


def knobs_of(key: str, rho: float) -> dict[str, float]:
    """The radius, where the variant has one; its other knobs stay at their defaults."""
    return {"rho": rho} if "rho" in variants.get(key).knobs else {}


def _check_variants(given: tuple[str, ...]) -> None:
    check(1 <= len(given) <= 6, f"{len(given)} variants: expected 1 to 6")
    for key in given:
        check_choice("variant", key, choices())


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Trajectories of several variants from one start on a landscape, `sigma` the noise of the gradient."""

    landscape: str = "saddle"
    variants: tuple[str, ...] = ("sgd", "usam", "sam")
    rho: float = 0.6
    lr: float = 0.01
    momentum: float = 0.0
    x: float = -2.5
    y: float = -0.1
    steps: int = 300
    sigma: float = 0.0
    seeds: int = 1

    def __post_init__(self) -> None:
        check_choice("landscape", self.landscape, LANDSCAPES)
        _check_variants(self.variants)
        for name, low, high in (("rho", 0, 10), ("lr", 1e-6, 1), ("momentum", 0, 0.99), ("sigma", 0, 100)):
            check_number(self, name, low, high)
        left, right, bottom, top = LANDSCAPES[self.landscape].window
        check_number(self, "x", left, right)
        check_number(self, "y", bottom, top)
        check_number(self, "steps", 1, 2000, whole=True)
        check_number(self, "seeds", 1, 20, whole=True)

    @property
    def every(self) -> int:
        """How many steps there are to one that is kept."""
        return -(-self.steps // MAX_POINTS)


@dataclass(frozen=True, kw_only=True)
class Escape:
    """How often and how fast the saddle network is left: variants x radii x batch sizes x momenta x seeds.

    Radii are given as shares of USAM's critical one; runs start `radius` away from the saddle.
    """

    variants: tuple[str, ...] = ("sgd", "usam", "sam")
    shares: tuple[float, ...] = (0.05, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0)
    batches: tuple[int, ...] = (64, 4)
    momenta: tuple[float, ...] = (0.0, 0.9)
    lr: float = 0.05
    radius: float = 0.01
    steps: int = 600
    seeds: int = 20

    def __post_init__(self) -> None:
        _check_variants(self.variants)
        check(1 <= len(self.shares) <= 10, "expected 1 to 10 radii")
        check(all(0 <= s <= 20 for s in self.shares), "radii: expected shares in [0, 20] of the critical one")
        check(1 <= len(self.batches) * len(self.momenta) <= 4, "expected at most 4 pairs of batch size and momentum")
        check(
            all(b > 0 and NETWORK_SAMPLES % b == 0 for b in self.batches),
            f"batch sizes: expected divisors of N = {NETWORK_SAMPLES}",
        )
        check(all(0 <= mu <= 0.99 for mu in self.momenta), "momentum: expected numbers in [0, 0.99]")
        for name, low, high in (("lr", 1e-6, 1), ("radius", 1e-6, 1)):
            check_number(self, name, low, high)
        check_number(self, "steps", 1, 2000, whole=True)
        check_number(self, "seeds", 2, 100, whole=True)


KINDS: dict[str, type[Walk] | type[Escape]] = {"walk": Walk, "escape": Escape}


def to_dict(spec: Walk | Escape) -> dict[str, Any]:
    """As plain JSON values, with the `kind`."""
    return {"kind": type(spec).__name__.lower(), **asdict(spec)}


def read(request: Any) -> Walk | Escape:
    """The specification in plain JSON values; SpecError otherwise."""
    check(isinstance(request, Mapping), f"expected a JSON object, got {type(request).__name__}")
    kind = request.get("kind")
    if kind not in KINDS:
        raise SpecError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    found: Walk | Escape = from_dict(KINDS[kind], {k: v for k, v in request.items() if k != "kind"})
    return found
