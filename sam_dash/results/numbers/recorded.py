"""What runs recorded over time, and how much of it a point of a curve stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs import cost
from sam_dash.runs.recording import RecordedTraining
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store

POINTS = 400  # points of a curve at most: a longer series is averaged over windows of equal length, and says so


def windowed(values: np.ndarray, steps_per_epoch: float, points: int = POINTS) -> pd.DataFrame:
    """A per-step series as step, epoch, value: means over windows of equal length, at the window's last step.

    Steps that were left out (nan) do not count; nor does a window without any other.
    """
    width = max(1, math.ceil(len(values) / points))
    ends = np.arange(width, len(values) + width, width).clip(max=len(values))
    starts = np.arange(0, len(values), width)
    there = ~np.isnan(values)
    counts = np.add.reduceat(there, starts, dtype=float)
    sums = np.add.reduceat(np.where(there, values, 0.0).astype(float), starts)
    frame = pd.DataFrame({"step": ends.astype(float), "epoch": ends / steps_per_epoch, "value": sums / counts.clip(1)})
    return frame[counts > 0].reset_index(drop=True)


def stored(store: Store, keys: Sequence[str], quantities: Sequence[str], per_epoch: float, points: int) -> pd.DataFrame:
    """Curves (run, step, epoch, quantity, value) of runs in a store; series as means over windows."""
    measured = [q for q in quantities if q not in words.RECORDED]
    frames = [tables.curves_frame(store.measurements(keys=keys, quantities=measured))] if measured else []
    for run, columns in store.series(keys, [q for q in quantities if q in words.RECORDED]).items():
        frames += [windowed(v, per_epoch, points).assign(run=run, quantity=q) for q, v in columns.items() if len(v)]
    frames = [f for f in frames if len(f)]
    return pd.concat(frames, ignore_index=True) if frames else tables.curves_frame([])


def rate(run: Mapping[str, Any]) -> float:
    """The steps of an epoch of a run of a store, nan where its loop did not say."""
    training = run["spec"]["training"]
    if "recorded" in run["spec"]:
        return training["steps_per_epoch"] or math.nan
    return float(max(1e-9, run["steps"] / training["epochs"]))


def of_runs(store: Store, keys: Sequence[str], quantities: Sequence[str], points: int = POINTS) -> pd.DataFrame:
    """Curves as of `stored`, of runs however they ended and whatever studies they are of."""
    rows = [row for key in keys if (row := store.run(key))]
    frames = [stored(store, [row["key"]], quantities, rate(row), points) for row in rows]
    whole = [f for f in frames if len(f)]
    return pd.concat(whole, ignore_index=True) if whole else tables.curves_frame([])


def with_curves(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs whose curves are drawn: those that are done; of recorded ones also what has run so far or was cut short,
    of one setting and seed the last, of those cut short only where there is no other.
    """
    if not study.recorded:
        return runs[runs["status"] == "done"]
    same = [*tables.settings(runs), "seed"]
    whole = runs[runs["status"].isin(("done", "running"))]
    short = runs[~runs["run"].isin(whole["run"])]
    last = pd.concat([short, whole]).drop_duplicates(same, keep="last")
    return runs[runs["run"].isin(last["run"])]


def among(curves: pd.DataFrame) -> Callable[[Sequence[str], int], pd.DataFrame]:
    """A reader of curves that were read, at the points that they have, those of some quantities."""
    return lambda quantities, points: curves[curves["quantity"].isin(list(quantities))]


def bundled() -> pd.DataFrame:
    """The curves of the bundled example."""
    return tables.curves_frame(tables.records(studies.read_curves(studies.EXAMPLE)))


def steps_per_epoch(study: Study) -> float:
    """N // B; of recorded runs what was said of them."""
    if isinstance(study.spec.training, RecordedTraining):
        return study.spec.training.steps_per_epoch or math.nan
    try:
        return cost.steps(study.spec.runs()[0]) / study.spec.training.epochs
    except SpecError:
        return math.nan


def widths(study: Study, quantities: Sequence[str], points: int = POINTS) -> dict[str, int]:
    """Steps that one point of a per-step series stands for; in the bundled example, an epoch."""
    if study.recorded:
        longest = study.runs["step"].max() if len(study.runs) else 0
        return {q: max(1, math.ceil(longest / points)) for q in quantities if q in words.RECORDED}
    each = steps_per_epoch(study)
    if math.isnan(each):
        return {}
    wide = round(each) if study.id == "example" else math.ceil(each * study.spec.training.epochs / points)
    return {q: wide for q in quantities if q in words.RECORDED}
