"""The user's own arrays: an uploaded .npz is checked and kept under the hash of its content."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from sam_dash.problems.arrays import NPZ, DataError, read, sha256
from sam_dash.problems.problem import facts, reset
from sam_dash.runs import grammar
from sam_dash.runs.spec import Problem
from sam_dash.ui import markdown

RULES = "Arrays `x_train` (N, …), `y_train` (N,) whole-number labels from 0, `x_test`, `y_test`. No pickles."


def folder() -> Path:
    """$XDG_DATA_HOME/sam-dash/data."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sam-dash" / "data"


def known() -> list[str]:
    """The names, as a Problem takes them, of what was uploaded before."""
    return [f"{NPZ}{path}" for path in sorted(folder().glob("*.npz"))]


def keep(name: str, content: bytes) -> str:
    """Check and keep an uploaded file; its data set name. DataError says what is wrong with it."""
    folder().mkdir(parents=True, exist_ok=True)
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).stem)[:40] or "data"
    new = folder() / f"{stem}.part"
    try:
        new.write_bytes(content)
        read(new)
        path = folder() / f"{stem}-{sha256(new)}.npz"
        new.replace(path)
    except DataError as error:
        raise DataError(str(error).replace(new.name, Path(name).name)) from None
    finally:
        new.unlink(missing_ok=True)
    return f"{NPZ}{path}"


def _kept() -> None:
    file = st.session_state.get("npz_file")
    if file is None:
        return
    try:
        st.session_state["dataset"] = keep(file.name, file.getvalue())
        st.session_state["_npz_note"] = ""
        chosen()
    except (DataError, OSError) as error:
        st.session_state["_npz_note"] = str(error)


def chosen() -> None:
    """After the data set was changed: start anew what belonged to the old one, and keep in mind what that was."""
    was, to = st.session_state.get("_dataset_was", ""), st.session_state["dataset"]
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
    """The uploader, and what was wrong with the last file."""
    with st.expander("Use your own data (.npz)", icon=":material/upload_file:"):
        st.file_uploader("An .npz file", "npz", key="npz_file", on_change=_kept, help=RULES)
        st.caption(RULES)
    if wrong := st.session_state.get("_npz_note"):
        st.error(markdown.literal(wrong), icon=":material/upload_file:")
