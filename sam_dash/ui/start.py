"""What a sweep will cost, and the button that starts it."""

from __future__ import annotations

import json

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from sam_dash.results import style
from sam_dash.runs import cost
from sam_dash.runs.environment import default_workers
from sam_dash.runs.report import one_line
from sam_dash.runs.spec import SweepSpec
from sam_dash.ui import backend, pick


def evaluations(n: float) -> str:
    """For example "48 thousand", "1.3 million"."""
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if n >= size:
            return f"{style.number(n / size)} {word}"
    return f"{n:.0f}"


def summary(preview: cost.Preview) -> str:
    """Runs, gradient evaluations and time, and what is in the store already."""
    left = preview.total - preview.cached
    kept = f"already in the store: {preview.cached} of {preview.total}"
    if not left:
        return f"**All {preview.total} runs are in the store already**; Start shows them."
    return (
        f"**{left} run{'s' * (left != 1)}** to train · {evaluations(preview.grad_evals)} mini-batch gradients · "
        f"about **{style.duration(preview.seconds)}** here · {kept}"
    )


def _start(sweep: SweepSpec) -> None:
    try:
        submitted = backend.store().submit(sweep)
    except SQLAlchemyError as error:
        st.error(f"Nothing was queued: the store failed ({one_line(error)}). Free some disk space, then press Start.")
        return
    pick.choose(submitted.sweep_id)
    st.toast(f"{submitted.new} runs queued, {submitted.cached} already finished", icon=":material/play_circle:")


def button(sweep: SweepSpec) -> None:
    """Cost and Start; and the specification, for the command line."""
    store = backend.store()
    statuses = store.statuses([r.key for r in sweep.runs()])
    preview = cost.preview(sweep, statuses, workers=default_workers(), speed=store.speed())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start", key="go", type="primary", icon=":material/play_arrow:", shortcut="Mod+Enter",
            on_click=_start, args=(sweep,),
        )  # fmt: skip
        st.markdown(summary(preview))
    with st.expander("The same without a browser", icon=":material/terminal:"):
        st.caption("Save as `study.json`, then `python -m sam_dash run study.json --out results`.")
        st.code(json.dumps(sweep.to_dict(), indent=1), language="json", height=260)


def disabled() -> None:
    """Start, out of reach while the form describes nothing that can be run."""
    st.button("Start", key="go_off", type="primary", icon=":material/play_arrow:", disabled=True)
