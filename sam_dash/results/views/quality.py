"""How good the estimates are: method, budget, error, residual and convergence of every measured number."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells
from sam_dash.results.numbers import tables

UNKNOWN = "not recorded here"  # an export from before estimators.csv
ORDER = ("tr_H", "lam_max", "tr_V")


class Worst(NamedTuple):
    """A relative error: typical (median over runs) and worst."""

    median: float
    worst: float


def estimates(finals: pd.DataFrame) -> pd.DataFrame:
    """The rows of `tables.finals` that are estimates, not plain means over samples or steps."""
    exact = finals["quantity"].map(words.is_score).astype(bool) | (finals["quantity"] == "train_seconds")
    keep = ~exact & (finals["method"] != "mean over steps")
    found = finals[keep & ~finals["quantity"].isin(words.SERIES)]
    return found.assign(method=found["method"].fillna(UNKNOWN), converged=found["converged"].ne(False))


def by_quantity(finals: pd.DataFrame) -> pd.DataFrame:
    """One row a quantity and method: runs, budget, relative error, residual, how many did not converge."""
    rows = []
    for (q, method), of in estimates(finals).groupby(["quantity", "method"], sort=False):
        error, residual = _relative(of), of["residual"].to_numpy(float)
        budget = of["budget"].astype(float)
        rows.append(
            {
                "quantity": str(q), "method": str(method), "runs": len(of),
                "budget_min": float(budget.min()), "budget_max": float(budget.max()),
                "error_median": error.median, "error_worst": error.worst,
                "exact": bool((of["stderr"] == 0).all()),
                "residual_worst": float(np.nanmax(residual)) if np.isfinite(residual).any() else math.nan,
                "not_converged": int((~of["converged"]).sum()),
            }
        )  # fmt: skip
    columns = (
        "quantity", "method", "runs", "budget_min", "budget_max", "error_median", "error_worst", "exact",
        "residual_worst", "not_converged",
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(columns))
    rank = {q: i for i, q in enumerate(ORDER)}
    return frame.sort_values("quantity", key=lambda s: s.map(lambda q: rank.get(q, 99)), kind="stable")


def _relative(of: pd.DataFrame) -> Worst:
    ratio = (of["stderr"] / of["value"].abs()).to_numpy(float)
    ratio = ratio[np.isfinite(ratio)]
    return Worst(float(np.median(ratio)), float(ratio.max())) if len(ratio) else Worst(math.nan, math.nan)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`by_quantity` for people."""
    return pd.DataFrame(
        {
            "Quantity": [words.quantity(q).name for q in frame["quantity"]],
            "Method": frame["method"], "Runs": frame["runs"],
            "Not converged": frame["not_converged"].astype(float).where(frame["method"] != UNKNOWN),
            "Budget, least": frame["budget_min"], "Budget, most": frame["budget_max"],
            "Relative error, median (%)": 100 * frame["error_median"].where(~frame["exact"], 0.0),
            "Relative error, worst (%)": 100 * frame["error_worst"].where(~frame["exact"], 0.0),
            "Residual, worst": frame["residual_worst"],
        }
    )  # fmt: skip


def finding(frame: pd.DataFrame) -> str:
    """What is worth knowing, in a sentence or two."""
    if frame.empty:
        return "Nothing but losses and accuracies was measured, which are exact."
    bad = frame[frame["not_converged"] > 0]
    named = [f"{n} of {words.quantity(q).name}" for q, n in zip(bad["quantity"], bad["not_converged"], strict=True)]
    known = not (frame["method"] == UNKNOWN).all()
    fine = "All estimates converged." if known else "Method and convergence are not recorded in this export."
    text = fine if bad.empty else f"Not converged: {captions.listed(named)} (hollow in figures)."
    loose = frame[~frame["exact"] & frame["error_worst"].notna()]
    if len(loose):
        r = loose.sort_values("error_worst").iloc[-1]
        name = words.quantity(str(r["quantity"])).name
        worst = words.number(100 * float(r["error_worst"]), 2)
        text += f" The least certain single estimate is one of {name}: {worst} % standard error."
    return text


def loose_table(loose: pd.DataFrame, look: cells.Looks) -> pd.DataFrame:
    """`unconverged` for people, with the names of the settings."""
    return pd.DataFrame(
        {
            "Setting": [look[r]["line"] for r in tables.records(loose)], "Seed": loose["seed"],
            "Quantity": [words.quantity(q).name for q in loose["quantity"]],
            "Value": loose["value"], "Relative residual": loose["residual"],
            "Budget": loose["budget"], "Method": loose["method"], "Run": loose["run"],
        }
    )  # fmt: skip


def unconverged(finals: pd.DataFrame) -> pd.DataFrame:
    """The estimates that did not converge, one row each."""
    of = estimates(finals)
    return of[~of["converged"]]
