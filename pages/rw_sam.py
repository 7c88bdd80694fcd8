"""RW-SAM over lambda, beside SAM at m = B: does favouring sharp samples do what a smaller m does?"""

from dataclasses import replace

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import figures
from sam_dash.results.numbers import tables
from sam_dash.results.views.rw_sam import VIEW
from sam_dash.ui import controls, figure, router, rw_sections, show, states

router.ensure_routed()
st.title("RW-SAM over λ", anchor=False)
lead = show.lead()
st.markdown(
    "RW-SAM perturbs the whole batch once, along a gradient that weights sharp samples more; λ = 0 is SAM. "
    "Look at sharpness **together with** the effective sample size 1/Σp² (near 1, a single sample decides) and with "
    "the mean ‖ε‖: a longer perturbation alone flattens, so compare at equal length."
)
study = states.with_results(several=True)
if not any(figures.is_curve(v, "lam") for v in study.finals["variant"]):
    with st.container(border=True):
        st.header(":material/balance: This study has no RW-SAM runs", anchor=False)
        st.write("Add RW-SAM to the variants and give λ several values; runs that exist already are not run again.")
        st.page_link(
            "pages/run.py", label="Set up RW-SAM on the digits preset", icon=":material/play_circle:",
            query_params={"variants": ["SGD", "SAM", "RW-SAM"], "m": "64", "lam": "0, 0.25, 0.5, 1"},
        )  # fmt: skip
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    at = controls.selection(study, every=True)
    finals, runs = (tables.at_full_batch(rows, at.batch) for rows in (at.finals, at.runs))
    interval = controls.interval()
    against, name = controls.against(finals, at.batch)
    quantities = controls.quantities(finals, words.RW_SAM, key="rw_panels")
    at = controls.facet(replace(at, finals=finals, runs=runs, interval=interval), "lam")
if not show.view(VIEW, at.but(quantities=quantities, against=against, name=name), show.SAYS, lead):
    st.info("Nothing to plot with this choice: pick another quantity or comparison.", icon=":material/filter_alt_off:")
    st.stop()
if at.first.runs["rho"].nunique() > 1:
    st.info("The parts that follow are of one ρ: choose one above.", icon=":material/filter_alt:")
else:
    rw_sections.parts(at.first, quantities)
with st.expander("What the quantities are", icon=":material/help:"):
    figure.legend_of_quantities(quantities)
