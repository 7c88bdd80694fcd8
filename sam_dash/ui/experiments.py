"""The parts of the page Experiments: which one, its study, its verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sam_dash.results.drawing import captions
from sam_dash.results.experiments import Experiment
from sam_dash.results.experiments.experiment import Finding, Result
from sam_dash.results.numbers import parts
from sam_dash.results.numbers.study import Study
from sam_dash.ui import backend, live, scorecard, show, states

SHIPS = "These runs ship with sam-dash; yours take their place."


Chosen = TypeVar("Chosen", bound=Experiment)


def choose(of: Mapping[str, Chosen], label: str, key: str) -> Chosen:
    """Which of them; in the URL as ?key=TITLE."""
    titles = {e.title: e for e in of.values()}
    first = next(iter(titles))
    chosen = st.segmented_control(label, list(titles), default=first, required=True, key=key, bind="query-params")
    return titles[chosen or first]


def own(experiment: Experiment) -> list[Study]:
    """The newest study of the preset in the store; of a preset of several sweeps the newest with each one's setting.

    Those of another version are left out.
    """
    rows = [row for row in backend.store().sweeps() if row["preset"] == experiment.preset and backend.spec(row)]
    sweeps = experiment.sweeps
    if len(sweeps) > 1:
        first = {_setting(row["spec"]): row for row in reversed(rows)}
        rows = [row for sweep in sweeps if (row := first.get(_setting(sweep.to_dict()))) is not None]
    else:
        rows = rows[:1]
    return [study for row in rows if (study := backend.load(row)) is not None]


def _setting(spec: dict[str, Any]) -> str:
    return json.dumps([spec["problem"], spec["training"]], sort_keys=True)


def watch(studies: list[Study]) -> None:
    """The live view of the first that is running; those after it wait in the queue."""
    active = [s for s in studies if s.active]
    if len(active) > 1:
        st.caption(f"{len(studies) - len(active)} of {len(studies)} training settings finished; below is the next one.")
        ids = [s.id for s in active]
        st.button(f"Stop all {len(ids)}", key="stop_all", icon=":material/stop:", on_click=_stop, args=ids)
    if active:
        live.view(backend.store(), active[0])


def _stop(*sweep_ids: str) -> None:
    for sweep_id in sweep_ids:
        backend.store().stop(sweep_id)


def result(experiment: Experiment, lead: DeltaGenerator) -> None:
    """What the runs show: the live view while they train; figure, verdicts, rule and limits; the first verdict in
    `lead`.
    """
    mine = own(experiment)
    watch(mine)
    studies = [study for study in mine if len(study.finals)]
    if mine and not studies:
        st.info("Your study has no result yet; the runs below ship with sam-dash.", icon=":material/hourglass_empty:")
    found = parts.together(studies) if studies else backend.shipped(experiment.data)
    if found is None:
        st.info("No result yet: press Start, and the figure appears here.", icon=":material/hourglass_empty:")
        return
    ids = captions.listed(s.id[:6] for s in studies)
    st.caption(f"Your stud{'ies' if len(studies) > 1 else 'y'} {ids}." if studies else SHIPS)
    states.partial(found)
    if show.drawn(Result(experiment), found) is None:
        st.info("This study lacks what the experiment compares.", icon=":material/filter_alt_off:")
        return
    judged = experiment.judge(experiment.frame(found))
    if judged:
        show.first(f"{judged[0].says}: {judged[0].verdict}. {judged[0].why}", lead)
    findings(judged)
    st.markdown(f"**The rule.** {experiment.rule}")
    st.markdown(f"**What it does not show.** {experiment.limits}")


def findings(found: list[Finding]) -> None:
    """Each statement with its verdict and its numbers."""
    for f in found:
        with st.container(border=True):
            scorecard.badge(f.verdict)
            st.markdown(f"**{f.says}.** {f.why}")
