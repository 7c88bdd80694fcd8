"""How far the SDE is from the iterates in the mean: the weak error, exact on least squares, over eta and over rho."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.moments import Exact, Moments, at
from sam_dash.maths.theory.problems import Array, LeastSquares
from sam_dash.maths.theory.sde import Diffusion, Rule


class Weak(NamedTuple):
    """The largest distances over the steps k with k eta <= T, of moments of the iterates from those of the SDE.

    `mean`: ||E x_k - E X_{k eta}||. `second`: ||E x x^T - E X X^T||. `cov`: ||Cov x - Cov X|| over the largest
    ||Cov x||, nan where there is no noise. Norms are Frobenius's.
    """

    mean: float
    second: float
    cov: float


def distance(a: Moments, b: Moments) -> Weak:
    """How far the iterates' moments `a` are from those of the SDE, `b`."""
    size = _norms(a.cov).max()
    noisy = size > 1e-12 * _norms(a.second).max()
    cov = _norms(a.cov - b.cov).max() / size if noisy else np.nan
    mean = np.linalg.norm(a.mean - b.mean, axis=1).max()
    return Weak(float(mean), float(_norms(a.second - b.second).max()), float(cov))


def error(
    problem: LeastSquares, rule: Rule, draw: Draw, eta: float, start: Array, time: float, diffusion: Diffusion = "full"
) -> Weak:
    """The weak error at step length eta from `start` (d,) over the times up to `time`."""
    exact, steps, S = Exact(problem, rule, draw), max(1, round(time / eta)), at(start)
    return distance(exact.iterates(S, eta, steps), exact.sde(S, eta, steps, diffusion))


def _norms(a: Array) -> Array:
    return np.sqrt((a**2).sum((1, 2)))
