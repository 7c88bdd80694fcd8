"""Links that fill the Run page's form: how every "not in this study" says where to get it."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from sam_dash.runs.recording import RecordedStudy
from sam_dash.runs.spec import SweepSpec
from sam_dash.ui import fields


def run(label: str, sweep: SweepSpec, icon: str = ":material/play_circle:") -> None:
    """A link to the Run page with the form filled for `sweep`; none for recorded runs, which are not made here."""
    if isinstance(sweep, RecordedStudy):
        return
    st.page_link("pages/run.py", label=label, icon=icon, query_params=fields.query(sweep))


def missing(title: str, text: str, links: Mapping[str, SweepSpec]) -> None:
    """What a study lacks, why it is wanted, and links that run it."""
    with st.container(border=True):
        st.markdown(f":material/add_chart: **{title}**")
        st.markdown(text)
        for label, sweep in links.items():
            run(label, sweep)
        if any(isinstance(sweep, RecordedStudy) for sweep in links.values()):
            st.caption("These runs were recorded in loops of their own: log it there, or measure it with `r.measure`.")
        else:
            st.caption("Opens the Run page with the form filled. Runs that exist already are not run again.")
