"""Curves of a study, read once: from the store, or from the folder of the bundled example."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from sam_dash.results.numbers import recorded
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs.store import Store
from sam_dash.ui import backend, pick


@st.cache_data(max_entries=24, show_spinner=False)
def _stored(
    _store: Store, url: str, keys: tuple[str, ...], quantities: tuple[str, ...], per_epoch: float, points: int,
    stamp: tuple[int, ...],
) -> pd.DataFrame:  # fmt: skip
    return recorded.stored(_store, keys, quantities, per_epoch, points)


@st.cache_data(max_entries=1, show_spinner=False)
def _example(stamp: float) -> pd.DataFrame:
    return recorded.bundled()


def of_runs(study: Study, keys: Sequence[str], quantities: Sequence[str]) -> pd.DataFrame:
    """Curves of some runs, however they ended; those of the example if the study is, else of the store."""
    if study.id != pick.EXAMPLE:
        return recorded.of_runs(backend.store(), keys, quantities)
    found = curves(study, quantities)
    return found[found["run"].isin(keys)]


def curves(study: Study, quantities: Sequence[str], points: int = recorded.POINTS) -> pd.DataFrame:
    """All that a study's finished runs recorded of these, and runs of other loops so far: run, step, epoch, quantity,
    value.

    What is recorded at every step comes as means over windows, at most `points` of them.
    """
    if study.beside:
        found = pd.concat([curves(part, quantities, points) for part, _ in study.beside], ignore_index=True)
        return found[found["run"].isin(study.runs["run"])]
    if study.id == pick.EXAMPLE:
        frame = _example((studies.EXAMPLE / "runs.csv").stat().st_mtime)
        return frame[frame["quantity"].isin(list(quantities))]
    keys = tuple(recorded.with_curves(study, study.runs)["run"])
    wanted, store = tuple(sorted(quantities)), backend.store()
    stamp = tuple(r["step"] for r in store.runs(study.id)) if study.recorded else ()  # these go on
    return _stored(store, store.url, keys, wanted, recorded.steps_per_epoch(study), points, stamp)
