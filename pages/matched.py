"""Matched: every quantity against train loss, gradient evaluations and seconds; Simpson's paradox made visible."""

import streamlit as st

from sam_dash.results.views import matched, matched_figure
from sam_dash.ui import choices, controls, router, sections, show, states, table

router.ensure_routed()
st.title("Matched comparisons", anchor=False)
lead = show.lead()
st.markdown(
    "A method that fits less of the noise, or computes more, may look better without its minimum being the reason. "
    "Here methods meet at **equal train loss**, with SGD stopped early as the baseline, and at **equal cost**."
)
study = states.with_results()

with st.container(horizontal=True, vertical_alignment="bottom"):
    at = controls.selection(study)
    x = choices.matched_in()
    y = choices.one_quantity(at.finals, ("test_acc", "tr_H", "lam_max", "tr_V", "gap_acc", "test_loss"))
runs = matched_figure.table(at)
show.collapsed(at.runs, at.collapsed, at.look)
if runs.empty:
    st.info("Every setting here collapsed: there is nothing to match.", icon=":material/filter_alt_off:")
    st.stop()
if y is None or not show.view(matched_figure.VIEW, at.but(x=x, y=y), lead=lead):
    st.info("Not recorded in this study: choose another axis.", icon=":material/filter_alt_off:")
    st.stop()

st.header("At the same train loss as SGD stopped early", anchor=False)
curves = matched_figure.curves(at, y)
if rows := matched.at_same_loss(runs, curves, y, at.look) if y != "train_loss" else []:
    st.markdown(show.listed(matched.findings(rows, y)))
    beside = matched.matched_table(rows, y)
    table.show(beside, "Each setting beside SGD at its train loss")
    st.caption(
        "Each run against SGD of the same seed where that first came down to the run's final train loss, linear "
        "between two epochs. SGD had not annealed its learning rate by then; runs of so few "
        "epochs would have, and may do better:"
    )
    sections.annealed(study, runs, y)
elif y != "train_loss":
    sections.no_trajectory(study, at.kept, y)

st.header("Sharpness and accuracy, pooled and within", anchor=False)
sections.correlations(at.but(x=choices.sharpness_of(at.finals)))
