"""More controls, of the analysis pages: over what, of what, at what. Every one has a key and is in the URL."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import cells
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import dynamics, layers, matched, noise_law
from sam_dash.ui import backend, pool


def names(quantities: list[str]) -> list[str]:
    """Their plain names."""
    return [words.quantity(q).name for q in quantities]


def over_time(study: Study) -> list[str]:
    """Which curves to draw."""
    found = set(study.finals["quantity"])
    if study.recorded:  # some have not ended, and log what they like
        found |= {*backend.store().quantities(study.id), *words.SERIES}
    have = [q for q in dict.fromkeys([*words.QUANTITIES, *sorted(found)]) if q in found and dynamics.has_curve(q)]
    usual = words.all_scored(dynamics.USUAL, have)
    options = {words.quantity(q).name: q for q in [*usual, *have] if q in have}
    chosen = st.multiselect(
        "Curves", list(options), default=[n for n, q in options.items() if q in usual], key="curves", select_all=False,
        bind="query-params", placeholder="Choose a quantity", help="One panel a quantity, in this order.",
    )  # fmt: skip
    return [options[n] for n in chosen if n in options]


def clock(study: Study) -> str:
    """What the horizontal axis counts."""
    usual = dynamics.usual_clock(study)
    chosen = st.selectbox(
        "Over", list(dynamics.X), list(dynamics.X).index(usual), key="clock", bind="query-params", width=190,
        help="Methods differ in what a step costs: n-SAM takes a full-data gradient at each.",
    )  # fmt: skip
    return chosen or usual


def scale() -> str:
    """The scale of the vertical axes: Auto, Linear or Log."""
    chosen = st.segmented_control(
        "Scale", ["Auto", "Linear", "Log"], default="Auto", required=True, key="scale", bind="query-params",
        help="Of everything but accuracies. Auto: logarithmic where values span more than a factor of 20.",
    )  # fmt: skip
    return chosen or "Auto"


def smoothing() -> float:
    """The beta of the moving average; 0 is raw."""
    return float(
        st.slider(
            "Smoothing β",
            0.0,
            0.95,
            0.0,
            0.05,
            key="ema",
            bind="query-params",
            width=150,
            help="Debiased exponential moving average of the seed mean; 0: raw. The raw line stays behind it.",
        )
    )


def one_lambda(study: Study) -> float | None:
    """Which λ of those swept over it is drawn; None where there is nothing to choose."""
    values, usual = study.values("lam"), dynamics.one_lambda(study)
    if usual is None:
        return None
    options = [f"{v:g}" for v in values]
    chosen = st.selectbox(
        "λ", options, index=values.index(usual), key="at_lam", bind="query-params", width=110,
        help="Of RW-SAM, one at a time; the page RW-SAM compares them.",
    )  # fmt: skip
    return next((v for v in values if f"{v:g}" == chosen), values[0])


def scope(study: Study) -> tuple[pd.DataFrame, pd.DataFrame, bool]:
    """The study's own runs, or all of its problem in the store; whether it is all."""
    everything = st.toggle(
        "All runs of this problem", key="pool", bind="query-params",
        help="Adds the runs of the store's other studies with the same data, network and training.",
    )  # fmt: skip
    return (*pool.of(study), True) if everything else (study.finals, study.runs, False)


def swept_variant(finals: pd.DataFrame) -> str:
    """Which of the variants swept over m; "" where there is none."""
    have = {words.title(v): v for v in dict.fromkeys(finals["variant"]) if cells.swept(v)}
    if len(have) < 2:
        return next(iter(have.values()), "")
    return have.get(st.selectbox("Variant", list(have), key="map_variant", bind="query-params", width=120) or "", "")


def one_quantity(finals: pd.DataFrame, usual: tuple[str, ...], key: str = "quantity") -> str | None:
    """One quantity, the usual ones first; None where nothing was measured."""
    have = layers.whole(finals)
    usual = tuple(words.all_scored(usual, have))
    options = {words.quantity(q).name: q for q in [*usual, *sorted(have - set(usual))] if q in have}
    if not options:
        return None
    chosen = st.selectbox("Quantity", list(options), key=key, bind="query-params", width=200)
    return options.get(chosen or "", next(iter(options.values())))


def matched_in() -> str:
    """What methods are matched in: a key of `matched.TITLES`."""
    chosen = st.segmented_control(
        "Against", list(matched.X), default="Train loss", required=True, key="against", bind="query-params",
        help="Train loss: fitted equally well. Gradient evaluations and seconds: cost the same.",
    )  # fmt: skip
    return matched.X[chosen or "Train loss"]


def sharpness_of(finals: pd.DataFrame) -> str | None:
    """Which measure of sharpness or noise to correlate with accuracy."""
    have = set(finals["quantity"])
    sizes = sorted((q for q in have if q.startswith("m_sharp@")), key=lambda q: int(q.partition("@")[2]))
    options = {words.quantity(q).name: q for q in ("tr_H", "lam_max", "tr_V", *sizes) if q in have}
    if not options:
        return None
    chosen = st.selectbox("Sharpness", list(options), key="sharpness", bind="query-params", width=220)
    return options.get(chosen or "", next(iter(options.values())))


def settings(finals: pd.DataFrame, look: cells.Looks) -> set[str]:
    """The names of the settings chosen; three of them at first, as each has lines of its own."""
    here = {look[r]["line"] for r in tables.records(finals.drop_duplicates("run"))}
    names = [of["line"] for of in look if of["line"] in here]
    plain = {look[r]["line"] for r in tables.records(noise_law.plain(finals))}
    usual = [name for name in names if name in plain]
    return set(
        st.multiselect(
            "Settings", names, default=usual[:3] or names[:1], key="settings", bind="query-params",
            placeholder="Choose a setting", select_all=False,
        )
    )  # fmt: skip
