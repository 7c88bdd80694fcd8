"""Overview: what m-sharpness is, and a bundled result of real runs."""

from functools import partial

import streamlit as st

from sam_dash.results import words
from sam_dash.results.views.sharpness import VIEW
from sam_dash.results.views.view import Selection
from sam_dash.runs import presets
from sam_dash.ui import backend, router, show, start, states, trajectory, welcome

router.ensure_routed()
st.title("m-sharpness of SAM", anchor=False)
st.markdown(welcome.LEAD)
with st.container(horizontal=True, vertical_alignment="center"):
    start.yourself(presets.get(presets.FIRST).sweep)
    st.page_link("pages/run.py", label="Set up a study of your own", icon=":material/tune:")

study = backend.example()
if study is None:
    states.empty("No example result is bundled with this copy")
else:
    st.header("An example: the digits preset, as it came out", anchor=False)
    at = Selection(study, study.finals, study.runs, partial(trajectory.curves, study))
    found = show.drawn(VIEW, at.but(quantities=words.SHARPNESS), "example", show.lead())
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**What it shows**")
        st.markdown(show.listed(found or []))
    with right:
        st.markdown("**What it does not show**")
        st.markdown(welcome.LIMITS)

st.header("The idea in equations", anchor=False)
left, right = st.columns(2, gap="large")
with left:
    st.markdown(welcome.SAM)
    st.latex(welcome.ASCENT_TEX)
    st.latex(welcome.SAM_TEX)
    st.markdown(welcome.M_SAM)
    st.latex(welcome.M_SAM_TEX)
with right:
    st.markdown(welcome.THEORY)
    st.latex(welcome.THEORY_TEX)
    st.markdown(welcome.THEORY_NOTE)
st.header("The methods", anchor=False)
for column, (name, key, text) in zip(st.columns(4, gap="medium"), welcome.METHODS, strict=True):
    with column.container(border=True, height="stretch"):
        st.markdown(f":{welcome.HUE[key]}[■] **{name}**")
        st.markdown(text)
