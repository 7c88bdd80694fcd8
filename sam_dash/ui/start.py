"""What a sweep will cost, and the button that starts it."""

from __future__ import annotations

import json

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from sam_dash import command
from sam_dash.results import words
from sam_dash.runs import cost
from sam_dash.runs.environment import default_workers
from sam_dash.runs.report import one_line
from sam_dash.runs.spec import SpecError, SweepSpec
from sam_dash.ui import backend, pick


def evaluations(n: float) -> str:
    """For example "48 thousand", "1.3 million"."""
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if n >= size:
            return f"{words.number(n / size)} {word}"
    return f"{n:.0f}"


def summary(preview: cost.Preview) -> str:
    """Runs, gradient evaluations and time, and what is in the store already."""
    left = preview.total - preview.cached
    kept = f"already in the store: {preview.cached} of {preview.total}"
    if not left:
        return f"**All {preview.total} runs are in the store already**; nothing has to be trained."
    return (
        f"**{left} run{'s' * (left != 1)}** to train · {evaluations(preview.grad_evals)} mini-batch gradients · "
        f"**{preview.time}** here · {kept}"
    )


def _start(*sweeps: SweepSpec) -> None:
    try:
        submitted = [backend.store().submit(sweep) for sweep in sweeps]
    except SQLAlchemyError as error:
        st.error(f"Nothing was queued: the store failed ({one_line(error)}). Free some disk space, then press Start.")
        return
    pick.choose(submitted[0].sweep_id)
    new, cached = sum(s.new for s in submitted), sum(s.cached for s in submitted)
    st.toast(f"{new} runs queued, {cached} already finished", icon=":material/play_circle:")


def button(sweep: SweepSpec, *more: SweepSpec) -> None:
    """Cost and Start, of several sweeps at once where a preset has them; and the same for the command line."""
    store, sweeps = backend.store(), (sweep, *more)
    try:
        workers = default_workers()
    except SpecError as error:  # in the environment, where no form can mend it
        st.error(f"{error}", icon=":material/rule:")
        disabled()
        return
    statuses = store.statuses([r.key for s in sweeps for r in s.runs()])
    preview = cost.preview(sweeps, statuses, workers=workers, speed=store.speed(), cold=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start", key="go", type="primary", icon=":material/play_arrow:", shortcut="Mod+Enter",
            on_click=_start, args=sweeps,
        )  # fmt: skip
        st.markdown(summary(preview))
        if store.sweep(sweep.key) is not None:
            st.page_link(
                "pages/sharpness.py", label="You have this study: open it", icon=":material/folder_open:",
                query_params={"study": sweep.key},
            )  # fmt: skip
    with st.expander("The same without a browser", icon=":material/terminal:"):
        line = command.preset(sweep.preset) if more else command.line(sweep)
        if line is not None:
            st.code(line, language="bash", wrap_lines=True)
        else:
            st.caption("Save as `study.json`, then `python -m sam_dash run study.json --out results`.")
            st.code(json.dumps(sweep.to_dict(), indent=1), language="json", height=260)


def disabled() -> None:
    """Start, out of reach while the form describes nothing that can be run."""
    st.button("Start", key="go_off", type="primary", icon=":material/play_arrow:", disabled=True)
