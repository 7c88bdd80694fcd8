"""Cells in which training collapsed: their accuracy is chance, and their flatness says nothing.

A cell (all settings but the seed) is collapsed if no fewer of its runs diverged than finished, or if its mean test
accuracy is no higher than the 95 % interval of guessing on the test set, 1/C + 1.96 sqrt((1/C)(1 - 1/C)/n), or if its
95 % t-interval over seeds reaches 1/C and no seed comes half-way from 1/C to a multiple of it: min(2/C, (1 + 1/C)/2).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from sam_dash.results.numbers import statistics, tables
from sam_dash.runs.spec import SweepSpec

RULE = (
    "Collapsed: mean test accuracy within its interval of chance (1/C), or as many runs diverged as finished. "
    "Collapsed settings are left out of every trend and every choice of a best."
)


class Chance(NamedTuple):
    """The accuracy of guessing, the upper end of its 95 % interval on the test set, and half-way up from it."""

    at: float
    high: float
    half: float


def chance(spec: SweepSpec) -> Chance | None:
    """None where the data cannot be read any more, or have no classes."""
    try:
        data = spec.problem.data
    except (ValueError, OSError):
        return None
    if not data.classes:
        return None
    at = 1 / data.classes
    high = at + statistics.NORMAL * math.sqrt(at * (1 - at) / max(1, data.n_test))
    return Chance(at, high, min(2 * at, (1 + at) / 2))


def is_collapsed(accuracies: list[float], diverged: int, guess: Chance | None) -> bool:
    """The rule above, for the test accuracies of a cell's finished runs and the number that diverged."""
    ended = len(accuracies) + diverged
    if ended and 2 * diverged >= ended:
        return True
    if guess is None or not accuracies:
        return False
    mean = statistics.mean(accuracies)
    if mean.mean <= guess.high:
        return True
    return mean.low <= guess.at and max(accuracies) <= guess.half  # one run has no interval


def runs(finals: pd.DataFrame, all_runs: pd.DataFrame, spec: SweepSpec) -> set[str]:
    """The keys of the runs of collapsed cells."""
    guess = chance(spec)
    of = finals[finals["quantity"] == "test_acc"].drop_duplicates("run").set_index("run")["value"]
    out: set[str] = set()
    for _, cell in all_runs.groupby(tables.cell(all_runs), dropna=False, sort=False):
        accuracies = [float(of[r]) for r in cell["run"] if r in of.index and math.isfinite(of[r])]
        if is_collapsed(accuracies, int((cell["status"] == "diverged").sum()), guess):
            out |= set(cell["run"])
    return out


def without(finals: pd.DataFrame, gone: set[str]) -> pd.DataFrame:
    """The final values of the other runs."""
    return finals[~finals["run"].isin(gone)]


def marked(frame: pd.DataFrame, gone: set[str]) -> pd.DataFrame:
    """A `tables.summary` frame with a column `collapsed`; the frame itself where nothing has."""
    kept = without_cells(frame, gone)
    return frame if len(kept) == len(frame) else frame.assign(collapsed=~frame.index.isin(kept.index))


def without_cells(frame: pd.DataFrame, gone: set[str]) -> pd.DataFrame:
    """A `tables.summary` frame without the cells of these runs, their means included."""
    key = tables.cell(frame)
    lost = frame.loc[frame["run"].isin(gone), key].drop_duplicates()
    if lost.empty:
        return frame
    marked = frame.merge(lost.assign(_lost=True), on=key, how="left")
    return frame[marked["_lost"].isna().to_numpy()]
