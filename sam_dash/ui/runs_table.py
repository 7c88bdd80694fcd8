"""The table of runs: one row a run, filters in the URL, a selected row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.files import export
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs import marks
from sam_dash.runs.recording import RecordedStudy
from sam_dash.ui import backend, figure, markdown, pick, states, table

KEY = "runs_rows"
SHOWN = ("test_acc", "train_loss", "tr_H", "lam_max", "tr_V")


def wide(study: Study, notes: Mapping[str, str], hidden: Collection[str]) -> pd.DataFrame:
    """One row a run: what it is, how it ended, its main final values, its note. Accuracies in per cent."""
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
    if isinstance(study.spec, RecordedStudy):
        of = {r.key: r for r in study.spec.recorded}
        frame["name"] = [export.plain(of[key].name) for key in frame["run"]]
        frame["origin"] = [export.plain(export.origin(of[key].to_dict())) for key in frame["run"]]
        order += [*["name"] * (frame["name"].nunique() > 1), "origin"]
    order += [*finals.columns, "seconds", "run", "error"]
    order += ["note"] * bool((frame["note"] != "").any()) + ["hidden"] * bool(hidden)
    return frame[order].reset_index(drop=True)


def forget() -> None:
    """Drop the selection: it is by position, and other rows are about to stand there."""
    st.session_state[KEY] = {"selection": {"rows": [], "columns": [], "cells": []}}


def filters(frame: pd.DataFrame) -> pd.DataFrame:
    """Narrow the table by status and variant."""
    with st.container(horizontal=True):
        for column, label in (("status", "Status"), ("network", "Network"), ("variant", "Variant")):
            if column not in frame:
                continue
            options = list(dict.fromkeys(frame[column]))
            options = options if column == "network" else sorted(options)
            if len(options) > 1:
                chosen = st.pills(
                    label, options, selection_mode="multi", key=f"runs_{column}", bind="query-params",
                    on_change=forget,
                    help="None chosen: all are shown.",
                )  # fmt: skip
                frame = frame[frame[column].isin(chosen)] if chosen else frame
    return frame.reset_index(drop=True)


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    column = st.column_config
    out: dict[str, Any] = {
        "status": column.TextColumn("Status"), "variant": column.TextColumn("Variant", pinned=True),
        "network": column.TextColumn("Network"), "m": "m",
        "seed": column.NumberColumn("Seed"), "name": column.TextColumn("Name"),
        "origin": column.TextColumn("Origin", help="Not made here: recorded in a loop of its own, or from a file"),
        "seconds": column.NumberColumn("Seconds", help="With measurements; a share of its stack's"),
        "run": column.TextColumn("Run", help="Hash of the specification"), "error": column.TextColumn("Message"),
        "note": column.TextColumn("Note"), "hidden": column.CheckboxColumn("Hidden"),
    }  # fmt: skip
    for q in (q for q in map(str, frame) if words.is_score(q) or q in SHOWN):
        out[q] = words.labelled(q)
    symbols = {n: k.symbol for n, k in words.knobs().items()}
    return out | {n: symbols[n] for n in tables.knob_names() if n in frame}


def show(frame: pd.DataFrame, total: int) -> list[str]:
    """The table; the keys of the selected runs, or of those in the URL."""
    st.caption(
        f"{len(frame)} of {total} runs. Values are those of the last step; accuracies in per cent. A click on a column "
        "sorts; select one run for its details, two to compare them."
    )
    marked = frame.assign(status=[f"{_MARK[s]} {s}" for s in frame["status"]])
    event = table.show(
        marked, "All runs of this study, one row each", key=KEY, on_select="rerun", selection_mode="multi-row",
        column_config=_columns(frame), height=min(420, 38 + 35 * (len(frame) + 1)),
    )  # fmt: skip
    rows = [r for r in event["selection"]["rows"] if r < len(frame)]
    if rows:
        st.query_params["run"] = keys = [str(frame.loc[r, "run"]) for r in rows]
        return keys
    asked = st.query_params.get_all("run")
    missing = [key for key in asked if key not in set(frame["run"])]
    if missing:
        st.warning(f"There is no run “{markdown.literal(missing[0][:40])}” among these.", icon=":material/link_off:")
    return [key for key in asked if key not in missing]


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
