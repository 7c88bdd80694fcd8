"""The measurement contract: what a measurement is and what it gives, and the registry of all of them.

A measurement is a function of what is measured (a `sam_dash.runs.probes.Measured`), with the row of facts that stands
above it: `@measure(...)`. Neither this module nor the files in `sam_dash/runs/measures/` import torch at their top: so
a form, a preview and a table of names can list them without loading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_dash.maths.estimate import Estimate
    from sam_dash.runs.probes import Measured

POINTS = 2000
"""Training samples that are measured on, at most: the first of a run."""


@dataclass(frozen=True)
class At:
    """How `KEY@WHAT` is called, one of a quantity for each micro-batch size, layer or class: what the `what` is, and
    the quantity's names and help with a {} for it.
    """

    what: str
    name: str
    html: str
    help: str


@dataclass(frozen=True)
class Quantity:
    """The names of a number: plain, the same for Plotly (HTML), and one line of what it is."""

    name: str
    html: str
    help: str
    at: At | None = None


Found = dict[str, "Estimate"]
Function = Callable[["Measured"], "list[Found]"]


@dataclass(frozen=True)
class Measure:
    """A registered measurement: its function and all that is known about it.

    `gradients`: its price, in gradients over the samples that it is made on; `smooth`: where the Hessian is not the
    Gauss-Newton matrix, if that is another. `quantities`: what it gives, by key, of
    which `KEY@WHAT` may be any number. `once`: too dear for the way, or no use there: made of the final weights only.
    `vectors`: of the weights' size, that it holds at once for each run. `path`: it reads the norms of the weights at
    every step. `second`: it needs second derivatives of the loss. `place`: measurements older than the rule that their
    names order them come first, in the order of run keys.
    """

    key: str
    about: str
    gradients: float
    quantities: Mapping[str, Quantity]
    function: Function
    once: bool = False
    vectors: int = 1
    path: bool = False
    second: bool = True
    place: int = 100
    smooth: float | None = None

    def price(self, smooth: bool) -> float:
        """Its price, for a network that is smooth (see there) or not."""
        return self.smooth if smooth and self.smooth is not None else self.gradients


REGISTRY: dict[str, Measure] = {}


def measure(
    about: str, *, gradients: float, quantities: Mapping[str, Quantity], once: bool = False, vectors: int = 1,
    path: bool = False, second: bool = True, place: int = 100, smooth: float | None = None,
) -> Callable[[Function], Function]:  # fmt: skip
    """Register a function under its own name; `about` says what is done, the rest is told at `Measure`.

    The function takes a `Measured` of S runs and returns, for each in turn, its estimates by quantity. Raises
    ValueError where another measurement gives one of the quantities.
    """

    def register(function: Function) -> Function:
        key = function.__name__
        others = {q: m.key for m in REGISTRY.values() if m.key != key for q in m.quantities}
        twice = [q for q in quantities if q in others]
        if twice:
            raise ValueError(f"{key} gives {twice[0]!r}, which {others[twice[0]]} does; choose another name")
        REGISTRY[key] = Measure(key, about, gradients, quantities, function, once, vectors, path, second, place, smooth)
        return function

    return register


def rows(measured: Mapping[str, Measure]) -> dict[str, Measure]:
    """Measurements in the order in which they are made, and in which a run's key has them."""
    return dict(sorted(measured.items(), key=lambda row: (row[1].place, row[0])))
