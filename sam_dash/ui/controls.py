"""The controls above a figure. Every one has a key and is in the URL."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.drawing import facets
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import layers
from sam_dash.results.views.view import Selection
from sam_dash.ui import trajectory

ALL, ONE = "All", "Quantity"
SHORT = {"95 % CI": "ci", "SE": "se", "SD": "sd"}


def interval() -> str:
    """Which interval the bars are; a key of `statistics.INTERVALS`."""
    chosen = st.segmented_control(
        "Interval", list(SHORT), default="95 % CI", required=True, key="interval", bind="query-params",
        help="Over seeds: 95 % t-interval of the mean, ± 1 standard error, or ± 1 standard deviation.",
    )  # fmt: skip
    return SHORT[chosen or "95 % CI"]


def selection(study: Study, every: bool = False) -> Selection:
    """The study at one ρ, or where `every` may be chosen at all of them."""
    return Selection(study, *radius(study, every), partial(trajectory.curves, study))


def radius(study: Study, every: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Final values and runs at one rho: comparing m at different rho would mix two effects. `every`: all may be chosen,
    each for itself.
    """
    where = _radius(study, every)
    return tables.select(study.finals, where), tables.select(study.runs, where)


def _radius(study: Study, every: bool) -> dict[str, float]:
    values = study.values("rho")
    if len(values) < 2:
        return {}
    chosen = st.selectbox(
        "ρ", [f"{v:g}" for v in values] + [ALL] * every, key="at_rho", bind="query-params", width=110,
        help="Perturbation radius: the effect of m depends on it. All: each has lines of its own." if every
        else "Perturbation radius. One at a time: the effect of m depends on it.",
    )  # fmt: skip
    if every and chosen == ALL:
        return {}
    return {"rho": next((v for v in values if f"{v:g}" == chosen), values[0])}


def facet(at: Selection, without: str = "") -> Selection:
    """The selection with panels told apart by a setting, if one that varies in it is chosen; `without`: the axis."""
    options = facets.offered(at.finals, without)
    if not options:
        return at
    chosen = st.selectbox(
        "Panels by", [ONE, *options], key="facet", bind="query-params", width=130,
        help="A panel of its own for each value of a setting that varies in what is drawn.",
    )  # fmt: skip
    return at.but(facet=options.get(chosen or "", ""))


def cells(finals: pd.DataFrame, batch: int) -> dict[str, dict[str, Any]]:
    """The cells that a difference can be taken from, by name: SGD, n-SAM, SAM at m = B, ..."""
    out = {}
    for variant, rows in finals.groupby("variant", sort=False):
        known = variants.REGISTRY.get(str(variant))
        swept = known is not None and known.m_axis
        if swept and "batch" in rows and rows["batch"].nunique() > 1:
            continue  # m = B is another m in each of these studies
        rows = rows[rows["m"] == batch] if swept else rows
        if len(rows) and not rows.duplicated(["quantity", "seed", *(["study"] if "study" in rows else [])]).any():
            out[words.cell_name(str(variant), batch, batch)] = {"variant": variant} | (
                {"m": float(batch)} if swept else {}
            )
    return out


def against(finals: pd.DataFrame, batch: int) -> tuple[dict[str, Any] | None, str]:
    """Values themselves, or their difference from a cell; the cell and its name."""
    options = cells(finals, batch)
    shown = ["Values", *(f"Difference from {name}" for name in options)]
    chosen = st.selectbox(
        "Show", shown, key="show", bind="query-params", width=230,
        help="A difference is taken within each seed (paired), then averaged.",
    )  # fmt: skip
    name = (chosen or "Values").removeprefix("Difference from ")
    return (options[name], name) if name in options else (None, "")


def quantities(finals: pd.DataFrame, usual: tuple[str, ...], key: str = "panels") -> list[str]:
    """Which panels to draw: the usual ones that were measured, and any other."""
    have = layers.whole(finals)
    usual = tuple(words.all_scored(usual, have))
    names = {words.quantity(q).name: q for q in [*usual, *sorted(have - set(usual))] if q in have}
    chosen = st.multiselect(
        "Panels", list(names), default=[n for n, q in names.items() if q in usual], key=key, bind="query-params",
        help="One panel a quantity, in this order.", placeholder="Choose a quantity", select_all=False,
    )  # fmt: skip
    return [names[n] for n in chosen if n in names]
