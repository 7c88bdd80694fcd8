"""Runs of another tool: a CSV whose columns are mapped on a form, taken in as recorded elsewhere."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from sam_dash.results import words
from sam_dash.results.files import foreign
from sam_dash.runs.merge import merge
from sam_dash.runs.spec import SpecError
from sam_dash.ui import backend, markdown, pick, table

NONE = "–"
NOTE = "_csv_note"
ROLES = {
    "run": "Run", "step": "Step", "epoch": "Epoch", "variant": "Variant", "m": "m", "seed": "Seed", "rho": "ρ",
    "lam": "λ",
}  # fmt: skip


def bring() -> None:
    """The uploader, the form of its columns, and what came of it."""
    file = st.file_uploader(
        "A CSV of another tool", "csv", key="csv_file",
        help="A row is a step of a run where there is a column of steps, else the final values of one run.",
    )  # fmt: skip
    fine, text = st.session_state.pop(NOTE, (True, ""))
    if text:
        (st.success if fine else st.error)(markdown.literal(text), icon=":material/upload_file:")
    if file is None:
        return
    try:
        found = foreign.table(file.name, file.getvalue())
    except SpecError as error:
        st.error(markdown.literal(error), icon=":material/upload_file:")
        return
    table.show(found.rows.head(5), f"The first rows of {file.name}")
    with st.form("csv_form"):
        st.markdown("**Which column is what?** What is not chosen is left out.")
        columns, said = _columns(found)
        study = st.text_input("Name of the study", Path(file.name).stem[:80], max_chars=80, key="csv_study")
        st.form_submit_button("Take these runs in", type="primary", icon=":material/upload_file:", key="csv_go")
    if st.session_state.get("csv_go"):
        _take_in(found, columns, study, said)
        st.rerun()


def _columns(found: foreign.Table) -> tuple[dict[str, str], dict[str, str]]:
    """Our names -> their columns, as the form has them, and what is said of all rows."""
    likely, options = foreign.guess(found.columns), [NONE, *found.columns]
    columns: dict[str, str] = {}
    for names in (ROLES, {q: words.quantity(q).name for q in foreign.USUAL}):
        for place, (target, label) in zip([c for _ in range(2) for c in st.columns(4)], names.items(), strict=False):
            with place:
                chosen = st.selectbox(label, options, options.index(likely.get(target, NONE)), key=f"csv_{target}")
            if chosen and chosen != NONE:
                columns[target] = chosen
    usual = {column: q for q, column in likely.items() if q not in {**foreign.ROLES, **foreign.USUAL}}
    more = st.multiselect(
        "Further columns of numbers", found.columns, [c for c in usual if c not in columns.values()], key="csv_more",
        select_all=False, help="Under the names that they have, with - in the place of blanks.",
    )  # fmt: skip
    columns |= {usual.get(c, "-".join(c.split())): c for c in more if c not in columns.values()}
    left, right = st.columns(2)
    variant = left.text_input(
        "Variant of all rows, where no column says it", "sgd", max_chars=80, key="csv_all_variant"
    )
    m = right.text_input("m of all rows, where no column says it", "", max_chars=10, key="csv_all_m")
    said = {"variant": variant, "m": m}
    return columns, {name: text for name, text in said.items() if text.strip() and name not in columns}


def _take_in(found: foreign.Table, columns: dict[str, str], study: str, said: dict[str, str]) -> None:
    try:
        read = foreign.read(found, columns, study, said)
        merged = merge(backend.store(), [read.study], read.runs, source=found.name)
    except SpecError as error:
        st.session_state[NOTE] = (False, f"{error}. Nothing was taken in.")
        return
    pick.choose(merged.sweeps[0])
    kept = f"; {merged.kept} were in the store already" if merged.kept else ""
    told = "".join(f" {note}." for note in read.notes)
    st.session_state[NOTE] = (True, f"{found.name}: {len(merged.new)} runs taken in as recorded elsewhere{kept}.{told}")
