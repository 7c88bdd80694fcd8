"""The spectral density of the Hessian, from the `density@EIGENVALUE` rows of a store."""

from __future__ import annotations

import math
import re

import pandas as pd

PREFIX = "density@"


def rows(measurements: pd.DataFrame) -> pd.DataFrame:
    """Of measurements (run, step, quantity, value, stderr, method): run, step, eigenvalue, density, stderr, scale.

    `scale` is the c of asinh(eigenvalue / c), per unit of which the density is.
    """
    chosen = measurements[measurements["quantity"].str.startswith(PREFIX)]
    out = chosen[["run", "step", "stderr"]].assign(
        eigenvalue=chosen["quantity"].str.removeprefix(PREFIX).astype(float),
        density=chosen["value"].astype(float),
        scale=[_scale(str(text)) for text in chosen["method"]],
    )
    return out.sort_values(["run", "step", "eigenvalue"], ignore_index=True)


def split(last: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The density rows of each run's last measurements, as from `rows`, and the other measurements."""
    chosen = last["quantity"].str.startswith(PREFIX)
    return rows(last), last[~chosen]


def _scale(method: str) -> float:
    found = re.search(r"asinh\(x / ([^)]+)\)", method)
    return float(found[1]) if found else math.nan
