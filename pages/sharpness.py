"""Sharpness over m: aligned small multiples, paired differences, trends, m-sharpness at any m, the second opinion."""

from dataclasses import replace

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions
from sam_dash.results.numbers import statistics, tables, trend
from sam_dash.results.views import m_eval, opinions
from sam_dash.results.views.sharpness import VIEW
from sam_dash.ui import controls, figure, router, sections, show, states, table

router.ensure_routed()
st.title("Sharpness over m", anchor=False)
lead = show.lead()
st.markdown(
    "Does a smaller micro-batch *m* lead to flatter minima and better accuracy, **at one ρ**? "
    "All methods share seeds: initialisation, noisy labels and batch order."
)
study = states.with_results(several=True)
if study.recorded:
    st.caption("These runs were recorded: whether those of one seed share all that is what their loops have done.")

with st.container(horizontal=True, vertical_alignment="bottom"):
    at = controls.selection(study, every=True)
    finals, runs = tables.without_swept(at.finals, at.runs, "lam")
    interval = controls.interval()
    against, name = controls.against(finals, at.batch)
    quantities = controls.quantities(finals, words.PANELS)
    at = controls.facet(replace(at, finals=finals, runs=runs, interval=interval), "m")
if not show.view(VIEW, at.but(quantities=quantities, against=against, name=name), show.SAYS, lead):
    st.info("Nothing to plot with this choice: pick another quantity or comparison.", icon=":material/filter_alt_off:")
    st.stop()
kept = at.kept
slopes = sections.each_line(at, lambda of: captions.slope_table(tables.slopes(of, quantities)))
if len(slopes):
    st.markdown(
        f"**Change per doubling of m**{sections.at_this_rho(kept)}, least squares on log₂ m within each seed, then "
        "the mean over seeds"
    )
    alt = "Slopes per doubling of m with 95 % t-intervals"
    table.show(slopes, alt, by="Quantity")
    st.caption("An interval that contains 0 is read as “no trend detected”, not as “no effect”.")
    st.markdown(f"**Does it rise or fall with m?**{sections.at_this_rho(kept)}")
    trends = sections.each_line(at, lambda of: trend.table(trend.trends(of, quantities)))
    table.show(trends, "Page's and Spearman's trend tests")
    st.caption(trend.NOTE)

st.header("The same weights, measured at any m", anchor=False)
st.markdown(
    "Two different *m*: the one the optimiser used, **m_train** (the lines), and the one a finished network is "
    "measured with, **m_eval** (the axis)."
)
show.view(m_eval.VIEW, at.first)
sections.spectrum(at.first)

second = opinions.paired(at.first.finals)
if len(second):
    st.header("Second opinion: PyHessian", anchor=False)
    table.show(opinions.table(second, at.first.look), "Our estimates beside PyHessian's", by="Quantity")
    st.caption(opinions.caption(second))
with st.expander("What the quantities are", icon=":material/help:"):
    figure.legend_of_quantities(quantities)
    st.markdown(f"Interval drawn: {statistics.INTERVALS[interval]}, over seeds.")
