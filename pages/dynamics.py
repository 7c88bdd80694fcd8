"""Dynamics: how losses, accuracies and sharpness got where they ended, over any clock."""

from dataclasses import replace

import streamlit as st

from sam_dash.results.drawing import captions
from sam_dash.results.views.dynamics import VIEW
from sam_dash.runs import presets
from sam_dash.ui import choices, controls, links, router, show, states

router.ensure_routed()
st.title("Dynamics of training", anchor=False)
lead = show.lead()
st.markdown(
    "**When** does a small *m* act: sharpness and accuracy over the training. The preset *escape* is made for this "
    "page: SGD first memorises wrong labels, then training goes on without them, and smaller *m* leaves that "
    "minimum sooner."
)


def offer_escape() -> None:
    states.empty()
    links.run("Set up the escape preset", presets.get("escape").sweep)


study = states.with_results(offer_escape, curves=True, several=True)

with st.container(horizontal=True, vertical_alignment="bottom"):
    at = controls.selection(study, every=True)
    quantities = choices.over_time(study)
    clock, beta, scale = choices.clock(study), choices.smoothing(), choices.scale()
    lam = choices.one_lambda(study)
    at = controls.facet(at.but(quantities=quantities, clock=clock, beta=beta, scale=scale, lam=lam), "lam")
once = VIEW.once(at)
if not show.view(VIEW, at, show.SAYS, lead) and not once:
    st.info("Nothing to plot with this choice: pick another quantity or x-axis.", icon=":material/filter_alt_off:")
if once:
    every = max(1, study.spec.training.epochs // 8)
    wanted = replace(study.spec, measures=replace(study.spec.measures, every=every))
    links.missing(
        f"{captions.listed(choices.names(once))}: measured at the end only",
        f"Measured {captions.every(every)} there would be a curve of each. Those are runs of their own: a measurement "
        "is part of what a run is.",
        {
            f"Set up this study, measured {captions.every(every)}": wanted,
            "Or the escape preset": presets.get("escape").sweep,
        },
    )
