"""The parts of the page Experiments: which one, its study, its verdicts."""

from __future__ import annotations

import streamlit as st

from sam_dash.results import paper
from sam_dash.results.experiments import EXPERIMENTS, Experiment
from sam_dash.results.experiments.experiment import Finding, alt
from sam_dash.results.study import Study
from sam_dash.ui import backend, choices, figure, live, states
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
    return backend.bundled(experiment.data), True


def result(experiment: Experiment) -> None:
    """What the runs show: the live view while they train; figure, verdicts, rule and limits."""
    found, ships = study(experiment)
    if found is not None and found.active:
        live.view(backend.store(), found)
    if found is not None and found.finals.empty and not ships:
        st.caption(f"Your study {found.id[:6]} has no result yet.")
        found, ships = backend.bundled(experiment.data), True
    if found is None or found.finals.empty:
        st.info("No result yet: press Start, and the figure appears here.", icon=":material/hourglass_empty:")
        return
    st.caption("These runs ship with sam-dash; yours take their place." if ships else f"Your study {found.id[:6]}.")
    states.partial(found)
    frame = experiment.frame(found)
    if frame.empty:
        st.info("This study lacks what the experiment compares.", icon=":material/filter_alt_off:")
        return
    judged = experiment.judge(frame)
    name = f"experiment-{experiment.name}"
    drawn = paper.stacked(experiment.figure(frame)) if choices.narrow() else experiment.figure(frame)
    figure.show(drawn, frame, experiment.caption(found, frame), alt(judged), name)
    findings(judged)
    st.markdown(f"**The rule.** {experiment.rule}")
    st.markdown(f"**What it does not show.** {experiment.limits}")


def findings(found: list[Finding]) -> None:
    """Each statement with its verdict and its numbers."""
    for f in found:
        icon, colour = LOOK[f.verdict]
        with st.container(border=True):
            st.badge(f.verdict, icon=icon, color=colour)
            st.markdown(f"**{f.says}.** {f.why}")
