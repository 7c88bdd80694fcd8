"""Experiments: what related papers claim, the preset that tests it, and what its runs show."""

import streamlit as st

from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.runs import presets
from sam_dash.ui import experiments, router, show, start

router.ensure_routed()
st.title("Experiments of related papers", anchor=False)
lead = show.lead()
st.markdown(
    "Each tests one claim of a paper by a preset that runs on a laptop. A small run does not refute a paper; it says "
    "what **this** setting shows, by a rule that is written beside it."
)
chosen = experiments.choose(EXPERIMENTS, "Experiment", "experiment")
left, right = st.columns(2, gap="large")
with left:
    st.header("What the paper claims", anchor=False)
    st.markdown(f"{chosen.claim}\n\n{chosen.source}")
with right:
    st.header("Run it", anchor=False)
    preset = presets.get(chosen.preset)
    st.caption(f"**{preset.title}.** {preset.about}")
    start.button(*preset.sweeps)

st.header("What the runs show", anchor=False)
experiments.result(chosen, lead)
