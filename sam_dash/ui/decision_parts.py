"""The parts of the page Decide: which decision, how far it is, its race."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from sam_dash.decide.record import Decision, read, recorded
from sam_dash.results import words
from sam_dash.results.views import halving, race
from sam_dash.ui import markdown, show

HOW = (
    "`decide` tunes the base optimiser and SAM alike, races the best of both on fresh seeds, and answers yes, no, or "
    "cannot be told within the budget. It is started on the command line, on a problem file, a specification or a "
    "preset; this page shows it live."
)
COMMAND = "python -m sam_dash decide my_problem.py --margin 0.5 --minutes 30"
EVERY, SILENT = 2.0, 600.0  # seconds between two looks at a record; and without a line, after which that is said


def page() -> None:
    """The chosen decision, or how to begin one."""
    found = {_named(of): (of, path) for path in recorded() if (of := read(path)) is not None}
    if not found:
        st.info("No decision yet.", icon=":material/balance:")
    st.markdown(HOW)
    st.code(COMMAND, language=None, wrap_lines=True)
    if not found:
        return
    name = st.selectbox("Decision", list(found), key="decision", bind="query-params", width=420)
    at, path = found[name]
    if at.verdict:
        _shown(at, path)
    else:
        st.fragment(_live, run_every=EVERY)(path)


def _named(of: Decision) -> str:
    """Its problem, when it was begun, and its id: a link goes by the whole."""
    return f"{of.problem} · {time.strftime('%Y-%m-%d %H:%M', time.localtime(of.began))} · {of.key[:6]}"


def _live(path: Path) -> None:
    """Read the record anew; the whole page once there is an answer."""
    at = read(path)
    if at is None:
        return
    if at.verdict:
        st.rerun()
    _shown(at, path)


def _shown(at: Decision, path: Path) -> None:
    """The sentence, the race, and how the finalists were found."""
    if at.verdict:
        st.markdown(f"**{markdown.literal(at.sentence)}**")
    else:
        silent = time.time() - path.stat().st_mtime
        last = f"Last line of its record {words.duration(silent)} ago"
        more = "; if its command has ended, the same again goes on." if silent > SILENT else "."
        st.caption(f":material/hourglass_top: Under way. {last}{more}")
    if not show.view(race.VIEW, at, show.SAYS):
        st.markdown(markdown.literal(race.standing(at)))
    st.header("How the finalists were found", anchor=False)
    if not show.view(halving.VIEW, at):
        st.markdown(halving.VIEW.silent)
    st.download_button("Record", path.read_bytes(), path.name, "application/jsonl", icon=":material/download:")
