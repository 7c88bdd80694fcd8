"""Does a quantity rise or fall with m? Page's test over seeds and Spearman's rank correlation, beside the slope.

Page's L (JASA 1963) ranks the levels of m within each seed, so that it is paired as the slope is; its p-value here is
two-sided: twice the smaller of the two directions'. Spearman's rho ranks all runs together and its p-value takes them
for independent, which runs of one seed are not: read it as a description.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtr

from sam_dash.results import words
from sam_dash.results.numbers import statistics, tables

NAN = float("nan")


class Trend(NamedTuple):
    """Page's L for an increase with m and its two-sided p; Spearman's rho and p; seeds, levels and runs used."""

    page: float
    page_p: float
    spearman: float
    spearman_p: float
    n: int
    levels: int
    runs: int


def trend(values: Mapping[int, Mapping[float, float]]) -> Trend:
    """From seed -> m -> value. Page uses the seeds that have every m; Spearman all values."""
    points = [(m, y) for row in values.values() for m, y in row.items() if math.isfinite(y)]
    levels = sorted({m for m, _ in points})
    rows = [[row[m] for m in levels] for row in values.values() if all(math.isfinite(row.get(m, NAN)) for m in levels)]
    page, page_p = _page(np.array(rows)) if len(levels) > 2 and len(rows) > 1 else (NAN, NAN)
    rho, rho_p = NAN, NAN
    if len(levels) > 1 and len(points) > 2 and len({y for _, y in points}) > 1:
        rho, rho_p = _spearman(np.array(points))
    return Trend(page, page_p, rho, rho_p, len(rows), len(levels), len(points))


def _spearman(points: np.ndarray) -> tuple[float, float]:
    """Pearson's r of the mean ranks of (n, 2); p over all orders up to n = 7, above from Student's t of n - 2."""
    ranks = pd.DataFrame(points).rank().to_numpy()
    rho = float(np.clip(np.corrcoef(ranks.T)[0, 1], -1, 1))
    if len(points) <= 7:
        x, y = (ranks - ranks.mean(0)).T
        return rho, float((np.abs(y[_orders(len(points))] @ x) >= abs(y @ x) - 1e-9).mean())
    free = len(points) - 2
    t = math.inf if abs(rho) == 1 else abs(rho) * math.sqrt(free / (1 - rho**2))
    return rho, 2 * float(stdtr(free, -t))


@cache
def _orders(n: int) -> np.ndarray:
    """Every order of n things, (n!, n)."""
    return np.array(list(permutations(range(n))))


def _page(table: np.ndarray) -> tuple[float, float]:
    """L = sum over seeds and levels of level x rank, of a table (seeds, levels), and its two-sided p."""
    n, k = table.shape
    ranks = pd.DataFrame(table).rank(axis=1).to_numpy().sum(0)
    up, down = (float(np.arange(1, k + 1) @ r) for r in (ranks, ranks[::-1]))
    exact = k <= 8 and (n <= 12 or k <= 3) and n <= 20
    p = _at_least if exact else _normal
    return up, min(1.0, 2 * min(p(up, n, k), p(down, n, k)))


def _normal(total: float, n: int, k: int) -> float:
    """P(L >= total) by Page's normal approximation, without a correction for ties."""
    variance = n * k**2 * (k + 1) * (k**2 - 1) / 144
    return float(ndtr((n * k * (k + 1) ** 2 / 4 - total) / math.sqrt(variance)))


def _at_least(total: float, n: int, k: int) -> float:
    """P(L >= total) where every order of the k levels is equally likely in each of n seeds; ties round L down."""
    all_seeds = one = _one_seed(k)
    for _ in range(n - 1):
        all_seeds = np.convolve(all_seeds, one)
    return float(all_seeds[math.floor(total) :].sum())


@cache
def _one_seed(k: int) -> np.ndarray:
    """P(L = 0), P(L = 1), ... of one seed: the ranks given to the first levels, as a set, and their L so far."""
    ways = {frozenset[int](): {0: 1}}
    for level in range(1, k + 1):
        longer: dict[frozenset[int], dict[int, int]] = {}
        for used, counts in ways.items():
            for rank in set(range(1, k + 1)) - used:
                into = longer.setdefault(used | {rank}, {})
                for partial, count in counts.items():
                    into[partial + level * rank] = into.get(partial + level * rank, 0) + count
        ways = longer
    (counts,) = ways.values()
    out = np.zeros(max(counts) + 1)
    out[list(counts)] = list(counts.values())
    return out / math.factorial(k)


def trends(finals: pd.DataFrame, quantities: Iterable[str]) -> pd.DataFrame:
    """One row a variant swept over m and quantity."""
    rows = []
    for (quantity, variant), by_seed in tables.over_m(finals, quantities).items():
        found = trend(by_seed)
        if found.levels > 1:
            rows.append([variant, quantity, *found, statistics.slope(by_seed).monotone])
    return pd.DataFrame(rows, columns=["variant", "quantity", *Trend._fields, "monotone"])


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`trends` for people."""
    rows = [
        {
            "Variant": words.title(r["variant"]), "Quantity": words.quantity(r["quantity"]).name,
            "Page's L": r["page"], "p (Page, two-sided)": r["page_p"],
            "Seeds": r["n"], "Of these monotone": r["monotone"], "Spearman's ρ with m": r["spearman"],
            "p (Spearman)": r["spearman_p"], "Runs": r["runs"],
        }
        for r in tables.records(frame)
    ]  # fmt: skip
    return pd.DataFrame(rows)


NOTE = (
    "A trend is not monotony: Page's p is small where the ranks lean one way, and a seed is monotone only if every "
    "step of m goes that way. Page's test ranks the values of m within each seed (p: twice the smaller of the two "
    "directions; – with fewer than 3 m or 2 complete seeds). Spearman's ρ pools the runs; its p takes them for "
    "independent, which runs of one seed are not. None of the p-values is corrected for the number of quantities."
)
