"""The spectral density of the Hessian with its interval, from the `density@EIGENVALUE` rows of a store."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
from scipy.special import stdtrit

PREFIX = "density@"


def rows(measurements: pd.DataFrame) -> pd.DataFrame:
    """The densities among measurements: run, step, eigenvalue, density, stderr, low, high, scale.

    `scale` is the c of asinh(eigenvalue / c), per unit of which the density is. `low` to `high` is its 95 % interval:
    of Student's t over the few random starts, on a logarithmic scale, since near an isolated eigenvalue a start gives a
    squared normal, which is skewed and positive. It covers 93 % (docs/LOG.md); +- 1.96 standard errors cover 88 %.
    """
    chosen = measurements[measurements["quantity"].str.startswith(PREFIX)]
    density, stderr = chosen["value"].astype(float), chosen["stderr"].astype(float)
    dof = [_dof(float(k), str(how)) for k, how in zip(chosen["dof"], chosen["method"], strict=True)]
    factor = np.exp(stdtrit(np.array(dof, float), 0.975) * (stderr / density.where(density > 0)))
    out = chosen[["run", "step"]].assign(
        eigenvalue=chosen["quantity"].str.removeprefix(PREFIX).astype(float),
        density=density, stderr=stderr,
        low=(density / factor).fillna(0.0), high=(density * factor).fillna(0.0),
        scale=[_scale(str(text)) for text in chosen["method"]],
    )  # fmt: skip
    return out.sort_values(["run", "step", "eigenvalue"], ignore_index=True)


def split(last: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The density rows of each run's last measurements, as from `rows`, and the other measurements."""
    chosen = last["quantity"].str.startswith(PREFIX)
    return rows(last), last[~chosen]


def _scale(method: str) -> float:
    found = re.search(r"asinh\(x / ([^)]+)\)", method)
    return float(found[1]) if found else math.nan


def _dof(recorded: float, method: str) -> float:
    """Degrees of freedom; of a measurement older than their record, from the number of starts in its method."""
    starts = re.search(r"(\d+) runs", method)
    return recorded if math.isfinite(recorded) else int(starts[1]) - 1.0 if starts else math.inf
