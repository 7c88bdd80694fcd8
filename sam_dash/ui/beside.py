"""Which studies stand beside the one picked, on the same figures; in the URL by id, and kept from page to page."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from sam_dash.results.drawing import captions
from sam_dash.results.numbers import beside
from sam_dash.results.numbers.study import Study
from sam_dash.runs.spec import SweepSpec
from sam_dash.ui import backend, pick

BOX, KEPT, URL = "beside", "_beside", "with"
MOST = 7


def wider(study: Study) -> Study:
    """The study with those that are compared with it as one, and each of its own networks where it still has several.

    Offered are those of the same data set, as they differ in problem and training, "the same setting" where they do
    not; nothing is shown where there is none.
    """
    own = beside.together([study])
    known = {s["id"]: (s, spec) for s in backend.store().sweeps() if (spec := backend.spec(s)) is not None}
    specs = {key: spec for key, (_, spec) in known.items()}
    if (example := backend.example()) is not None:
        specs[pick.EXAMPLE] = example.spec
    labels = {key: _label(own.spec, spec, key) for key, spec in specs.items()
              if key != study.id and beside.common(own.spec, spec)}  # fmt: skip
    if not labels:
        return own
    wanted = st.query_params.get(URL) or st.session_state.get(KEPT, "")
    current = [key for key in wanted.split(",") if key in labels][:MOST]
    st.session_state[BOX] = current
    st.multiselect(
        "Compare with", list(labels), format_func=labels.__getitem__, key="beside", on_change=_keep, select_all=False,
        max_selections=MOST, placeholder="Other studies of these data",
        help="Their runs are drawn on the same figures, named by what they differ in.",
    )  # fmt: skip
    if current and st.query_params.get(URL) != ",".join(current):
        st.query_params[URL] = ",".join(current)
    others = [example if key == pick.EXAMPLE else backend.load(known[key][0]) for key in current]
    return beside.together([study, *(other for other in others if other is not None and len(other.finals))])


def _keep() -> None:
    st.session_state[KEPT] = chosen = ",".join(st.session_state[BOX])
    if chosen:
        st.query_params[URL] = chosen
    else:
        st.query_params.pop(URL, None)


def _label(own: SweepSpec, other: SweepSpec, key: str) -> str:
    """For example "width 32 · sgd, sam · 18 runs · 8f3a12"."""
    one = replace(other, networks=())
    differs = beside.names([replace(own, networks=()), one])[1]
    if other.networks:
        differs = ", ".join(filter(None, (captions.networks(other), differs)))
    what = ", ".join(other.variants[:4]) + (" …" if len(other.variants) > 4 else "")
    return f"{differs or 'the same setting'} · {what} · {len(other.runs())} runs · {key[:7]}"
