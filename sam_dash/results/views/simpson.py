"""Sharpness against accuracy: pooled, within each variant, and within cells, so that Simpson's paradox shows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells
from sam_dash.results.numbers import statistics, tables

POOLED = "All runs pooled"
FEWEST = 4  # runs that a correlation wants
COLUMNS = ["group", "r", "low", "high", "n"]


def correlations(table: pd.DataFrame, x: str, y: str = "test_acc") -> pd.DataFrame:
    """Pearson's r with Fisher's interval: over all runs, over those of each variant, over seeds within cells."""
    of = table.dropna(subset=[x, y])
    rows = [[POOLED, *statistics.correlation(of[x], of[y])]]
    for variant, part in of.groupby("variant", sort=False):
        if len(part) > 3:
            rows.append([f"Within {words.title(str(variant))}", *statistics.correlation(part[x], part[y])])
    labels = [str(cells.key_of(r)) for r in tables.records(of)]
    rows.append(["Within settings (seeds only)", *statistics.correlation(of[x], of[y], labels)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _sure(row: dict[str, Any]) -> bool:
    return statistics.excludes(row["low"], row["high"])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """For people."""
    out = []
    for r in tables.records(table):
        ends = f"{_r(r['low'])} … {_r(r['high'])}" if r["low"] == r["low"] else "–"
        told = "sharper is more accurate" if r["r"] > 0 else "flatter is more accurate"
        told = told if _sure(r) else "not told from 0" if r["low"] == r["low"] else "no interval"
        row = {"Runs": r["group"], "Pearson's r": _r(r["r"]), "95 % interval": ends}
        out.append(row | {"n": r["n"], "Reading": told})
    return pd.DataFrame(out)


def _r(value: float) -> str:
    return "–" if value != value else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def reading(table: pd.DataFrame, x: str) -> str:
    """Whether pooled and within agree; the sentence says which sign holds where."""
    sure = {str(r["group"]): r["r"] > 0 for r in tables.records(table) if _sure(r)}
    name, pooled = words.quantity(x).name, sure.pop(POOLED, None)
    if pooled is None:
        return f"Pooled over all runs, {name} and test accuracy are not told from uncorrelated."
    against = captions.listed(g[0].lower() + g[1:] for g, up in sure.items() if up != pooled)
    same = captions.listed(g[0].lower() + g[1:] for g, up in sure.items() if up == pooled)
    text = f"Pooled over all runs, {name} and test accuracy are {'positively' if pooled else 'negatively'} correlated"
    if against:
        return f"{text}, but the sign is the opposite {against}: here the pooled number misleads (Simpson's paradox)."
    return (
        f"{text}, and so are they {same}." if same else f"{text}; within variants and settings nothing is told from 0."
    )
