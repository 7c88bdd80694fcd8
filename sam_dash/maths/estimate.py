"""A number with its error and how it was found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """`value` with `stderr`: the standard error of a random estimator, 0 where exact, nan where it has none, a bound
    where `method` says so.

    `budget`: probes, iterations or samples spent. `residual`: that of an iterative method relative to the value,
    else nan. `converged`: False where the residual is above the tolerance. `dof`: the degrees of freedom of `stderr`
    where it was itself estimated from few draws, so that an interval is one of Student's t.
    """

    value: float
    stderr: float
    method: str
    budget: int
    residual: float = math.nan
    converged: bool = True
    dof: float = math.inf

    @classmethod
    def of_mean(cls, samples: Tensor, method: str) -> Estimate:
        """The mean of independent samples (k,), k >= 2, with its standard error."""
        x = samples.double()
        return cls(float(x.mean()), float(x.std() / len(x) ** 0.5), method, len(x), dof=len(x) - 1)
