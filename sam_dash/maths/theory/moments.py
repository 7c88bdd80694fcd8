"""First and second moments of the iterates and of the SDE on least squares, exactly: no random number is drawn.

A step is affine in x, so that with y = (x, 1) and S = E[y y^T] both follow linear equations in S:

    iterates   S_{k+1} = (1 - eta F) S_k (1 - eta F)^T + eta^2 C(S_k)
    SDE        dS/dt   = -(F S + S F^T) + eta C(S)

F y is the drift and C(y y^T) the covariance of h (`sde.drift`, `sde.covariance`), in the last row and column 0. The
mean of h is the drift at every rho: what the SDE gets wrong is of order eta alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import expm

from sam_dash.maths.theory import sde
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.problems import Array, LeastSquares
from sam_dash.maths.theory.sde import Diffusion, Rule


class Moments(NamedTuple):
    """E[y y^T] of y = (x, 1) at the times t (T,).  `S` (T, d + 1, d + 1)."""

    t: Array
    S: Array

    @property
    def mean(self) -> Array:
        """E x (T, d)."""
        return self.S[:, :-1, -1]

    @property
    def second(self) -> Array:
        """E x x^T (T, d, d)."""
        return self.S[:, :-1, :-1]

    @property
    def cov(self) -> Array:
        """Cov x (T, d, d)."""
        return self.second - self.mean[:, :, None] * self.mean[:, None, :]

    def quadratic(self, Q: Array) -> Array:
        """E y^T Q y of a form Q (d + 1, d + 1).  (T,)."""
        return np.einsum("tab,ab->t", self.S, Q)


@dataclass(frozen=True, eq=False)
class Exact:
    """The moments of a rule on least squares, with batches of `draw`."""

    problem: LeastSquares
    rule: Rule
    draw: Draw

    @functools.cached_property
    def lifted(self) -> Array:
        """G_i with grad f_i = G_i y.  (n, d, d + 1)."""
        a, b = self.problem.a, self.problem.b
        return a[:, :, None] * np.column_stack([a, -b])[:, None, :]

    @functools.cached_property
    def F(self) -> Array:
        """(d + 1, d + 1)."""
        columns = [sde.drift(g, self._hessians, self.rule, self.draw) for g in self.lifted.transpose(2, 0, 1)]
        return np.pad(np.column_stack(columns), ((0, 1), (0, 0)))

    def C(self, diffusion: Diffusion = "full") -> Array:
        """S (as a vector) -> the covariance of h (as a vector), by polarisation of the quadratic form.

        ((d + 1)^2, (d + 1)^2).
        """
        D = self.problem.d + 1
        e = np.eye(D)
        y = np.stack([e[:, None] + e, e[:, None] - e])  # (2, D, D, D): two signs, p, q
        g = np.einsum("nde,spqe->spqnd", self.lifted, y)
        plus, minus = sde.covariance(g, self._hessians, self.rule, self.draw, diffusion)
        whole = np.pad((plus - minus) / 4, ((0, 0), (0, 0), (0, 1), (0, 1)))  # (p, q, D, D)
        return whole.reshape(D * D, D * D).T

    def iterates(self, start: Array, eta: float, steps: int) -> Moments:
        """The moments after 0 ... `steps` steps of length eta from S = `start` (d + 1, d + 1)."""
        T = np.eye(len(self.F)) - eta * self.F
        return _moments(np.kron(T, T) + eta**2 * self.C(), start, eta, steps)

    def sde(self, start: Array, eta: float, steps: int, diffusion: Diffusion = "full") -> Moments:
        """The moments of the SDE at the times 0, eta, ..., `steps` eta."""
        one = np.eye(len(self.F))
        generator = eta * self.C(diffusion) - np.kron(self.F, one) - np.kron(one, self.F)
        return _moments(expm(eta * generator), start, eta, steps)

    def growth(self, eta: float) -> float:
        """By what a step multiplies the slowest part of Cov x in the long run: above 1 it grows without bound."""
        d = self.problem.d
        T = np.eye(d) - eta * self.F[:d, :d]
        inner = self.C().reshape((d + 1,) * 4)[:d, :d, :d, :d].reshape(d * d, d * d)
        return float(np.abs(np.linalg.eigvals(np.kron(T, T) + eta**2 * inner)).max())

    @property
    def loss_form(self) -> Array:
        """f = y^T Q y."""
        c = np.column_stack([self.problem.a, -self.problem.b])
        return np.asarray(c.T @ c / (2 * self.problem.n))

    @property
    def noise_form(self) -> Array:
        """tr V = y^T Q y."""
        G = self.lifted
        mean = G.mean(0)
        return np.asarray(np.einsum("nda,ndb->ab", G, G) / len(G) - mean.T @ mean)

    @functools.cached_property
    def _hessians(self) -> Array:
        return self.problem.hessians(np.zeros(self.problem.d))


def at(x: Array) -> Array:
    """S of a start at x (d,) for certain.  (d + 1, d + 1)."""
    y = np.append(x, 1.0)
    return np.outer(y, y)


def _moments(step: Array, start: Array, eta: float, steps: int) -> Moments:
    """The powers 0 ... `steps` of a linear step of S, by doubling."""
    found, power = start.reshape(1, -1), step
    while len(found) <= steps:
        found = np.concatenate([found, found @ power.T])
        power = power @ power
    S = found[: steps + 1].reshape(-1, *start.shape)
    return Moments(eta * np.arange(steps + 1, dtype=np.float64), S.astype(np.float64, copy=False))
