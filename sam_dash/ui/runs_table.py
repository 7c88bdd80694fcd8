"""The table of runs: one row a run; filters, and the runs selected, in the URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.files import export
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.search import matching
from sam_dash.results.numbers.study import Study
from sam_dash.runs import marks
from sam_dash.runs.labels import Label
from sam_dash.runs.recording import RecordedStudy
from sam_dash.ui import backend, figure, markdown, pick, states, table

KEY = "runs_rows"
FEW = 8  # values that are shown as buttons; more are in a list
FILTERS = {
    "status": "Status", "variant": "Variant", "network": "Network", "m": "m", "rho": "ρ", "lam": "λ", "seed": "Seed",
}  # fmt: skip
_TURN, _SEEN = "_runs_turn", "_runs_seen"
SHOWN = ("test_acc", "train_loss", "tr_H", "lam_max", "tr_V")


def wide(
    study: Study, notes: Mapping[str, str], hidden: Collection[str], called: Mapping[str, Label] = {}
) -> pd.DataFrame:
    """One row a run: what it is and is called, how it ended, its main final values, note. Accuracies in per cent."""
    runs = study.runs.assign(note=[export.plain(notes.get(key, "")) for key in study.runs["run"]])
    if hidden:
        runs["hidden"] = runs["run"].isin(hidden)
    runs["variant"] = [words.title(v) for v in runs["variant"]]
    finals = study.finals.pivot_table(index="run", columns="quantity", values="value", aggfunc="last")
    finals = finals.reindex(columns=[q for q in words.all_scored(SHOWN, set(map(str, finals))) if q in finals])
    frame = runs.merge(finals, left_on="run", right_index=True, how="left")
    if "test_acc" in frame:
        frame["test_acc"] *= 100
    knobs = [k for k in tables.settings(frame)[2:] if k in tables.ALWAYS or frame[k].nunique() > 1]
    knobs = [k for k in knobs if frame[k].notna().any()]
    order = ["status", *["network"] * (frame["network"].nunique() > 1), "variant", "m", *knobs, "seed"]
    own: dict[str, str] = {}
    if isinstance(study.spec, RecordedStudy):
        of = {r.key: r for r in study.spec.recorded}
        own = {key: of[key].name for key in frame["run"]}
        frame["origin"] = [export.plain(export.origin(of[key].to_dict())) for key in frame["run"]]
        order += ["origin"]
    labels = [called.get(key, Label()) for key in frame["run"]]
    frame["name"] = [export.plain(of.name or own.get(key, "")) for key, of in zip(frame["run"], labels, strict=True)]
    frame["tags"] = [export.plain(", ".join(of.tags)) for of in labels]
    order = ["name"] * (frame["name"].nunique() > 1) + order + ["tags"] * bool(frame["tags"].any())
    order += [*finals.columns, "seconds", "run", "error"]
    order += ["note"] * bool((frame["note"] != "").any()) + ["hidden"] * bool(hidden)
    return frame[order].reset_index(drop=True)


def filters(frame: pd.DataFrame) -> pd.DataFrame:
    """Narrow the table by words, status, network, variant, m, ρ, λ, seed and score."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words_ = st.text_input(
            "Search", key="runs_text", bind="query-params", type="search", width=220,
            placeholder="name, tag, note, message", help="All words must be found, in any order.",
        )  # fmt: skip
        whole = frame
        if words_:
            frame = frame[matching(_texts(whole), words_)]
        for column, label in FILTERS.items():
            several = column in whole and whole[column].nunique() > 1
            if several and (chosen := _chosen(whole[column], column, label)):
                frame = frame[frame[column].map(_shown).isin(chosen)]
        if (score := words.scored("test_acc", set(map(str, whole)))) in whole:
            frame = _scored(frame, whole[score], score)
    return frame.reset_index(drop=True)


def _texts(frame: pd.DataFrame) -> pd.Series[str]:
    """All that a run can be found by, lower case."""
    columns = [frame[c].map(_shown) for c in frame if not pd.api.types.is_float_dtype(frame[c]) or c == "m"]
    rows = [" ".join(row).lower() for row in zip(*columns, strict=True)]
    return pd.Series(rows, index=frame.index, dtype=str)


def _shown(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)


def _chosen(values: pd.Series[Any], column: str, label: str) -> list[str]:
    """Which values of a column are asked for; [] for all."""
    options = list(dict.fromkeys(map(_shown, values)))
    if column in ("status", "variant"):
        options = sorted(options)
    elif column != "network":
        there = values.dropna()
        options = [_shown(v) for v in sorted(set(there))] + ["–"] * (len(there) < len(values))
    key, help_ = f"runs_{column}", "None chosen: all are shown."
    if column in ("status", "variant") and len(options) <= FEW:
        return st.pills(label, options, selection_mode="multi", key=key, bind="query-params", help=help_)
    return st.multiselect(
        label, options, key=key, bind="query-params", width=150, placeholder="All", select_all=False, help=help_
    )


def _scored(frame: pd.DataFrame, score: pd.Series[float], name: str) -> pd.DataFrame:
    """Narrow the table to a range of the score; runs without one are shown while the range is whole."""
    there = score[np.isfinite(score)]
    if there.nunique() < 2:
        return frame
    ends = float(np.floor(there.min() * 10) / 10), float(np.ceil(there.max() * 10) / 10)
    kept = st.session_state.get("runs_score", ends)
    if not ends[0] <= kept[0] <= kept[1] <= ends[1]:  # of the study that was shown before
        st.session_state["runs_score"] = ends
    low, high = st.slider(
        words.labelled(name), *ends, ends, 0.1, key="runs_score", bind="query-params", width=220, format="%.1f",
        help="Final values. Runs without one are shown while the range is whole.",
    )  # fmt: skip
    return frame if (low, high) == ends else frame[frame[name].between(low, high)]


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    column = st.column_config
    out: dict[str, Any] = {
        "status": column.TextColumn("Status"), "variant": column.TextColumn("Variant", pinned=True),
        "network": column.TextColumn("Network"), "m": "m",
        "seed": column.NumberColumn("Seed"), "name": column.TextColumn("Name", pinned=True),
        "tags": column.TextColumn("Tags"),
        "origin": column.TextColumn("Origin", help="Not made here: recorded in a loop of its own, or from a file"),
        "seconds": column.NumberColumn("Seconds", help="With measurements; a share of its stack's"),
        "run": column.TextColumn("Run", help="Hash of the specification"), "error": column.TextColumn("Message"),
        "note": column.TextColumn("Note"), "hidden": column.CheckboxColumn("Hidden"),
    }  # fmt: skip
    for q in (q for q in map(str, frame) if words.is_score(q) or q in SHOWN):
        out[q] = words.labelled(q)
    symbols = {n: k.symbol for n, k in words.knobs().items()}
    return out | {n: symbols[n] for n in tables.knob_names() if n in frame}


def show(frame: pd.DataFrame, whole: pd.DataFrame) -> list[str]:
    """The table of `frame`, a part of `whole`; the keys of the runs selected, also of those that it does not show.

    A selection of Streamlit's is by position. Ours is the keys in the URL; where other rows are shown, or the URL says
    others than the table did, the table is a new one that begins with ours.
    """
    asked, there, visible = st.query_params.get_all("run"), set(whole["run"]), list(frame["run"])
    missing = [key for key in asked if key not in there]
    if missing:
        st.warning(f"There is no run “{markdown.literal(missing[0][:40])}” among these.", icon=":material/link_off:")
    picked = [key for key in asked if key in there]
    if picked != st.session_state.get(_SEEN):
        st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1
    away = [key for key in picked if key not in set(visible)]
    st.caption(
        f"{len(frame)} of {len(whole)} runs. Values are those of the last step; accuracies in per cent. A click on a "
        "column sorts; select one run for its details, two to eight to compare them."
        + f" {len(away)} selected are not among those shown."
        * bool(away)
    )
    marked = frame.assign(status=[f"{_MARK[s]} {s}" for s in frame["status"]])
    place = {key: i for i, key in enumerate(visible)}
    event = table.show(
        marked, "All runs of this study, one row each", key=f"{KEY}_{st.session_state[_TURN]}_{hash(tuple(visible))}",
        on_select="rerun", selection_mode="multi-row", column_config=_columns(frame),
        height=min(420, 38 + 35 * (len(frame) + 1)),
        selection_default={"selection": {"rows": [place[key] for key in picked if key in place]}},
    )  # fmt: skip
    rows = [visible[r] for r in event["selection"]["rows"] if r < len(visible)]
    kept = [key for key in picked if key in set(rows) or key not in place]
    chosen = [*kept, *(key for key in rows if key not in kept)]
    if chosen != picked:
        st.query_params["run"] = chosen
    st.session_state[_SEEN] = chosen
    return chosen


_MARK = {"queued": "◦", "running": "▸", "done": "✓", "diverged": "↗", "failed": "✕", "stopped": "■", "interrupted": "‖"}
assert set(_MARK) == set(states.ICONS)


def downloads(study: Study) -> None:
    """The runs table and all curves as CSV, in the format of `python -m sam_dash export`."""
    with st.container(horizontal=True):
        for name in ("runs", "curves"):
            st.download_button(
                f"{name}.csv", partial(_export, study.id, name), f"{name}-{study.id[:6]}.csv",
                "text/csv", key=f"csv_{name}", on_click="ignore", icon=":material/download:",
                help="All runs of this study" if name == "runs" else "Every measurement at every step, tidy",
            )  # fmt: skip


def _export(study_id: str, name: str) -> bytes:
    if study_id == pick.EXAMPLE:
        folder = studies.EXAMPLE
        return figure.csv(pd.read_csv(folder / "runs.csv") if name == "runs" else studies.read_curves(folder))
    store = backend.store()
    make = export.runs_frame if name == "runs" else export.curves_frame
    frame = make(store, study_id)
    if name == "runs" and (notes := marks.notes(store)):
        frame["note"] = frame["run"].map(notes)
    return figure.csv(frame)
