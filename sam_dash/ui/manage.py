"""What can be done with the selected runs: name and tag, hide, show, delete, write a note, take the weights along."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from sam_dash.results.files import weights
from sam_dash.runs import checkpoints, labels, marks
from sam_dash.runs.labels import Label
from sam_dash.runs.limits import size
from sam_dash.runs.recording import is_recorded
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.ui import finder

NOTE = "_note_error"


def bar(store: Store, keys: list[str], hidden: frozenset[str], called: Mapping[str, Label]) -> None:
    """What can be done with the selected runs."""
    n = f"{len(keys)} run{'s' * (len(keys) != 1)}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{n} selected**")
        if len(keys) == 1:
            finder.name(
                "run", keys[0], called.get(keys[0], Label()), lambda of: labels.put(store, "run", {keys[0]: of})
            )
        else:
            finder.tags(store, keys)
        shown = [k for k in keys if k not in hidden]
        if shown:
            st.button(
                "Hide", key="hide", icon=":material/visibility_off:", on_click=marks.hide, args=(store, shown),
                help="Leave these out of figures, tables and verdicts, which then say so. Nothing is deleted.",
            )  # fmt: skip
        if len(shown) < len(keys):
            st.button(
                "Show again", key="unhide", icon=":material/visibility:", on_click=marks.hide,
                args=(store, keys, False),
            )  # fmt: skip
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown(f"Delete **{n}** with all that they measured? This cannot be undone.")
            st.caption("A run that is training is not deleted: stop it first. Hiding keeps everything.")
            sure = st.checkbox(f"Yes, delete {n}", key="sure")
            st.button(
                "Delete for good", key="delete", type="primary", disabled=not sure, on_click=_delete,
                args=(store, keys),
            )  # fmt: skip


def _delete(store: Store, keys: list[str]) -> None:
    gone = store.delete(keys)
    st.session_state["sure"] = False
    st.query_params.pop("run", None)
    kept = len(keys) - len(gone)
    text = f"{len(gone)} deleted" + (f"; {kept} are training and were kept: stop them first" if kept else "")
    st.toast(text, icon=":material/delete:")


def note(store: Store, key: str) -> None:
    """The note on a run, and a field to change it."""
    text = marks.notes(store).get(key, "")
    with st.expander("Note", expanded=bool(text), icon=":material/edit_note:"):
        st.text_area(
            "Note", text, key=f"note_{key}", max_chars=marks.MAX_NOTE, label_visibility="collapsed", height=90,
            placeholder="What should be remembered of this run", on_change=_write, args=(store, key),
        )  # fmt: skip
        st.caption("Kept in the store; saved when you leave the field.")
    if wrong := st.session_state.pop(NOTE, ""):
        st.error(wrong, icon=":material/edit_note:")


def _write(store: Store, key: str) -> None:
    try:
        marks.note(store, key, st.session_state[f"note_{key}"])
    except SpecError as error:
        st.session_state[NOTE] = str(error)


def weights_button(store: Store, key: str) -> None:
    """The final weights as safetensors; disabled, with the reason, where there are none. Of a recorded run the files
    that it has saved.
    """
    if is_recorded(key):
        saved = checkpoints.listed(store, [key])
        for each in saved:
            st.caption(f":material/save: Weights after step {each.step}, {size(each.size)}: `{each.path}`")
        if not saved:
            st.caption("No weights were saved (`r.save(model)`).")
        return
    have = store.has_weights(key)
    st.download_button(
        "Weights", (lambda: weights.safetensors(store, key)) if have else b"", f"weights-{key}.safetensors",
        "application/octet-stream", key="weights", on_click="ignore", icon=":material/download:", disabled=not have,
        help="The final weights as one vector `w`, in the order of torch's `parameters_to_vector`, with the "
        "specification beside it." if have else "No weights are kept: unfinished, imported, or above 10 MB.",
    )  # fmt: skip
