"""Means over seeds with an interval, differences paired by seed, slopes per doubling of m.

The unit of replication is the seed. With n seeds, mean x and standard deviation s (1/(n - 1)):

    SE = s / sqrt(n),   95 % t-interval = x +- t_{.975, n-1} SE

Two methods that share their seeds share initialisation, noisy labels and batch order, so that their difference is
taken within each seed first; what the seeds have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, betaincinv, ndtri, stdtrit  # scipy.stats would cost the app 50 MB

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


def extremes(
    values: Mapping[str, Mapping[int, float]], what: str, show: Callable[[float], str] = "{:.3g}".format
) -> str:
    """Which of several named things (name -> seed -> value) is lowest and which highest, compared seed by seed.

    For example "tr(H) ends lowest for m-SAM, m = 1 (24.5) and highest for SGD (104; paired, n = 3)."; a tie if the
    95 % t-interval of the paired difference contains 0.
    """
    means = {name: mean(row.values()).mean for name, row in values.items()}
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    d = paired(values[high], values[low])
    ends = f"{low} ({show(means[low])})", f"{high} ({show(means[high])}"
    if d.n < 2:
        return f"{what} lowest for {ends[0]} and highest for {ends[1]}; one common seed: no interval)."
    if d.excludes(0):
        return f"{what} lowest for {ends[0]} and highest for {ends[1]}; paired, n = {d.n})."
    return (
        f"{what} in a tie: even the lowest, {ends[0]}, and the highest, {ends[1]}), do not differ (paired, n = {d.n})."
    )


class Correlation(NamedTuple):
    """Pearson's r, its 95 % interval by Fisher's z, and the number of points."""

    r: float
    low: float
    high: float
    n: int

    def excludes(self, value: float = 0.0) -> bool:
        """Whether the interval exists and does not contain `value`."""
        return not math.isnan(self.low) and not self.low <= value <= self.high


def correlation(x: Iterable[float], y: Iterable[float], groups: Iterable[object] | None = None) -> Correlation:
    """Pearson's r with tanh(atanh r +- 1.96 / sqrt(n - 3)); within `groups`, of the deviations from their means.

    Each group beyond the first takes a degree of freedom: n - 2 - k in place of n - 3.
    """
    pairs = np.array([list(x), list(y)], float)
    labels = np.array([0] * pairs.shape[1] if groups is None else [str(g) for g in groups])
    keep = np.isfinite(pairs).all(0)
    pairs, labels = pairs[:, keep], labels[keep]
    n, k = pairs.shape[1], len(set(labels))
    for label in set(labels):
        pairs[:, labels == label] -= pairs[:, labels == label].mean(1, keepdims=True)
    norms = np.sqrt((pairs**2).sum(1))
    scale = np.abs(pairs).max(1, initial=0)
    if n < 3 or (norms <= 1e-12 * (1 + scale)).any():
        return Correlation(NAN, NAN, NAN, n)
    r = float(np.clip(pairs[0] @ pairs[1] / norms.prod(), -1, 1))
    free = n - 2 - k
    if free < 1 or abs(r) == 1:
        return Correlation(r, NAN, NAN, n)
    half = float(ndtri(0.975)) / math.sqrt(free)
    return Correlation(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), n)


def proportion(k: int, n: int) -> Mean:
    """k of n with its exact 95 % interval (Clopper & Pearson, Biometrika 1934), conservative for every n."""
    if n == 0:
        return Mean(NAN, NAN, NAN, 0)
    low = float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
    return Mean(k / n, low, high, n)


def median(values: Iterable[float]) -> Mean:
    """The median, with a 95 % interval between two order statistics; inf is a value that was not reached.

    The r-th smallest of n is below the median with probability P(Binomial(n, 1/2) >= r): no law is assumed. The
    interval is from -inf to inf where n < 6, as no two values then hold the median with 95 %.
    """
    x = np.sort(np.asarray(list(values), float))
    n = len(x)
    if n == 0:
        return Mean(NAN, NAN, NAN, 0)
    middle = float((x[(n - 1) // 2] + x[n // 2]) / 2)
    out = sum(float(bdtr(r, n, 0.5)) <= 0.025 for r in range(n // 2))  # values that may be left out at either end
    return Mean(middle, float(x[out - 1]) if out else -math.inf, float(x[n - out]) if out else math.inf, n)
