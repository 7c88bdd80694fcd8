"""An ensemble of iterates, and one of the SDE by Euler and Maruyama, side by side on any problem.

SAM's forms divide the perturbation's gradient by its norm. Their drift grad(f + rho E||grad f_I||) has no closed form:
it and their diffusion are then the mean and the covariance over `SAMPLED` fresh batches at each step, and what is shown
of them is qualitative.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sam_dash.maths.theory import sde
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.moments import Exact
from sam_dash.maths.theory.problems import Array, Index, LeastSquares, Problem
from sam_dash.maths.theory.sde import Rule

SAMPLED = 24  # batches from which the drift and the diffusion of a SAM form are estimated
FAR = 1e6  # what is farther from 0 stays where it is: it has diverged


@dataclass(frozen=True, eq=False)
class Simulation:
    """`members` paths of a rule from `start` (d,) with step length `eta`; `normalised`: SAM's forms."""

    problem: Problem
    rule: Rule
    draw: Draw
    eta: float
    start: Array
    normalised: bool = False
    members: int = 256
    seed: int = 0

    def iterates(self, steps: int) -> Array:
        """The weights after 0 ... `steps` steps.  (steps + 1, members, d)."""
        rng = np.random.default_rng([self.seed, 0])

        def step(x: Array) -> Array:
            return x - self.eta * self.h(x, drawn(self.draw, len(x), rng))

        return self._walk(step, steps)

    def sde(self, steps: int, finer: int = 1) -> Array:
        """The SDE at the times 0, eta, ..., by `finer` steps of Euler and Maruyama each.  (steps + 1, members, d)."""
        rng = np.random.default_rng([self.seed, 1])
        dt = self.eta / finer

        def step(x: Array) -> Array:
            for _ in range(finer):
                b, S = self._sampled(x, rng) if self.normalised else self._exact(x)
                x = x - dt * b + np.sqrt(self.eta * dt) * _gaussian(S, rng)
            return x

        return self._walk(step, steps)

    def h(self, x: Array, index: Index) -> Array:
        """The descent gradient of every member, at x (E, d) with the batches `index` (E, J, m).  (E, d)."""
        E, J, _ = index.shape
        if self.rule.of_all:
            g = np.broadcast_to(self.problem.all_grads(x).mean(-2)[:, None], (E, J, x.shape[-1]))
        else:
            g = self.problem.grads(np.broadcast_to(x[:, None], (E, J, x.shape[-1])), index).mean(-2)
        at = x[:, None] + self.rule.rho * (unit(g) if self.normalised else g)
        return np.asarray(self.problem.grads(at, index).mean((1, 2)))

    @functools.cached_property
    def _affine(self) -> tuple[Array, Array]:
        exact = Exact(self.problem, self.rule, self.draw)  # type: ignore[arg-type]
        return exact.F, exact.C()

    def _exact(self, x: Array) -> tuple[Array, Array]:
        """Drift (E, d) and diffusion (E, d, d), on least squares from what they are linear in."""
        if isinstance(self.problem, LeastSquares):
            E, d = x.shape
            F, C = self._affine
            y = np.concatenate([x, np.ones((E, 1))], 1)
            S = (y[:, :, None] * y[:, None, :]).reshape(E, -1) @ C.T
            return (y @ F.T)[:, :d], S.reshape(E, d + 1, d + 1)[:, :d, :d]
        g, H = self.problem.all_grads(x), self.problem.hessians(x)
        return sde.drift(g, H, self.rule, self.draw), sde.covariance(g, H, self.rule, self.draw)

    def _sampled(self, x: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Mean and covariance (1/(K - 1)) of h to first order in rho, over K fresh batches."""
        E, d = x.shape
        index = drawn(self.draw, E * SAMPLED, rng)
        many = np.repeat(x, SAMPLED, 0)
        small = Simulation(self.problem, self.rule, self.draw, self.eta, self.start, True)
        h = small.h(many, index).reshape(E, SAMPLED, d)
        b = h.mean(1)
        away = h - b[:, None]
        return b, away.swapaxes(1, 2) @ away / (SAMPLED - 1)

    def _walk(self, step: Callable[[Array], Array], steps: int) -> Array:
        x = np.repeat(self.start[None], self.members, 0)
        path = [x]
        for _ in range(steps):
            new = step(x)
            x = np.where((np.abs(new) < FAR).all(1, keepdims=True), new, x)
            path.append(x)
        return np.stack(path)


def unit(v: Array) -> Array:
    """v / ||v||, 0 where v = 0.  (..., d)."""
    return np.asarray(v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-12))


def drawn(draw: Draw, count: int, rng: np.random.Generator) -> Index:
    """The samples of `count` batches.  (count, B/m, m)."""
    if draw.replace:
        index = rng.integers(draw.n, size=(count, draw.batch))
    else:
        index = rng.random((count, draw.n)).argsort(1)[:, : draw.batch]
    return index.reshape(count, draw.parts, draw.m)


def _gaussian(S: Array, rng: np.random.Generator) -> Array:
    """A draw of N(0, S) for each S (E, d, d).  (E, d)."""
    values, vectors = np.linalg.eigh(S)
    z = rng.normal(size=values.shape) * np.sqrt(values.clip(0))
    return np.asarray((vectors @ z[..., None])[..., 0])
