"""The user's own data: an uploaded .npz or .csv is checked and kept under the hash of its content."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from sam_dash import options
from sam_dash.problems import own_files
from sam_dash.problems.arrays import NPZ, DataError
from sam_dash.problems.card import FILE
from sam_dash.problems.listing import listed
from sam_dash.problems.own_files import known
from sam_dash.problems.problem import facts, reset
from sam_dash.runs import grammar
from sam_dash.runs.spec import Problem, SpecError, SweepSpec
from sam_dash.ui import fields, markdown

__all__ = ["chosen", "known", "note", "show"]

RULES = (
    "An `.npz` with arrays `x_train` (N, …), `y_train` (N,) whole-number labels from 0 or numbers to predict, "
    "`x_test`, `y_test`, or `x` and `y`, of which a fifth is kept for the test; or a `.csv` of numbers with the names "
    "of its columns in the first line. No pickles."
)


def files() -> list[str]:
    """The names, as a Problem takes them, of the problem files that the operator has put there."""
    return [f"{FILE}{path}" for path in listed()]


def title(dataset: str) -> str:
    """A data set as its choice is called: a file of the user's own without its folder."""
    return Path(dataset).name if dataset.startswith((NPZ, FILE)) else dataset


def start(dataset: str) -> SweepSpec:
    """The sweep that a problem file starts with; SpecError, in one line, for one that is wrong."""
    with st.spinner(f"Reading {title(dataset)} in a process of its own", show_time=True):
        return options.of_problem(Path(dataset.removeprefix(FILE)))


def _kept() -> None:
    """An .npz is taken as it comes; of a table the column of the labels is asked for first."""
    file = st.session_state.get("npz_file")
    st.session_state["_npz_note"] = ""
    if file is not None and not file.name.lower().endswith(".csv"):
        _take(lambda: own_files.keep(file.name, file.getvalue()))


def _kept_table() -> None:
    file, target = st.session_state.get("npz_file"), st.session_state.get("csv_target")
    if file is not None:
        _take(lambda: own_files.keep_csv(file.name, file.getvalue(), str(target)))


def _take(keep: Callable[[], str]) -> None:
    try:
        st.session_state["dataset"] = keep()
        st.session_state["_npz_note"] = ""
        chosen()
    except (DataError, OSError) as error:
        st.session_state["_npz_note"] = str(error)


def chosen() -> None:
    """After the data set was changed: start anew what belonged to the old one, and keep in mind what that was."""
    was, to = st.session_state.get("_dataset_was", ""), st.session_state["dataset"]
    if to.startswith(FILE):
        with contextlib.suppress(SpecError):  # said beside Start
            st.session_state.update(fields.values_of(start(to)))
        st.session_state["_own_note"] = ""
        return
    changes = {k: v for k, v in reset(was, to).items() if k in st.session_state and st.session_state[k] != v}
    told = [
        f"{facts(Problem)[name].symbol.lower()} {grammar.text(value)} (was {grammar.text(st.session_state[name])})"
        for name, value in changes.items()
    ]
    st.session_state.update(changes)
    st.session_state["_own_note"] = ", ".join(told)


def note(dataset: str) -> None:
    """Say what was started anew when this data set was chosen."""
    st.session_state["_dataset_was"] = dataset
    if told := st.session_state.get("_own_note"):
        what = "Your own data start plain" if dataset.startswith(NPZ) else "The built-in sets are scaled already"
        st.info(f"{what}: {told}. Change it below if you want it otherwise.", icon=":material/restart_alt:")


def show() -> None:
    """The uploader, the column of a table's labels, and what was wrong with the last file."""
    with st.expander("Use your own data (.npz, .csv)", icon=":material/upload_file:"):
        st.file_uploader("An .npz or a .csv file", ["npz", "csv"], key="npz_file", on_change=_kept, help=RULES)
        st.caption(RULES)
        _table()
    if wrong := st.session_state.get("_npz_note"):
        st.error(markdown.literal(wrong), icon=":material/upload_file:")


def _table() -> None:
    file = st.session_state.get("npz_file")
    if file is None or not file.name.lower().endswith(".csv"):
        return
    try:
        columns = own_files.columns(file.name, file.getvalue())
    except DataError as error:
        st.session_state["_npz_note"] = str(error)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Column of the labels", columns, key="csv_target", width=280)
        st.button("Use this table", on_click=_kept_table, icon=":material/table:")
