"""Sharpness over m: aligned small multiples, paired differences, trends, m-sharpness at any m, the second opinion."""

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions, figures
from sam_dash.results.numbers import collapse, statistics, tables, trend
from sam_dash.results.views import m_eval, opinions
from sam_dash.ui import controls, figure, router, sections, states

router.ensure_routed()
st.title("Sharpness over m", anchor=False)
st.markdown(
    "Does a smaller micro-batch *m* lead to flatter minima and better accuracy, **at this ρ**? "
    "All methods share seeds: initialisation, noisy labels and batch order."
)
study = states.with_results()

with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs = controls.radius(study)
    finals, runs = tables.without_swept(finals, runs, "lam")
    interval = controls.interval()
    against, name = controls.against(finals, study.spec.training.batch)
    quantities = controls.quantities(finals, words.PANELS)

frame = tables.summary(finals, runs, quantities, interval, against)
batch = study.spec.training.batch
if frame.empty:
    st.info("Nothing to plot with this choice: pick another quantity or comparison.", icon=":material/filter_alt_off:")
    st.stop()
gone = collapse.runs(finals, runs, study.spec)
frame = collapse.marked(frame, gone)
figure.show(
    figures.multiples(frame, "m", columns=figure.columns(6), difference=name, batch=batch),
    frame,
    captions.caption(study, frame, "m", interval, name),
    captions.alt(collapse.without_cells(frame, gone), "m", batch, name),
    f"sharpness-{study.name}-{study.id[:6]}".replace(" ", ""),
    "sharpness",
)

st.header("What these runs say", anchor=False)
sections.collapsed_note(runs, gone, batch)
kept = collapse.without(finals, gone)
found = captions.findings(collapse.without_cells(frame, gone), "m", batch, name)
st.markdown("\n".join(f"- {line}" for line in found) or "Fewer than two m to compare.")
slopes = captions.slope_table(tables.slopes(kept, quantities))
if len(slopes):
    st.markdown(
        f"**Change per doubling of m**{sections.at_this_rho(kept)}, least squares on log₂ m within each seed, then the "
        "mean over seeds"
    )
    st.dataframe(slopes, hide_index=True, alt="Slopes per doubling of m with 95 % t-intervals")
    st.caption("An interval that contains 0 is read as “no trend detected”, not as “no effect”.")
    st.markdown(f"**Is it monotone in m?**{sections.at_this_rho(kept)}")
    st.dataframe(trend.table(trend.trends(kept, quantities)), hide_index=True, alt="Page's and Spearman's trend tests")
    st.caption(trend.NOTE)

st.header("The same weights, measured at any m", anchor=False)
sections.m_eval(study, m_eval.frame(finals, runs, batch, interval), interval)
sections.spectrum(study)

second = opinions.paired(finals)
if len(second):
    st.header("Second opinion: PyHessian", anchor=False)
    st.dataframe(opinions.table(second, batch), hide_index=True, alt="Our estimates beside PyHessian's")
    st.caption(opinions.caption(second))
with st.expander("What the quantities are", icon=":material/help:"):
    figure.legend_of_quantities(quantities)
    st.markdown(f"Interval drawn: {statistics.INTERVALS[interval]}, over seeds.")
