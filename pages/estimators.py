"""Estimators: how each number was measured and how far to trust it; our engine beside PyHessian's."""

import streamlit as st

from sam_dash.results.drawing import captions, cells
from sam_dash.results.numbers import further
from sam_dash.results.views import opinions, quality
from sam_dash.ui import figure, links, markdown, router, show, states, table

router.ensure_routed()
st.title("Estimator quality", anchor=False)
lead = show.lead()
st.markdown(
    "Every sharpness number is an estimate. Its **own** error (probes, iterations, samples) is another thing than the "
    "spread over seeds that the bars of the figures show; where it is not much smaller, the bars say too little."
)
study = states.with_results()
frame = quality.by_quantity(study.finals)
st.header("What these numbers rest on", anchor=False)
show.first(quality.finding(frame), lead)
if len(frame):
    table.show(quality.table(frame), f"Estimator quality. {quality.finding(frame)}", by="Quantity")
    st.caption(
        f"{markdown.unlinked(captions.setting(study.spec))}. {captions.excluded(study)} "
        "Measured at the last step, on the clean weights. "
        "Relative error: standard error of one estimate over its value (0: exact; –: not stated). "
        "Budget: probes, iterations or samples. "
        "Residual: of an iterative method, relative; it bounds the distance to some eigenvalue, which in one random "
        "start of 300 was not the largest (docs/LOG.md)."
    )
    name = f"estimators-{study.id[:6]}"
    st.download_button(
        "CSV", figure.csv(quality.estimates(study.finals)), f"{name}.csv", "text/csv", key="csv_quality",
        on_click="ignore", icon=":material/download:", help="Every estimate of every run with all digits",
    )  # fmt: skip
loose = quality.unconverged(study.finals)
if len(loose):
    st.markdown("**Not converged**: these have hollow markers in the figures")
    alt = f"{len(loose)} estimates that did not converge"
    look = cells.of(study)
    table.show(quality.loose_table(loose, look), alt, by="Quantity")

st.header("Second opinion: PyHessian", anchor=False)
found = opinions.paired(study.finals)
if len(found):
    table.show(opinions.table(found, cells.of(study)), "Our estimates beside PyHessian's, with errors", by="Quantity")
    st.caption(markdown.unlinked(opinions.caption(found)))
else:
    links.missing(
        "This study did not ask for it",
        "PyHessian measures the same weights again, with its own code. Runs with it are runs of their own: a "
        "measurement is part of what a run is.",
        {"Set up this study with PyHessian": further.extended(study, measures={"what": ("pyhessian",)})},
    )
