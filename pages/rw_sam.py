"""RW-SAM over lambda, beside SAM at m = B: does favouring sharp samples do what a smaller m does?"""

import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions, figures
from sam_dash.results.numbers import collapse, tables
from sam_dash.ui import controls, figure, router, rw_sections, sections, states

router.ensure_routed()
st.title("RW-SAM over λ", anchor=False)
st.markdown(
    "RW-SAM perturbs the whole batch once, along a gradient that weights sharp samples more; λ = 0 is SAM. "
    "Look at sharpness **together with** the effective sample size 1/Σp² (near 1, a single sample decides) and with "
    "the mean ‖ε‖: a longer perturbation alone flattens, so compare at equal length."
)
study = states.with_results()
if not any(figures.is_curve(v, "lam") for v in study.finals["variant"]):
    with st.container(border=True):
        st.header(":material/balance: This study has no RW-SAM runs", anchor=False)
        st.write("Add RW-SAM to the variants and give λ several values; runs that exist already are not run again.")
        st.page_link(
            "pages/run.py", label="Set up RW-SAM on the digits preset", icon=":material/play_circle:",
            query_params={"variants": ["SGD", "SAM", "RW-SAM"], "m": "64", "lam": "0, 0.25, 0.5, 1"},
        )  # fmt: skip
    st.stop()

batch = study.spec.training.batch
with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs = controls.radius(study)
    finals, runs = tables.at_full_batch(finals, batch), tables.at_full_batch(runs, batch)
    interval = controls.interval()
    against, name = controls.against(finals, batch)
    quantities = controls.quantities(finals, words.RW_SAM, key="rw_panels")

frame = tables.summary(finals, runs, quantities, interval, against)
if frame.empty:
    st.info("Nothing to plot with this choice: pick another quantity or comparison.", icon=":material/filter_alt_off:")
    st.stop()
gone = collapse.runs(finals, runs, study.spec)
kept, frame = collapse.without_cells(frame, gone), collapse.marked(frame, gone)
figure.show(
    figures.multiples(frame, "lam", columns=figure.columns(4), difference=name, batch=batch),
    frame,
    captions.caption(study, frame, "lam", interval, name),
    captions.alt(kept, "lam", batch, name),
    f"rw-sam-{study.name}-{study.id[:6]}".replace(" ", ""),
    "rw_sam",
)
st.header("What these runs say", anchor=False)
sections.collapsed_note(runs, gone, batch)
found = captions.findings(kept, "lam", batch, name)
st.markdown("\n".join(f"- {line}" for line in found) or "A single λ: nothing to compare along the axis.")
rw_sections.further(study, collapse.without(finals, gone), runs, quantities)
with st.expander("What the quantities are", icon=":material/help:"):
    figure.legend_of_quantities(quantities)
