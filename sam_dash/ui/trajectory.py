"""Curves of a study, read once: from the store, or from the folder of the bundled example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from sam_dash.results import dynamics, style, tables
from sam_dash.results import study as studies
from sam_dash.results.study import Study
from sam_dash.runs import cost
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.ui import backend, pick


@st.cache_data(max_entries=24, show_spinner=False)
def _stored(
    _store: Store, url: str, keys: tuple[str, ...], quantities: tuple[str, ...], per_epoch: float, points: int
) -> pd.DataFrame:
    measured = [q for q in quantities if q not in style.RECORDED]
    frames = [tables.curves_frame(_store.measurements(keys=keys, quantities=measured))] if measured else []
    for run, columns in _store.series(keys, [q for q in quantities if q in style.RECORDED]).items():
        frames += [
            dynamics.windowed(v, per_epoch, points).assign(run=run, quantity=q) for q, v in columns.items() if len(v)
        ]
    frames = [f for f in frames if len(f)]
    return pd.concat(frames, ignore_index=True) if frames else tables.curves_frame([])


@st.cache_data(max_entries=1, show_spinner=False)
def _example(stamp: float) -> pd.DataFrame:
    return tables.curves_frame(tables.records(studies.read_curves(studies.EXAMPLE)))


def curves(study: Study, quantities: Sequence[str], points: int = dynamics.POINTS) -> pd.DataFrame:
    """All that a study's finished runs recorded of these: run, step, epoch, quantity, value.

    What is recorded at every step comes as means over windows, at most `points` of them.
    """
    if study.id == pick.EXAMPLE:
        frame = _example((studies.EXAMPLE / "runs.csv").stat().st_mtime)
        return frame[frame["quantity"].isin(list(quantities))]
    done = tuple(study.runs.loc[study.runs["status"] == "done", "run"])
    wanted = tuple(sorted(quantities))
    return _stored(backend.store(), backend.store().url, done, wanted, steps_per_epoch(study), points)


def steps_per_epoch(study: Study) -> float:
    """N // B."""
    try:
        return cost.steps(study.spec.runs()[0]) / study.spec.training.epochs
    except SpecError:
        return math.nan


def widths(study: Study, quantities: Sequence[str], points: int = dynamics.POINTS) -> dict[str, int]:
    """Steps that one point of a per-step series stands for."""
    steps = steps_per_epoch(study) * study.spec.training.epochs
    if math.isnan(steps):
        return {}
    each = round(steps_per_epoch(study)) if study.id == pick.EXAMPLE else math.ceil(steps / points)
    return {q: each for q in quantities if q in style.RECORDED}
