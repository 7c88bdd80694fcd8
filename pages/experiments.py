"""Experiments: what related papers claim, the preset that tests it, and what its runs show."""

import streamlit as st

from sam_dash.results.experiments import experiment
from sam_dash.runs import presets
from sam_dash.ui import backend, experiments, figure, live, router, start, states

router.ensure_routed()
st.title("Experiments of related papers", anchor=False)
st.markdown(
    "Each tests one claim of a paper by a preset that runs on a laptop. A small run does not refute a paper; it says "
    "what **this** setting shows, by a rule that is written beside it."
)
chosen = experiments.choose()
left, right = st.columns(2, gap="large")
with left:
    st.header("What the paper claims", anchor=False)
    st.markdown(f"{chosen.claim}\n\n{chosen.source}")
with right:
    st.header("Run it", anchor=False)
    preset = presets.get(chosen.preset)
    st.caption(f"**{preset.title}.** {preset.about}")
    start.button(preset.sweep)

st.header("What the runs show", anchor=False)
study, bundled = experiments.study(chosen)
if study is not None and study.active:
    live.view(backend.store(), study)
if study is None or study.finals.empty:
    st.info("No result yet: press Start, and the figure appears here.", icon=":material/hourglass_empty:")
    st.stop()
st.caption("These runs ship with sam-dash; yours take their place." if bundled else f"Your study {study.id[:6]}.")
states.partial(study)
frame = chosen.frame(study)
if frame.empty:
    st.info("This study lacks what the experiment compares.", icon=":material/filter_alt_off:")
    st.stop()
found = chosen.judge(frame)
figure.show(
    chosen.figure(frame), frame, chosen.caption(study, frame), experiment.alt(found), f"experiment-{chosen.name}"
)
experiments.findings(found)
st.markdown(f"**The rule.** {chosen.rule}")
st.markdown(f"**What it does not show.** {chosen.limits}")
