"""The user's own arrays: an uploaded .npz is checked and kept under the hash of its content."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from sam_dash.problems.datasets import NPZ, DataError, load_npz, sha256

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
        load_npz(new)
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
    except (DataError, OSError) as error:
        st.session_state["_npz_note"] = str(error)


def show() -> None:
    """The uploader, and what was wrong with the last file."""
    with st.expander("Use your own data (.npz)", icon=":material/upload_file:"):
        st.file_uploader("An .npz file", "npz", key="npz_file", on_change=_kept, help=RULES)
        st.caption(RULES)
    if note := st.session_state.get("_npz_note"):
        st.error(note, icon=":material/upload_file:")
