"""A number with its error and how it was found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """`value` with `stderr`: the standard error of a random estimator, 0 where exact, a bound where `method` says so.

    `budget`: probes, iterations or samples spent. `residual`: that of an iterative method relative to the value,
    else nan. `converged`: False where the residual is above the tolerance.
    """

    value: float
    stderr: float
    method: str
    budget: int
    residual: float = math.nan
    converged: bool = True

    @classmethod
    def of_mean(cls, samples: Tensor, method: str) -> Estimate:
        """The mean of independent samples (k,), k >= 2, with its standard error."""
        x = samples.double()
        return cls(float(x.mean()), float(x.std() / len(x) ** 0.5), method, len(x))
