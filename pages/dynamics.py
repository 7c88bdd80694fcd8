"""Dynamics: how losses, accuracies and sharpness got where they ended, over any clock."""

from dataclasses import replace

import streamlit as st

from sam_dash.results.drawing import captions, cells, lines
from sam_dash.results.numbers import collapse, recorded
from sam_dash.results.views import dynamics
from sam_dash.runs import presets
from sam_dash.ui import choices, controls, figure, links, router, show, states, trajectory
from sam_dash.ui.frame import columns

router.ensure_routed()
st.title("Dynamics of training", anchor=False)
st.markdown(
    "**When** does a small *m* act: sharpness and accuracy over the training. The preset *escape* is made for this "
    "page: SGD first memorises wrong labels, then training goes on without them, and smaller *m* leaves that "
    "minimum sooner."
)


def offer_escape() -> None:
    states.empty()
    links.run("Set up the escape preset", presets.get("escape").sweep)


study = states.with_results(offer_escape)

with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs = controls.radius(study)
    quantities = choices.over_time(study)
    x = choices.clock()
    beta = choices.smoothing()
    scale = choices.scale()
    lam = choices.one_lambda(study, runs)
runs = runs if lam is None else lam
curves = trajectory.curves(study, quantities)
times = dynamics.times(curves)
once = [q for q in quantities if times.get(q, 0) < 2]
drawn = [q for q in quantities if q not in once]
frame = dynamics.frame(study, curves, drawn, x, beta, runs=runs)
if len(frame):
    gone = collapse.runs(finals, runs, study.spec)
    found = dynamics.findings(study, curves, drawn, runs[~runs["run"].isin(gone)])
    figure.show(
        lines.figure(frame, dynamics.axes(frame, x, scale), dynamics.titles(drawn), columns=2, room=columns()),
        frame,
        dynamics.caption(study, frame, x, beta, recorded.widths(study, drawn)),
        f"Curves over training, x: {x.lower()}. " + " ".join(found),
        f"dynamics-{study.id[:6]}",
        "dynamics",
    )
    st.header("What these runs say", anchor=False)
    show.collapsed(runs, gone, cells.of(study))
    st.markdown("\n".join(f"- {line}" for line in found) or "One line: nothing to compare.")
elif not once:
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
