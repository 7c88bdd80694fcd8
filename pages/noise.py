"""Noise: tr(V) at every m against its 1/m law, within and across batches, and the noise scale."""

import streamlit as st

from sam_dash.results.drawing import cells, lines
from sam_dash.results.numbers import collapse, further
from sam_dash.results.views import noise_law
from sam_dash.ui import choices, controls, figure, links, router, rw_sections, sections, show, states
from sam_dash.ui.frame import columns

router.ensure_routed()
st.title("Gradient noise", anchor=False)
st.markdown(
    "The theory's extra penalty is ρ/(2m) tr(*V*): the noise of a mean gradient over *m* samples should be "
    "**tr(*V*)/*m***. Here it is measured at every *m* on the finished weights and put beside that law."
)
study = states.with_results()

batch = study.spec.training.batch
with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs = controls.radius(study)
    gone = collapse.runs(finals, runs, study.spec)
    finals = collapse.without(finals, gone)
    interval = controls.interval()
    look = cells.of(study)
    chosen = choices.settings(finals, look)
if not (finals["quantity"] == "tr_V").any():
    wanted = {"Set up this study with gradient noise": further.extended(study, measures={"what": ("noise",)})}
    links.missing("Gradient noise was not measured in this study", "tr(V) at every m costs three gradients.", wanted)
    st.stop()
if chosen.empty:
    st.info("Nothing to plot with this choice: pick a setting.", icon=":material/filter_alt_off:")
    st.stop()
frame = noise_law.frame(chosen, look, batch, interval)
found = noise_law.findings(frame)
figure.show(
    lines.figure(frame, noise_law.AXES, noise_law.TITLES, columns=2, room=columns()),
    frame,
    noise_law.caption(study, frame, interval),
    "tr(V) of means of m samples against tr(V)/m. " + " ".join(found),
    f"noise-{study.id[:6]}",
    "noise",
)
st.header("What these runs say", anchor=False)
show.collapsed(runs, gone, look)
st.markdown("\n".join(f"- {line}" for line in found))
st.header("Which layers it is in", anchor=False)
sections.layer_noise(study, chosen, look, interval)
st.header("Noise scale", anchor=False)
sections.noise_scale(study, finals)
table = noise_law.tail_table(finals, look)
if len(table):
    st.header("Tail of the noise", anchor=False)
    st.dataframe(table, hide_index=True, alt="Tail index of the gradient noise of every setting with its interval")
    st.caption(noise_law.TAIL_NOTE)
    rw_sections.download(table, f"tail-{study.id[:6]}")
