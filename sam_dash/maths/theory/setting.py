"""What can be asked of the theory: a small problem, a variant, a batch, step length and radius; and its answer."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sam_dash.maths.theory import moments, problems
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.moments import Exact, Moments
from sam_dash.maths.theory.problems import Array, LeastSquares, Problem
from sam_dash.maths.theory.sde import Rule
from sam_dash.maths.theory.simulate import Simulation

N = 24  # samples
MEMBERS, MANY = 256, 512  # paths of each ensemble; where they are cheap
PROBLEMS = {
    "least_squares": problems.LeastSquares.title,
    "logistic": problems.Logistic.title,
    "two_weights": problems.TwoWeights.title,
}
FORMS = {"nusam": (True, False), "usam": (False, False), "nsam": (True, True), "sam": (False, True)}
"""Variant -> whether it perturbs by the gradient of all samples, and whether it divides that by its norm."""
WEIGHTS = (2, 6)  # of a linear problem, at least and at most
SUBSTEPS, EXACT_SUBSTEPS = 160, 640  # of Euler and Maruyama where they are dear, and on least squares


@dataclass(frozen=True)
class Setting:
    """One question. Raises ValueError saying what was expected.

    `spectrum`: the eigenvalues of the inputs' second moments, one a weight, of which the largest is made 1: multiplied
    by c they are as eta and rho multiplied by c. A network has two weights. `noise`: the standard deviation of what the
    targets are off by.
    """

    problem: str = "least_squares"
    variant: str = "usam"
    spectrum: tuple[float, ...] = (1.0, 0.2)
    noise: float = 1.0
    batch: int = 8
    m: int = 2
    replace: bool = True
    eta: float = 0.1
    rho: float = 0.1
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = WEIGHTS
        if not low <= len(self.spectrum) <= high or not all(0 < v < np.inf for v in self.spectrum):
            told = ", ".join(f"{v:g}" for v in self.spectrum)
            raise ValueError(f"spectrum = {told}: expected {low} to {high} numbers above 0, one a weight")
        object.__setattr__(self, "spectrum", tuple(v / max(self.spectrum) for v in self.spectrum))
        _ = self.draw

    @property
    def normalised(self) -> bool:
        """Whether it is a SAM form, of which the theory is qualitative."""
        return FORMS[self.variant][1]

    @property
    def of_all(self) -> bool:
        """Whether it perturbs by the gradient of all samples, so that there is no m."""
        return FORMS[self.variant][0]

    @property
    def exact(self) -> bool:
        """Whether the moments are known without simulation."""
        return self.problem == "least_squares" and not self.normalised

    @property
    def rule(self) -> Rule:
        """The variant with its radius."""
        return Rule(self.rho, self.of_all)

    @property
    def draw(self) -> Draw:
        """How its batches are drawn."""
        return Draw(N, self.batch, self.batch if self.of_all else self.m, self.replace)

    @property
    def finer(self) -> int:
        """Steps of Euler and Maruyama to each eta."""
        if self.exact:
            return max(4, min(16, EXACT_SUBSTEPS // self.steps))
        return max(1, min(4, SUBSTEPS // (1 + self.normalised) // self.steps))

    @property
    def members(self) -> int:
        """Paths of each ensemble."""
        return MANY if self.exact and len(self.spectrum) <= 3 else MEMBERS

    @functools.cached_property
    def made(self) -> Problem:
        """The problem itself."""
        if self.problem == "two_weights":
            return problems.two_weights(N, self.noise, self.seed)
        make = problems.logistic if self.problem == "logistic" else problems.least_squares
        return make(self.spectrum, N, self.noise, self.seed)

    @functools.cached_property
    def least_squares(self) -> LeastSquares:
        """The problem where it is least squares; TypeError otherwise."""
        if not isinstance(self.made, LeastSquares):
            raise TypeError(f"{self.problem} is no least-squares problem")
        return self.made

    @functools.cached_property
    def start(self) -> Array:
        """Where all paths start (d,)."""
        if self.problem == "two_weights":
            return np.array([0.4, 2.0])
        return np.resize([1.0, -1.0], len(self.spectrum)) * (1 if self.problem == "least_squares" else -1)

    def at(self, **values: float) -> Setting:
        """This setting with others in their place."""
        return replace(self, **values)  # type: ignore[arg-type]


class Played(NamedTuple):
    """The answer: ensembles of iterates and of the SDE (steps + 1, members, d), and their moments where `exact`."""

    iterates: Array
    sde: Array
    exact: tuple[Moments, Moments] | None


def play(setting: Setting) -> Played:
    """The ensembles of a setting, and on least squares the exact moments."""
    s = setting
    known = None
    if s.exact:
        of, start = Exact(s.least_squares, s.rule, s.draw), moments.at(s.start)
        known = of.iterates(start, s.eta, s.steps), of.sde(start, s.eta, s.steps)
    sim = Simulation(s.made, s.rule, s.draw, s.eta, s.start, s.normalised, s.members, s.seed)
    return Played(sim.iterates(s.steps), sim.sde(s.steps, s.finer), known)
