"""Overview: what m-sharpness is, and a bundled result of real runs."""

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions, figures
from sam_dash.results.numbers import tables
from sam_dash.ui import backend, figure, router, states, welcome

router.ensure_routed()
st.title("m-sharpness of SAM", anchor=False)
st.markdown(welcome.LEAD)
with st.container(horizontal=True):
    st.page_link("pages/run.py", label="Run a study", icon=":material/play_circle:")
    st.page_link("pages/sharpness.py", label="Sharpness over m", icon=":material/stacked_line_chart:")
    st.page_link("pages/rw_sam.py", label="RW-SAM over λ", icon=":material/balance:")

study = backend.example()
if study is None:
    states.empty("No example result is bundled with this copy")
else:
    st.header("An example: the digits preset, as it came out", anchor=False)
    finals, runs = tables.without_swept(study.finals, study.runs, "lam")
    frame = tables.summary(finals, runs, words.SHARPNESS)
    batch = study.spec.training.batch
    figure.show(
        figures.multiples(frame, "m", columns=figure.columns(5), batch=batch),
        frame,
        captions.caption(study, frame, "m"),
        captions.alt(frame, "m", batch),
        "example",
        "example",
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**What it shows**")
        st.markdown("\n".join(f"- {line}" for line in captions.findings(frame, "m", batch)))
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
