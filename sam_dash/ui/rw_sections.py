"""Parts of the RW-SAM page: equal length, equivalent m, the modes, the weights over training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells
from sam_dash.results.numbers import collapse, further
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import equal_length, rw_weights, tenths
from sam_dash.results.views.view import Selection
from sam_dash.ui import choices, figure, links, pool, show, table

PARTS = ("At equal length", "Its weights", "Its modes")
MODES = (("norms", "one-probe", "exact"), ("scale", "raw", "standardised"), ("normalised", True, False))


@st.fragment
def parts(at: Selection, quantities: list[str]) -> None:
    """The rest of the page, of which only the open tab is made: its figures and tables would take a second."""
    study, finals = at.study, at.kept
    equally, weighted, by_mode = st.tabs(PARTS, key="rw_part", bind="query-params")
    if equally.open:
        with equally:
            judged = choices.one_quantity(
                finals, ("test_acc", "tr_H", "lam_max", "tr_V", "train_loss"), key="rw_quantity"
            )
            if judged is not None:
                values, every = pool.of(study)
                values = collapse.without(values, collapse.runs(values, every, study.spec))
                equal(study, finals, values, judged)
                st.header("Equivalent m", anchor=False)
                equivalent(study, finals, values, judged)
    if weighted.open:
        with weighted:
            show.view(rw_weights.VIEW, at)
            st.header("Which share of the batch decides", anchor=False)
            show.view(tenths.VIEW, at)
    if by_mode.open:
        with by_mode:
            modes(study, finals, [q for q in quantities if q in words.SHARPNESS])


def equal(study: Study, finals: pd.DataFrame, values: pd.DataFrame, quantity: str) -> None:
    """RW-SAM beside plain SAM at the same mean length of the perturbation, from all final values of the problem."""
    st.markdown(
        "A longer perturbation flattens by itself. Plain SAM at *m* = B has ‖ε‖ = ρ; here it is taken at RW-SAM's own "
        "mean ‖ε‖ (an equal ρ, or between two ρ, linear in log ‖ε‖), seed by seed, from all runs of this problem."
    )
    batch = study.spec.training.batch
    rw, sam = (equal_length.per_run(f, quantity) for f in (finals, values))
    found = equal_length.compare(rw, sam, quantity, cells.of(study))
    if not found:
        st.caption("Every RW-SAM run here has λ = 0, which is SAM.")
        return
    shown = equal_length.shown(found, quantity)
    table.show(shown, f"RW-SAM beside SAM at equal length. {_told(shown)}")
    download(shown, f"equal-length-{quantity}-{study.id[:6]}")
    missing = equal_length.lengths_missing(found)
    if missing:
        seeds = tuple(sorted({int(s) for s in study.finals["seed"]}))
        sweep = replace(study.spec, variants=("sam",), m=(batch,), knobs={"rho": missing}, seeds=seeds)
        links.missing(
            "Some lengths have no SAM run on both sides",
            "These ρ bracket them; when those runs are done, the table above fills in by itself.",
            {f"Set up SAM at ρ = {captions.listed(f'{v:g}' for v in missing)}": sweep},
        )


def _told(shown: pd.DataFrame) -> str:
    counted = shown["Reading"].value_counts()
    return captions.listed(f"{n} × {told}" for told, n in counted.items()) + "."


def equivalent(study: Study, finals: pd.DataFrame, values: pd.DataFrame, quantity: str) -> None:
    """The m at which m-SAM has RW-SAM's value, at the same rho, from all final values of the problem."""
    batch = study.spec.training.batch
    rho = set(finals["rho"].dropna())
    sam = values[(values["variant"] == "sam") & values["rho"].isin(rho)]
    sizes = sorted(sam["m"].dropna().unique())
    if len(sizes) < 2:
        sweep = further.extended(study, variants=("sam", "rwsam"), m=tuple(2**k for k in range(7) if batch % 2**k == 0))
        links.missing("No m-SAM curve to read it off", "An equivalent m wants SAM at several m.", {"Add them": sweep})
        return
    rw, curve = (equal_length.per_run(f, quantity) for f in (finals, sam))
    found = equal_length.equivalent(rw, curve, quantity, cells.of(study))
    shown = equal_length.equivalents_shown(found, quantity, sizes)
    table.show(shown, "The m of m-SAM that gives what RW-SAM gives")
    st.caption(
        "Each seed's own m-SAM curve at this ρ, inverted at that seed's RW-SAM value, linear in log₂ m; the interval "
        "is over seeds, of log₂ m. An m is given only if no seed is outside the curve's range; the m of a seed whose "
        "curve passes the value more than once is not defined and not counted. Collapsed runs are on no curve. "
        "RW-SAM's perturbation may be of another length: read it beside the table above."
    )
    download(shown, f"equivalent-m-{quantity}-{study.id[:6]}")


def modes(study: Study, finals: pd.DataFrame, quantities: list[str]) -> None:
    """Exact norms against one probe, standardised against raw, free length against normalised, paired."""
    absent: dict[str, tuple[Any, ...]] = {}
    for knob, base, other in MODES:
        shown = equal_length.modes(finals, quantities, knob, base, other)
        title = {"norms": "One-probe or exact norms", "scale": "Raw or standardised norms"}.get(
            knob, "Normalised or not"
        )
        if shown.empty:
            absent[knob] = (base, other)
            continue
        st.markdown(f"**{title}**")
        table.show(shown, f"{title}: paired differences", by="Quantity")
    if absent:
        names = {"norms": "exact norms", "scale": "standardised norms", "normalised": "no normalisation"}
        what = captions.listed(names[k] for k in absent)
        sweep = further.extended(study, variants=("rwsam",), m=(), knobs=absent)
        links.missing(f"Not in this study: {what}", "Each is a mode of RW-SAM with everything else as it is here.",
                      {f"Set up RW-SAM with {what}": sweep})  # fmt: skip


def download(frame: pd.DataFrame, name: str) -> None:
    """The table as CSV."""
    st.download_button("CSV", figure.csv(frame), f"{name}.csv", "text/csv", key=f"csv_{name}", on_click="ignore",
                       icon=":material/download:")  # fmt: skip
