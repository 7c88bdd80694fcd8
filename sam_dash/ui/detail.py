"""One run in detail: what it was, how it ended, its log and its curves."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import cells, curves
from sam_dash.results.files import export
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs import cost, limits
from sam_dash.runs.queue import AGAIN
from sam_dash.runs.recording import is_recorded
from sam_dash.runs.spec import RunSpec, SpecError, from_dict
from sam_dash.runs.store import Store
from sam_dash.ui import manage, markdown, people, states, table

LOG_LINES = 20
STEPS = 1500  # points drawn of a per-step curve; the CSV has all


def heading(spec: dict[str, Any], status: str, called: str = "") -> None:
    """The name that the run was given, its setting and seed, and its status in a word."""
    name = words.cell_name(spec["variant"], spec["m"], spec["training"]["batch"], words.knob_text(spec["knobs"]))
    name = f"{name}, seed {spec['seed']}"
    st.header(markdown.literal(f"{called}: {name}" if called else name), anchor=False)
    with st.container(horizontal=True, gap="small"):
        st.badge(status, icon=states.ICONS[status], color=states.colour(status))
        if "recorded" in spec:
            st.badge(export.origin(spec), icon=":material/radio_button_checked:", color="violet")


def show(store: Store, key: str, called: str = "") -> None:
    """A run of the store."""
    run = store.run(key)
    if run is None:
        st.warning(f"Run {key} has been deleted from the store.", icon=":material/link_off:")
        return
    heading(run["spec"], run["status"], called)
    _ending(store, run)
    manage.note(store, key)
    manage.weights_button(store, key)
    measured = tables.curves_frame(store.measurements(keys=[key]))
    _epochs(tables.runs_frame([run]), measured, run["spec"]["training"]["batch"])
    _steps(store.series([key]).get(key, {}))
    _finals(measured[measured["step"] == measured["step"].max()])
    _specification(run["spec"], run.get("environment"))


def example(study: Study, key: str) -> None:
    """A run of the bundled example, from its CSV."""
    spec = next(r for r in study.spec.runs() if r.key == key).to_dict()
    heading(spec, str(study.runs.set_index("run").loc[key, "status"]))
    frame = studies.read_curves(studies.EXAMPLE)
    measured = tables.curves_frame(tables.records(frame[frame["run"] == key]))
    measured = measured[~measured["quantity"].isin(words.RECORDED)]
    _epochs(study.runs[study.runs["run"] == key], measured, spec["training"]["batch"])
    _finals(measured[measured["step"] == measured["step"].max()])
    _specification(spec, None)


def _ending(store: Store, run: dict[str, Any]) -> None:
    if run["error"]:
        say = st.error if run["status"] in ("failed", "diverged") else st.warning
        say(
            f"{markdown.literal(run['error'])} ({_place(run)})",
            icon=":material/info:",
        )
    if run.get("log"):
        lines = run["log"].strip().splitlines()
        label = f"Log, last {min(LOG_LINES, len(lines))} of {len(lines)} lines"
        with st.expander(label, expanded=run["status"] == "failed", icon=":material/description:"):
            st.code("\n".join(lines[-LOG_LINES:]), language=None)
    if run["status"] in AGAIN and not is_recorded(run["key"]):
        st.button("Run it again", icon=":material/replay:", on_click=_again, args=(store, run["key"]), key="again")


def _place(run: dict[str, Any]) -> str:
    """How far it was: "step 20 of 100, attempt 1", "step 20" of a recorded one of which no more is known."""
    if is_recorded(run["key"]):
        return f"step {run['step']}" + f" of {run['steps']}" * bool(run["steps"])
    return f"step {run['step']} of {run['steps']}, attempt {run['attempt']}"


def _again(store: Store, key: str) -> None:
    try:
        run = store.run(key)
        spec = from_dict(RunSpec, run["spec"] if run else {})
        cost.steps(spec)  # can it train here?
        limits.check_hours(store, [spec], people.who())
        store.requeue([key], people.who())
    except SpecError as error:
        st.toast(markdown.literal(str(error)), icon=":material/rule:")


def _epochs(runs: pd.DataFrame, measured: pd.DataFrame, batch: int) -> None:
    wanted = words.scored("test_acc", set(measured["quantity"])), "train_loss"
    first = [q for q in wanted if q in set(measured["quantity"])]
    others = [q for q in dict.fromkeys(measured["quantity"]) if q not in first and "@" not in q]
    several = [q for q in others if measured.loc[measured["quantity"] == q, "step"].nunique() > 1]
    shown = [*first, *several[:2]] if len(first) < 2 else first
    for column, quantity in zip(st.columns(max(2, len(shown))), shown, strict=False):
        frame = curves.by_cell(tables.curve_means(runs, measured, quantity), cells.Looks(runs, batch))
        if len(frame):
            with column:
                chart = curves.chart(frame, quantity, legend=False)
                st.altair_chart(chart, height=230, key=f"run_{quantity}", alt=curves.alt(frame, quantity))


def _steps(series: dict[str, Any]) -> None:
    if not series:
        return
    with st.expander("Per-step series", icon=":material/show_chart:"):
        st.caption(f"Raw values, not smoothed; every k-th step where there are more than {STEPS}.")
        for name, values in sorted((q, v) for q, v in series.items() if q not in words.TENTHS):
            thin = max(1, -(-len(values) // STEPS))
            label = words.quantity(name).name.removeprefix("Mean ")
            frame = pd.DataFrame({"Step": range(0, len(values), thin), label: values[::thin]})
            st.line_chart(frame, x="Step", y=label, height=170, color="#7F7F7F", alt=f"{label} at every step")


def _finals(last: pd.DataFrame) -> None:
    if last.empty:
        return
    keys = list(last["quantity"])
    shown = last.assign(
        quantity=[words.labelled(q) for q in keys],
        value=[words.in_unit(q, v) for q, v in zip(keys, last["value"], strict=True)],
        stderr=[words.in_unit(q, v) for q, v in zip(keys, last["stderr"], strict=True)],
    )[["quantity", "value", "stderr", "method", "budget", "residual", "converged"]]
    number = st.column_config.NumberColumn
    st.markdown("**Measured at the last step**")
    table.show(
        shown, "Final values with the standard error of their estimators", by="quantity",
        column_config={
            "quantity": "Quantity", "value": "Value", "method": "Method",
            "stderr": number("Estimator SE", help="Of this one estimate; 0 where it is exact"),
            "budget": number("Budget", help="Probes, iterations or samples"),
            "residual": "Residual", "converged": "Converged",
        },
    )  # fmt: skip


def _specification(spec: dict[str, Any], environment: Any) -> None:
    with st.expander("Specification", icon=":material/data_object:"):
        st.code(json.dumps(spec, indent=1), language="json")
    if environment:
        with st.expander("Environment", icon=":material/memory:"):
            st.code(json.dumps(environment, indent=1), language="json")
