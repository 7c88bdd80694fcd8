"""The parts of the page Experiments: which one, its study, its verdicts."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from sam_dash.results import study as studies
from sam_dash.results.experiments import EXPERIMENTS, Experiment
from sam_dash.results.experiments.experiment import Finding
from sam_dash.results.study import Study
from sam_dash.ui import backend
from sam_dash.ui.scorecard import LOOK


def choose() -> Experiment:
    """Which experiment; in the URL as ?experiment=TITLE."""
    titles = {e.title: e for e in EXPERIMENTS.values()}
    chosen = st.segmented_control(
        "Experiment", list(titles), default=next(iter(titles)), required=True, key="experiment", bind="query-params"
    )
    return titles[chosen or next(iter(titles))]


def study(experiment: Experiment) -> tuple[Study | None, bool]:
    """The newest study of the preset in the store, else the one that ships with the project; whether it is that one."""
    for row in backend.store().sweeps():
        if row["preset"] == experiment.preset:
            return backend.load(row), False
    return _bundled(str(experiment.data)), True


@st.cache_data(max_entries=16, show_spinner=False)
def _bundled(folder: str) -> Study | None:
    return studies.from_folder(Path(folder))


def findings(found: list[Finding]) -> None:
    """Each statement with its verdict and its numbers."""
    for f in found:
        icon, colour = LOOK[f.verdict]
        with st.container(border=True):
            st.badge(f.verdict, icon=icon, color=colour)
            st.markdown(f"**{f.says}.** {f.why}")
