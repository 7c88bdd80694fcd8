"""Overview: what m-sharpness is, and a bundled result of real runs."""

import streamlit as st

from sam_dash.results import captions, figures, style, tables
from sam_dash.ui import backend, figure, router, states, words

router.ensure_routed()
st.title("m-sharpness of SAM", anchor=False)
st.markdown(words.LEAD)
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
    frame = tables.summary(finals, runs, style.SHARPNESS)
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
        st.markdown(words.LIMITS)

st.header("The idea in equations", anchor=False)
left, right = st.columns(2, gap="large")
with left:
    st.markdown(words.SAM)
    st.latex(words.ASCENT_TEX)
    st.latex(words.SAM_TEX)
    st.markdown(words.M_SAM)
    st.latex(words.M_SAM_TEX)
with right:
    st.markdown(words.THEORY)
    st.latex(words.THEORY_TEX)
    st.markdown(words.THEORY_NOTE)
st.header("The methods", anchor=False)
for column, (name, key, text) in zip(st.columns(4, gap="medium"), words.METHODS, strict=True):
    with column.container(border=True, height="stretch"):
        st.markdown(f":{words.HUE[key]}[■] **{name}**")
        st.markdown(text)
