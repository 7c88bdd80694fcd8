"""Two selected runs side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import compare
from sam_dash.ui import backend, markdown, pick, states, table


def show(study: Study, keys: list[str]) -> None:
    """Settings (only what differs, by default) and outcomes of the first two."""
    a, b = (_run(study, key) for key in keys[:2])
    if a is None or b is None:
        st.warning("One of these runs has been deleted from the store.", icon=":material/link_off:")
        return
    st.header("Two runs compared", anchor=False)
    for column, letter, (spec, status, _) in zip(st.columns(2), "AB", (a, b), strict=True):
        name = words.cell_name(spec["variant"], spec["m"], spec["training"]["batch"], words.knob_text(spec["knobs"]))
        column.markdown(f"**{letter}**: {name}, seed {spec['seed']}")
        column.badge(status, icon=states.ICONS[status], color=states.colour(status))
    st.caption(markdown.unlinked(compare.sentence(a[0], b[0])))
    only = st.toggle("Only what differs", True, key="only_different", bind="query-params")
    left, right = st.columns(2, gap="large")
    with left:
        frame = compare.settings(a[0], b[0], only)
        differing = ", ".join(frame.loc[frame["Differs"], "Setting"]) or "nothing"
        st.markdown("**Settings**")
        shown = frame.drop(columns="Differs") if only else frame
        table.show(shown, f"Settings of the two runs; they differ in {differing}")
        if frame.empty:
            st.caption("The two specifications are the same.")
    with right:
        st.markdown("**Outcome at the last step**")
        outcome = compare.outcomes(a[2], b[2])
        table.show(outcome, "Final values of the two runs and their difference", by="Quantity")
        early = [f"{letter} is {r[1]}" for letter, r in zip("AB", (a, b), strict=True) if r[1] != "done"]
        if early:
            st.caption(f"{' and '.join(early)}: its values are those of the last step that it measured.")
    if len(keys) > 2:
        st.caption(f"{len(keys)} runs are selected; these are the first two.")


def _run(study: Study, key: str) -> tuple[dict[str, Any], str, pd.DataFrame] | None:
    if study.id == pick.EXAMPLE:
        spec = next(r for r in study.spec.runs() if r.key == key).to_dict()
        frame = studies.read_curves(studies.EXAMPLE)
        frame = frame[(frame["run"] == key) & ~frame["quantity"].isin(words.RECORDED)]
        return spec, "done", frame[frame["step"] == frame["step"].max()]
    run = backend.store().run(key)
    if run is None:
        return None
    return run["spec"], run["status"], tables.curves_frame(backend.store().measurements(keys=[key], final=True))
