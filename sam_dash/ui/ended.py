"""A study that has ended: its figure, why runs failed with their last lines, and to resume what is missing."""

from __future__ import annotations

from functools import partial

import streamlit as st

from sam_dash.results import words
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import rw_sam, sharpness
from sam_dash.results.views.view import Selection
from sam_dash.runs.store import Store
from sam_dash.ui import markdown, pick, show, signal, start, states, trajectory

LINES = 12  # of a log
SHOWN = 3  # failures in full; the rest by number
NEXT = (("sharpness", "Sharpness over m"), ("rw_sam", "RW-SAM over λ"), ("claims", "Claims"), ("runs", "All runs"))
RESUMABLE = ("failed", "stopped", "interrupted")


def missing(study: Study) -> int:
    """How many cells of the study have no finished run: failed, stopped, interrupted, hidden aside, or deleted."""
    again = int(study.runs["status"].isin(RESUMABLE).sum())
    return again + max(0, len(study.spec.runs()) - len(study.runs) - study.hidden)


def resume(study: Study) -> None:
    """A button that queues the missing cells only; none for recorded runs, which nothing here could make."""
    n = 0 if study.recorded else missing(study)
    if n:
        st.button(
            f"Resume: run the {n} missing", key="resume", icon=":material/replay:", on_click=start.again,
            args=(study.spec,), help="Finished runs stay as they are; failed, stopped and deleted ones are queued.",
        )  # fmt: skip


def failures(store: Store, study: Study) -> None:
    """Message and last log lines of the runs that failed, those of one message together."""
    gone = study.runs[study.runs["status"].isin(("failed", "diverged"))]
    if gone.empty:
        return
    groups = list(gone.groupby("error", sort=False))
    for message, rows in groups[:SHOWN]:
        first = tables.records(rows)[0]
        knobs = {k: first[k] for k in ("rho", "lam") if first[k] == first[k] and first[k] is not None}
        name = words.cell_name(first["variant"], first["m"], study.spec.training.batch, words.knob_text(knobs))
        name += f", {first['network']}" if study.spec.networks else ""
        n, status = len(rows), str(first["status"])
        which = f"{name}, seed {first['seed']}" + (f" and {n - 1} more" if n > 1 else "")
        with st.container(border=True):
            st.badge(f"{n} {status}", icon=states.ICONS[status], color="red")
            st.markdown(f"**{markdown.literal(which)}**: {markdown.literal(message) or 'no message'}")
            log = (store.run(str(first["run"])) or {}).get("log") or ""
            lines = log.strip().splitlines()
            if lines:
                st.code("\n".join(lines[-LINES:]), language=None)
                st.caption(f"The last {min(LINES, len(lines))} of {len(lines)} lines of its log.")
            st.page_link(
                "pages/runs.py", label="Open this run", icon=":material/arrow_forward:",
                query_params={"study": study.id, "run": str(first["run"])},
            )  # fmt: skip
    if len(groups) > SHOWN:
        st.caption(f"{len(groups) - SHOWN} other messages are on the page Runs.")


def view(store: Store, study: Study) -> None:
    """A study that has ended: what came of its runs, its figure, and where to go on."""
    signal.ended(study)
    with st.container(horizontal=True, vertical_alignment="center"):
        states.badges(study.counts)
        resume(study)
    states.partial(study)
    failures(store, study)
    if study.finals.empty:
        states.nothing_finished(study)
        return
    study = pick.one_network(study)
    if study.finals.empty:
        states.nothing_finished(study)
        return
    axis = "lam" if len(study.spec.m) < 2 and len(study.values("lam")) > 1 else "m"
    view = rw_sam.VIEW if axis == "lam" else sharpness.VIEW
    at = Selection(study, study.finals, study.runs, partial(trajectory.curves, study))
    if rhos := study.values("rho"):
        at = at.where(rho=rhos[0])
    found = show.drawn(view, at.but(quantities=words.SHARPNESS), "study", st.container())
    st.markdown(show.listed(found or []))
    show.collapsed(at.runs, at.collapsed, at.look)
    if len(study.values("rho")) > 1:
        st.caption("This is the smallest ρ of the study; the others are on the page Sharpness.")
    with st.container(horizontal=True):
        for page, label in NEXT:
            st.page_link(
                f"pages/{page}.py", label=label, query_params={"study": study.id}, icon=":material/arrow_forward:"
            )
