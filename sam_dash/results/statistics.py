"""Means over seeds with an interval, differences paired by seed, slopes per doubling of m.

The unit of replication is the seed. With n seeds, mean x and standard deviation s (1/(n - 1)):

    SE = s / sqrt(n),   95 % t-interval = x +- t_{.975, n-1} SE

Two methods that share their seeds share initialisation, noisy labels and batch order, so that their difference is
taken within each seed first; what the seeds have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit  # scipy.stats would cost the app 50 MB

INTERVALS = {"ci": "95 % t-interval", "se": "± 1 standard error", "sd": "± 1 standard deviation"}
NAN = float("nan")


class Mean(NamedTuple):
    """A mean over n seeds with the two ends of its interval (nan where n < 2)."""

    mean: float
    low: float
    high: float
    n: int

    def excludes(self, value: float = 0.0) -> bool:
        """Whether the interval exists and does not contain `value`."""
        return self.n > 1 and not self.low <= value <= self.high


class Slope(NamedTuple):
    """Change per doubling of m: mean over seeds with its interval, and in how many seeds it is strictly monotone."""

    slope: Mean
    monotone: int
    levels: int


def mean(values: Iterable[float], interval: str = "ci") -> Mean:
    """Mean of the finite values with the interval of that name."""
    if interval not in INTERVALS:
        raise ValueError(f"unknown interval {interval!r}; expected one of {', '.join(INTERVALS)}")
    x = np.asarray(list(values), float)
    x = x[np.isfinite(x)]
    n = len(x)
    if n == 0:
        return Mean(NAN, NAN, NAN, 0)
    centre = float(x.mean())
    if n == 1:
        return Mean(centre, NAN, NAN, 1)
    sd = float(x.std(ddof=1))
    se = sd / math.sqrt(n)
    half = {"ci": float(stdtrit(n - 1, 0.975)) * se, "se": se, "sd": sd}[interval]
    return Mean(centre, centre - half, centre + half, n)


def paired(a: Mapping[int, float], b: Mapping[int, float], interval: str = "ci") -> Mean:
    """Mean of a - b over the seeds that both have; `a` and `b` map seed -> value."""
    return mean([a[seed] - b[seed] for seed in a if seed in b], interval)


def slope(values: Mapping[int, Mapping[float, float]], interval: str = "ci") -> Slope:
    """Change per doubling of m, from seed -> m -> value.

    In each seed the least-squares slope on log2 m, then the mean of the slopes. A seed counts only if it has every
    m that any seed has: a missing cell would tilt its slope.
    """
    levels = sorted({m for row in values.values() for m, y in row.items() if math.isfinite(y)})
    if len(levels) < 2:
        return Slope(mean([], interval), 0, len(levels))
    x = np.log2(levels)
    x = x - x.mean()
    rows = [
        np.array([row[m] for m in levels])
        for row in values.values()
        if all(math.isfinite(row.get(m, NAN)) for m in levels)
    ]
    slopes = [float(x @ y / (x @ x)) for y in rows]
    monotone = sum(bool((np.diff(y) > 0).all() or (np.diff(y) < 0).all()) for y in rows)
    return Slope(mean(slopes, interval), monotone, len(levels))
