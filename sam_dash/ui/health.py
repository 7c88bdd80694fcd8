"""How the server stands, in a line that keeps itself true: is an engine there, what waits, what room is left."""

from __future__ import annotations

from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from sam_dash.results.words import duration
from sam_dash.runs import limits, upkeep
from sam_dash.runs.report import one_line
from sam_dash.runs.store import Store
from sam_dash.ui import markdown

SECONDS = 2.0  # between two looks
LOW = 1_000_000_000  # bytes of free disk below which it is said


def line(store: Store) -> None:
    """The line, in a fragment of its own."""

    @st.fragment(run_every=SECONDS)
    def look() -> None:
        try:
            found = upkeep.status(store)
        except (SQLAlchemyError, OSError) as error:
            st.error(f"The store does not answer: {markdown.literal(one_line(error))}", icon=":material/database_off:")
            return
        wrong, text = words(found)
        if wrong:
            st.error(text, icon=":material/power_off:")
        else:
            st.caption(text)
        if low := scarce(found):
            st.warning(low, icon=":material/hard_drive:")

    look()


def words(found: dict[str, Any]) -> tuple[bool, str]:
    """Whether something is wrong with the engine, and how it stands, of an `upkeep.status`."""
    queued, running = (found["runs"].get(status, 0) for status in ("queued", "running"))
    oldest, disk = found["queue"]["oldest_seconds"], found["disk"]
    waits = f"{running} running, {queued} queued"
    waits += f", the first of them for {duration(oldest)}" if oldest is not None and oldest >= 1 else ""
    room = "" if disk["free"] is None else f" · store {limits.size(disk['bytes'])}, {limits.size(disk['free'])} free"
    if found["engine"] is False and (queued or running):
        log = markdown.literal(found["log"])
        return True, f"No engine is at work: {waits}. This server starts its own again; why it ended is in {log}."
    able = sum(engine["workers"] or 0 for engine in found["engines"] if engine["alive"])
    if found["engine"] and queued and not able:
        return True, f"The engine has no worker: {waits}. Runs train as soon as one joins it."
    who = {True: f"The engine is at work with {able} workers", False: "No engine is there, and nothing waits for one"}
    unknown = "The engine is on another machine; should it end, its runs are interrupted after 20 s"
    return False, f"{who.get(found['engine'], unknown)} · {waits}{room}"


def scarce(found: dict[str, Any]) -> str:
    """A warning where the disk is nearly full; "" else."""
    free = found["disk"]["free"]
    if free is None or free >= LOW:
        return ""
    return f"Only {limits.size(free)} of disk are free: runs wait when there is none."
