"""All studies of the store in a table that is searched by text; and what the one chosen is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results.files.export import plain
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.search import matching
from sam_dash.runs import labels
from sam_dash.runs.labels import Label
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.ui import backend, markdown, pick, table

WRONG = "_label_error"


def show(store: Store) -> None:
    """The studies, folded; one is chosen by its row."""
    sweeps = store.sweeps()
    if len(sweeps) < 2:
        return
    box = st.expander(
        f"Find a study ({len(sweeps)})", expanded=bool(st.query_params.get("find_study")), key="studies",
        icon=":material/search:", on_change="rerun",
    )  # fmt: skip
    if not box.open:
        return
    with box:
        words = st.text_input(
            "Search", key="find_study", bind="query-params", type="search",
            placeholder="name, tag, data, network, variant, person, a run's name",
            help="All words must be found, in any order.",
        )  # fmt: skip
        frame = listed(sweeps, labels.of_runs(store))
        frame = frame[matching(frame["text"], words or "")].reset_index(drop=True)
        key = f"studies_{hash(tuple(frame['Study']))}"  # a selection is by position: other rows, another table
        shown = frame.drop(columns="text")
        table.show(
            shown, "The studies of this store, newest first", key=key, selection_mode="single-row",
            on_select=lambda: _chosen(key, list(frame["Study"])), height=min(320, 38 + 35 * (len(frame) + 1)),
            column_config={"Made": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm")},
        )  # fmt: skip
        st.caption(f"{len(frame)} of {len(sweeps)} studies. Select a row to open that study.")


def listed(sweeps: Sequence[Mapping[str, Any]], runs: Mapping[str, str]) -> pd.DataFrame:
    """One row a study, newest first, and in `text` all that it can be found by, lower case."""
    rows = []
    for sweep in sweeps:
        spec = backend.spec(dict(sweep))
        what = studies.differs(spec) if spec else "of another version"
        data = " · ".join(filter(None, (studies.dataset(spec), studies.networks(spec)))) if spec else ""
        found = {
            "Name": sweep["name"] or sweep["preset"], "What differs": what, "Data": data,
            "Runs": sum(sweep["counts"].values()), "Finished": sweep["counts"].get("done", 0),
            "Tags": ", ".join(sweep["tags"]), "Made": datetime.fromtimestamp(sweep["created"]),
            "By": sweep["person"] or "", "Study": sweep["id"],
        }  # fmt: skip
        variants = " ".join(spec.variants) if spec else ""
        text = " ".join(str(v) for v in (*found.values(), sweep["preset"], variants, runs.get(sweep["id"], "")))
        rows.append({k: plain(v) for k, v in found.items()} | {"text": text.lower()})
    frame = pd.DataFrame(rows)
    return frame.loc[:, [c for c in frame if c not in ("Tags", "By") or frame[c].any()]]


def _chosen(key: str, ids: Sequence[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows and rows[0] < len(ids):
        st.query_params.pop("run", None)
        pick.choose(ids[rows[0]])


def name(kind: str, key: str, have: Label, put: Callable[[Label], None]) -> None:
    """A button that opens the name and the tags of a run or a study; each is kept when its field is left."""
    with st.popover("Name and tags", icon=":material/label:", key=f"label_{kind}"):
        for field, title, value, about, most in (
            ("name", "Name", have.name, f"What this {kind} is called on pages and in files", labels.MAX_NAME),
            ("tags", "Tags", ", ".join(have.tags), "Words to find it by, with commas between them", None),
        ):
            st.text_input(
                title, value, key=f"{field}_{kind}_{key}", max_chars=most, help=about,
                on_change=_write, args=(kind, key, put),
            )  # fmt: skip
        st.caption("Kept in the store; saved when you leave the field. An empty one takes it away.")


def _write(kind: str, key: str, put: Callable[[Label], None]) -> None:
    state = st.session_state
    try:
        put(labels.checked(state[f"name_{kind}_{key}"], labels.tags_of(state[f"tags_{kind}_{key}"])))
    except SpecError as error:
        state[WRONG] = str(error)


def wrong() -> None:
    """Say what was wrong with a name or a tag that was not kept."""
    if text := st.session_state.pop(WRONG, ""):
        st.error(f"{markdown.literal(text)}. What was there stays.", icon=":material/label_off:")


def tags(store: Store, keys: Sequence[str]) -> None:
    """A button that opens two fields: tags that the selected runs are to have, and that they are to lose."""
    with st.popover("Tags", icon=":material/label:", key="label_runs"):
        for what, label in (("add", "Add tags"), ("remove", "Remove tags")):
            st.text_input(
                label, key=f"{what}_tags", help="With commas between them", on_change=_tag, args=(store, keys, what)
            )
        st.caption(f"To or from all {len(keys)} runs; saved when you leave the field.")


def _tag(store: Store, keys: Sequence[str], what: str) -> None:
    text = st.session_state[f"{what}_tags"]
    st.session_state[f"{what}_tags"] = ""
    try:
        labels.tag(store, keys, **{what: labels.tags_of(text)})
    except SpecError as error:
        st.session_state[WRONG] = str(error)
