"""Noise: tr(V) at every m against its 1/m law, within and across batches, and the noise scale."""

from dataclasses import replace

import streamlit as st

from sam_dash.results.views import layers, noise_law
from sam_dash.ui import choices, controls, router, rw_sections, sections, show, states, table

router.ensure_routed()
st.title("Gradient noise", anchor=False)
lead = show.lead()
st.markdown(
    "The theory's extra penalty is ρ/(2m) tr(*V*): the noise of a mean gradient over *m* samples should be "
    "**tr(*V*)/*m***. Here it is measured at every *m* on the finished weights and put beside that law."
)
study = states.with_results(several=True)

with st.container(horizontal=True, vertical_alignment="bottom"):
    at = replace(controls.selection(study, every=True), interval=controls.interval())
    at = at.but(settings=choices.settings(at.kept, at.look))
    at = controls.facet(at, "m")
if not show.view(noise_law.VIEW, at, show.SAYS, lead):
    if noise_law.VIEW.missing(at) is None:
        st.info("Nothing to plot with this choice: pick a setting.", icon=":material/filter_alt_off:")
    st.stop()
one = at.first
st.header("Which layers it is in", anchor=False)
show.view(layers.VIEW, one)
st.header("Noise scale", anchor=False)
sections.noise_scale(one.study, one.kept)
tails = noise_law.tail_table(one.kept, one.look)
if len(tails):
    st.header("Tail of the noise", anchor=False)
    table.show(tails, "Tail index of the gradient noise of every setting with its interval")
    st.caption(noise_law.TAIL_NOTE)
    rw_sections.download(tails, f"tail-{study.id[:6]}")
