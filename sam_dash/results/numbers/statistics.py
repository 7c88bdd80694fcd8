"""Means over seeds with an interval and p, differences paired by seed, slopes per doubling of m, Holm's correction.

The unit of replication is the seed. With n seeds, mean x and standard deviation s (1/(n - 1)):

    SE = s / sqrt(n),   95 % t-interval = x +- t_{.975, n-1} SE,   p = 2 P(T_{n-1} >= |x| / SE)

so that p < .05 exactly where the interval does not hold 0. Two methods that share their seeds share initialisation,
noisy labels and batch order, so that their difference is taken within each seed first; what the seeds have in common
cancels. What is drawn, what a table says and what a verdict rests on are computed here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import bdtr, betaincinv, ndtri, stdtr, stdtrit  # scipy.stats would cost the app 50 MB

INTERVALS = {"ci": "95 % t-interval", "se": "± 1 standard error", "sd": "± 1 standard deviation"}
LEVEL = 0.05  # of every test; the intervals are of 1 - LEVEL
NORMAL = float(ndtri(1 - LEVEL / 2))  # 1.96 standard errors, where the number of samples is large
NAN = float("nan")


def excludes(low: float, high: float, value: float = 0.0) -> bool:
    """Whether an interval exists and does not contain `value`."""
    return low == low and high == high and not low <= value <= high


class Mean(NamedTuple):
    """A mean over n seeds with the two ends of its interval and its standard error (nan where n < 2)."""

    mean: float
    low: float
    high: float
    n: int
    se: float = NAN

    def excludes(self, value: float = 0.0) -> bool:
        """Whether the interval exists and does not contain `value`."""
        return excludes(self.low, self.high, value)

    def __neg__(self) -> Mean:
        """The mean of the values' negatives."""
        return Mean(-self.mean, -self.high, -self.low, self.n, self.se)

    def widened(self, choices: int) -> Mean:
        """This mean with the t-interval of level 1 - .05/choices: Bonferroni's, for the best of so many."""
        half = half_width(self.se, self.n, choices)
        return self._replace(low=self.mean - half, high=self.mean + half)

    def p_above(self, value: float = 0.0) -> float:
        """The one-sided p against a true mean of at most `value`; nan without an interval."""
        if self.n < 2 or math.isnan(self.se):
            return NAN
        if self.se == 0:
            return float(self.mean <= value)
        return float(stdtr(self.n - 1, (value - self.mean) / self.se))

    def p_below(self, value: float = 0.0) -> float:
        """The one-sided p against a true mean of at least `value`; nan without an interval."""
        return (-self).p_above(-value)

    def p(self, value: float = 0.0) -> float:
        """The two-sided p of Student's test against a true mean of `value`; nan without an interval."""
        one = min(self.p_above(value), self.p_below(value))
        return one if math.isnan(one) else min(1.0, 2 * one)

    def p_within(self, margin: float) -> float:
        """The p of two one-sided tests (Schuirmann 1987) against a true mean that is `margin` or more from 0."""
        return max(self.p_above(-margin), self.p_below(margin))


NOTHING = Mean(NAN, NAN, NAN, 0)


class Slope(NamedTuple):
    """Change per doubling of m: mean over seeds with its interval, in how many seeds it is strictly monotone, the m,
    and the mean at each of them over the seeds that have all."""

    slope: Mean
    monotone: int
    levels: tuple[float, ...]
    means: tuple[float, ...] = ()


def half_width(se: Any, n: Any, choices: int = 1) -> Any:
    """Half the t-interval of level 1 - .05/choices, from standard errors of means of n; numbers or arrays."""
    return stdtrit(np.maximum(np.asarray(n, float) - 1, 1), 1 - LEVEL / 2 / choices) * se


def mean(values: Iterable[float], interval: str = "ci") -> Mean:
    """Mean of the finite values with the interval of that name."""
    if interval not in INTERVALS:
        raise ValueError(f"unknown interval {interval!r}; expected one of {', '.join(INTERVALS)}")
    x = np.asarray(list(values), float)
    x = x[np.isfinite(x)]
    n = len(x)
    if n == 0:
        return NOTHING
    centre = float(x.mean())
    if n == 1:
        return Mean(centre, NAN, NAN, 1)
    sd = float(x.std(ddof=1))
    se = sd / math.sqrt(n)
    half = {"ci": float(half_width(se, n)), "se": se, "sd": sd}[interval]
    return Mean(centre, centre - half, centre + half, n, se)


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """a - b within each seed that both have; `a` and `b` map seed -> value."""
    return {seed: a[seed] - b[seed] for seed in a if seed in b}


def paired(a: Mapping[int, float], b: Mapping[int, float], interval: str = "ci") -> Mean:
    """Mean of a - b over the seeds that both have; `a` and `b` map seed -> value."""
    return mean(difference(a, b).values(), interval)


def logarithms(ratios: Iterable[float], interval: str = "ci") -> Mean:
    """Mean of the logarithms of the positive values: a ratio is 1 where it is 0."""
    x = np.asarray(list(ratios), float)
    return mean(np.log(x[x > 0]), interval)


def geometric(ratios: Iterable[float], interval: str = "ci") -> Mean:
    """Geometric mean of the positive values with the interval of their logarithms; its `se` is nan."""
    m = logarithms(ratios, interval)
    return Mean(math.exp(m.mean), math.exp(m.low), math.exp(m.high), m.n)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p (Scand. J. Statist. 1979) of each; nan, which tests nothing, does not count."""
    out = [NAN] * len(p)
    tested = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=p.__getitem__)
    reached = 0.0
    for k, i in enumerate(tested):
        reached = out[i] = max(reached, min(1.0, (len(tested) - k) * p[i]))
    return out


def slope(values: Mapping[int, Mapping[float, float]], interval: str = "ci") -> Slope:
    """Change per doubling of m, from seed -> m -> value.

    In each seed the least-squares slope on log2 m, then the mean of the slopes. A seed counts only if it has every
    m that any seed has: a missing cell would tilt its slope.
    """
    levels = sorted({m for row in values.values() for m, y in row.items() if math.isfinite(y)})
    if len(levels) < 2:
        return Slope(mean([], interval), 0, tuple(levels))
    x = np.log2(levels)
    x = x - x.mean()
    rows = [
        np.array([row[m] for m in levels])
        for row in values.values()
        if all(math.isfinite(row.get(m, NAN)) for m in levels)
    ]
    slopes = [float(x @ y / (x @ x)) for y in rows]
    monotone = sum(bool((np.diff(y) > 0).all() or (np.diff(y) < 0).all()) for y in rows)
    means = tuple(float(y) for y in np.mean(rows, 0)) if rows else ()
    return Slope(mean(slopes, interval), monotone, tuple(levels), means)


def extremes(
    values: Mapping[str, Mapping[int, float]], what: str, show: Callable[[float], str] = "{:.3g}".format
) -> str:
    """Which of several named things (name -> seed -> value) is lowest and which highest, compared seed by seed.

    For example "tr(H) ends lowest for m-SAM, m = 1 (24.5) and highest for SGD (104; paired, n = 3)."; a tie if the
    95 % t-interval of the paired difference contains 0.
    """
    means = {name: mean(row.values()).mean for name, row in values.items()}
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    if means[low] == means[high]:
        return f"{what} at {show(means[low])} for all."
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
        return excludes(self.low, self.high, value)


def correlation(x: Iterable[float], y: Iterable[float], groups: Iterable[object] | None = None) -> Correlation:
    """Pearson's r with tanh(atanh r +- 1.96 / sqrt(n - 3)); within `groups`, of the deviations from their means.

    Each group beyond the first takes a degree of freedom: n - 2 - k in place of n - 3.
    """
    pairs = np.array([list(x), list(y)], float)
    labels = np.array([0] * pairs.shape[1] if groups is None else [str(g) for g in groups])
    keep = np.isfinite(pairs).all(0)
    pairs, labels = pairs[:, keep], labels[keep]
    n, k = pairs.shape[1], len(set(labels))
    scale = np.abs(pairs).max(1, initial=0)
    for label in set(labels):
        pairs[:, labels == label] -= pairs[:, labels == label].mean(1, keepdims=True)
    norms = np.sqrt((pairs**2).sum(1))
    if n < 3 or (norms <= 1e-12 * scale).any():  # the same in all, but for rounding
        return Correlation(NAN, NAN, NAN, n)
    r = float(np.clip(pairs[0] @ pairs[1] / norms.prod(), -1, 1))
    free = n - 2 - k
    if free < 1 or abs(r) == 1:
        return Correlation(r, NAN, NAN, n)
    half = NORMAL / math.sqrt(free)
    return Correlation(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), n)


def proportion(k: int, n: int, choices: int = 1) -> Mean:
    """k of n with its exact interval (Clopper & Pearson, Biometrika 1934) of level 1 - .05/choices."""
    if n == 0:
        return NOTHING
    low = float(betaincinv(k, n - k + 1, LEVEL / 2 / choices)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - LEVEL / 2 / choices)) if k < n else 1.0
    return Mean(k / n, low, high, n)


def median(values: Iterable[float]) -> Mean:
    """The median, with a 95 % interval between two order statistics; inf is a value that was not reached.

    The r-th smallest of n is below the median with probability P(Binomial(n, 1/2) >= r): no law is assumed. The
    interval is from -inf to inf where n < 6, as no two values then hold the median with 95 %.
    """
    x = np.sort(np.asarray(list(values), float))
    n = len(x)
    if n == 0:
        return NOTHING
    middle = float((x[(n - 1) // 2] + x[n // 2]) / 2)
    out = sum(float(bdtr(r, n, 0.5)) <= LEVEL / 2 for r in range(n // 2))  # values that may be left out at either end
    return Mean(middle, float(x[out - 1]) if out else -math.inf, float(x[n - out]) if out else math.inf, n)
