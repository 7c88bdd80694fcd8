"""Runs: every run of a study, and one of them in detail."""

import streamlit as st

from sam_dash.ui import backend, detail, pick, router, runs_table, states

router.ensure_routed()
st.title("Runs", anchor=False)
study = pick.study()
if study is None:
    states.empty("No runs yet")
    st.stop()
states.badges(study.counts)
wide = runs_table.wide(study)
shown = runs_table.filters(wide)
chosen = runs_table.show(shown, len(wide))
runs_table.downloads(study)
if chosen is None:
    st.caption("Select a row for its configuration, messages and curves.")
    st.stop()
if study.id == pick.EXAMPLE:
    detail.example(study, chosen)
else:
    detail.show(backend.store(), chosen)
