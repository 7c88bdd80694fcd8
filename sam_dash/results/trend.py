"""Is a quantity monotone in m? Page's test over seeds and Spearman's rank correlation, beside the slope.

Page's L (JASA 1963) ranks the levels of m within each seed, so that it is paired as the slope is; its p-value here is
two-sided: twice the smaller of the two directions'. Spearman's rho ranks all runs together and its p-value takes them
for independent, which runs of one seed are not: read it as a description.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from sam_dash.results import style, tables

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
        found = stats.spearmanr(*zip(*points, strict=True))
        rho, rho_p = float(found.statistic), float(found.pvalue)
    return Trend(page, page_p, rho, rho_p, len(rows), len(levels), len(points))


def _page(table: np.ndarray) -> tuple[float, float]:
    up = stats.page_trend_test(table)
    down = stats.page_trend_test(table[:, ::-1])
    return float(up.statistic), min(1.0, 2 * min(float(up.pvalue), float(down.pvalue)))


def trends(finals: pd.DataFrame, quantities: Iterable[str]) -> pd.DataFrame:
    """One row a variant swept over m and quantity."""
    rows = []
    for quantity in quantities:
        of = finals[finals["quantity"] == quantity]
        for variant in dict.fromkeys(of["variant"]):
            by_seed: dict[int, dict[float, float]] = {}
            for r in tables.records(of[(of["variant"] == variant) & of["m"].notna()]):
                by_seed.setdefault(r["seed"], {})[r["m"]] = r["value"]
            found = trend(by_seed)
            if found.levels > 1:
                rows.append([variant, quantity, *found])
    return pd.DataFrame(rows, columns=["variant", "quantity", *Trend._fields])


def p_value(p: float) -> str:
    """For example "0.031", "< 0.001", "–"."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else style.number(p, 2)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`trends` for people."""
    rows = [
        {
            "Variant": f"m-{style.title(r['variant'])}", "Quantity": style.quantity(r["quantity"]).name,
            "Page's L": style.number(r["page"], 5), "p (Page, two-sided)": p_value(r["page_p"]),
            "Seeds": r["n"], "Spearman's ρ with m": _signed(r["spearman"]),
            "p (Spearman)": p_value(r["spearman_p"]), "Runs": r["runs"],
        }
        for r in tables.records(frame)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


NOTE = (
    "Page's test ranks the values of m within each seed (p: twice the smaller of the two directions; – with fewer than "
    "3 m or 2 complete seeds). Spearman's ρ pools the runs; its p takes them for independent, which runs of one seed "
    "are not. None of the p-values is corrected for the number of quantities."
)
