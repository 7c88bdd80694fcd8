"""Links that fill the Run page's form: how every "not in this study" says where to get it."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from sam_dash.runs import presets
from sam_dash.runs.spec import SweepSpec
from sam_dash.ui import form


def query(sweep: SweepSpec) -> dict[str, str | list[str]]:
    """Every field of the form, as the URL holds it. All of them: the form keeps what a link does not name."""
    preset = sweep.preset if sweep.preset in presets.PRESETS else "digits"
    out: dict[str, str | list[str]] = {"preset": preset}
    for key, value in form.values_of(sweep).items():
        if isinstance(value, list):
            out[key] = [str(v) for v in value]
        elif isinstance(value, bool):
            out[key] = str(value).lower()
        else:
            out[key] = f"{value:g}" if isinstance(value, float) else str(value)
    return {key: value for key, value in out.items() if value != []}


def run(label: str, sweep: SweepSpec, icon: str = ":material/play_circle:") -> None:
    """A link to the Run page with the form filled for `sweep`."""
    st.page_link("pages/run.py", label=label, icon=icon, query_params=query(sweep))


def missing(title: str, text: str, links: Mapping[str, SweepSpec]) -> None:
    """What a study lacks, why it is wanted, and links that run it."""
    with st.container(border=True):
        st.markdown(f":material/add_chart: **{title}**")
        st.markdown(text)
        for label, sweep in links.items():
            run(label, sweep)
        st.caption("Opens the Run page with the form filled. Runs that exist already are not run again.")
