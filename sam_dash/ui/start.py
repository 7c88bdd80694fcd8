"""What a sweep will cost, and the button that starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from sam_dash import command
from sam_dash.results import words
from sam_dash.runs import cost, limits
from sam_dash.runs.environment import default_workers
from sam_dash.runs.report import ACTIVE, FINISHED, one_line
from sam_dash.runs.spec import RunSpec, SpecError, SweepSpec
from sam_dash.ui import backend, markdown, people, pick


def evaluations(n: float) -> str:
    """For example "48 thousand", "1.3 million"."""
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if n >= size:
            return f"{words.number(n / size)} {word}"
    return f"{n:.0f}"


def summary(preview: cost.Preview, memory: int) -> str:
    """Runs, gradient evaluations, time and a worker's memory, and what is in the store already."""
    left = preview.total - preview.cached
    kept = f"already in the store: {preview.cached} of {preview.total}"
    if not left:
        return f"**All {preview.total} runs are in the store already**; nothing has to be trained."
    return (
        f"**{left} run{'s' * (left != 1)}** to train · {evaluations(preview.grad_evals)} mini-batch gradients · "
        f"**{preview.time}** here · {limits.size(memory)} of memory a worker · {kept}"
    )


def _submit(*sweeps: SweepSpec) -> str | None:
    """Queue what is missing; the id of the first study, None where the store failed, which is said."""
    try:
        limits.check_hours(backend.store(), _runs(sweeps), people.who())  # again: the page may be old
        submitted = [backend.store().submit(sweep, people.who()) for sweep in sweeps]
    except SpecError as error:
        st.error(markdown.literal(error), icon=":material/groups:")
        return None
    except SQLAlchemyError as error:
        st.error(f"Nothing was queued: the store failed ({one_line(error)}). Free some disk space, then press Start.")
        return None
    new, cached = sum(s.new for s in submitted), sum(s.cached for s in submitted)
    st.toast(f"{new} runs queued, {cached} already finished", icon=":material/play_circle:")
    return submitted[0].sweep_id


def again(sweep: SweepSpec) -> None:
    """Queue what a study lacks."""
    _submit(sweep)


def _start(*sweeps: SweepSpec) -> None:
    if study := _submit(*sweeps):
        pick.choose(study)


def _preview(sweeps: Sequence[SweepSpec], statuses: Mapping[str, str]) -> cost.Preview:
    """What is left of them; SpecError for what is wrong in the environment."""
    return cost.preview(sweeps, statuses, workers=default_workers(), speed=backend.store().speed(), cold=False)


def _statuses(sweeps: Sequence[SweepSpec]) -> dict[str, str]:
    return backend.store().statuses([run.key for run in _runs(sweeps)])


def _runs(sweeps: Sequence[SweepSpec]) -> list[RunSpec]:
    return [run for sweep in sweeps for run in sweep.runs()]


def yourself(sweep: SweepSpec) -> None:
    """One button from which on nothing is left to do but watch: it runs a preset, or opens what it has run."""
    statuses = _statuses([sweep])
    try:
        preview = _preview([sweep], statuses)
    except SpecError as error:  # in the environment, where no page can mend it
        st.error(f"{error}", icon=":material/rule:")
        return
    left = preview.total - preview.cached
    if any(status in ACTIVE for status in statuses.values()):
        label, icon = f"Watch your {preview.total} runs", ":material/monitoring:"
    elif left:
        label, icon = f"Run this yourself ({left} runs, {preview.time})", ":material/play_arrow:"
    else:
        label, icon = f"Open your own {preview.total} runs", ":material/folder_open:"
    if st.button(label, key="yourself", type="primary", icon=icon) and (study := _submit(sweep)):
        pick.choose(study)
        st.switch_page("pages/run.py", query_params={"study": study})


def button(sweep: SweepSpec, *more: SweepSpec, line: str | None = None) -> None:
    """Cost and Start, of several sweeps at once where a preset has them; and the same for the command line, as `line`
    where that is given.
    """
    store, sweeps = backend.store(), (sweep, *more)
    statuses = _statuses(sweeps)
    try:
        preview = _preview(sweeps, statuses)
    except SpecError as error:  # in the environment, where no form can mend it
        st.error(f"{error}", icon=":material/rule:")
        disabled()
        return
    try:
        memory = limits.check_memory(run for run in _runs(sweeps) if statuses.get(run.key) not in FINISHED)
        limits.check_hours(store, _runs(sweeps), people.who())
    except SpecError as error:
        st.error(markdown.literal(error), icon=":material/memory:")
        disabled()
        return
    sure = preview.high <= limits.DAY or st.checkbox(f"Start it all the same: it takes {preview.time} here", key="long")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start", key="go", type="primary", icon=":material/play_arrow:", shortcut="Mod+Enter",
            on_click=_start, args=sweeps, disabled=not sure,
        )  # fmt: skip
        st.markdown(summary(preview, memory))
        if store.sweep(sweep.key) is not None and not any(status in ACTIVE for status in statuses.values()):
            st.page_link(
                "pages/sharpness.py", label="You have this study: open it", icon=":material/folder_open:",
                query_params={"study": sweep.key},
            )  # fmt: skip
    with st.expander("On the command line", icon=":material/terminal:"):
        line = line or (command.preset(sweep.preset) if more else command.line(sweep))
        if line is not None:
            st.code(line, language="bash", wrap_lines=True)
        else:
            st.caption("Save as `study.json`, then `python -m sam_dash run study.json --out results`.")
            st.code(json.dumps(sweep.to_dict(), indent=1), language="json", height=260)


def disabled() -> None:
    """Start, out of reach while the form describes nothing that can be run."""
    st.button("Start", key="go_off", type="primary", icon=":material/play_arrow:", disabled=True)
