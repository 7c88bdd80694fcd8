"""Curves over training, seed mean per cell, as Vega charts that can be redrawn while they grow."""

from __future__ import annotations

from typing import Any

import altair as alt_
import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import cells, style
from sam_dash.results.numbers import tables


def by_cell(frame: pd.DataFrame, look: cells.Looks) -> pd.DataFrame:
    """Name and colour the cells of a `tables.curve_means` frame: columns line, colour, dash, step, epoch, value, n."""
    return look.dressed(frame)[["line", "colour", "dash", "step", "epoch", "value", "n"]]


def clock(frame: pd.DataFrame) -> str:
    """Over what a chart of the frame is: epochs, or steps where a loop that was recorded did not say its epochs."""
    return "epoch" if frame["epoch"].notna().all() else "step"


def chart(frame: pd.DataFrame, quantity: str, legend: bool = True) -> Any:
    """One line a cell over the epochs, or steps."""
    x = clock(frame)
    title = {"epoch": "Epoch", "step": "Step"}[x]
    each = frame.drop_duplicates("line")
    names = list(each["line"])
    scale = alt_.Scale(domain=names, range=list(each["colour"]))
    dashes = alt_.Scale(domain=names, range=[_lengths(dash) for dash in each["dash"]])
    axis = alt_.Axis(format="%") if words.is_fraction(quantity) else alt_.Axis()
    y = alt_.Y("value:Q", title=words.quantity(quantity).name, scale=alt_.Scale(zero=False), axis=axis)
    key = alt_.Legend(title="Seed mean") if legend else None
    number = ".1%" if words.is_fraction(quantity) else ".4"
    return (
        alt_.Chart(frame)
        .mark_line(interpolate="linear", point=len(frame) <= 3 * len(each))
        .encode(
            x=alt_.X(f"{x}:Q", title=title), y=y,
            color=alt_.Color("line:N", scale=scale, sort=names, legend=key),
            strokeDash=alt_.StrokeDash("line:N", scale=dashes, sort=names, legend=key),
            tooltip=[
                alt_.Tooltip("line:N", title="Cell"), alt_.Tooltip(f"{x}:Q", title=title),
                alt_.Tooltip("value:Q", title=words.quantity(quantity).name, format=number),
                alt_.Tooltip("n:Q", title="Seeds"),
            ],
        )
    )  # fmt: skip


def _lengths(dash: str) -> list[int]:
    """The lengths of a dash, for Vega: pen down, pen up, ..."""
    return [1, 0] if dash == "solid" else [int(part.removesuffix("px")) for part in style.DASHES[dash].split(",")]


def alt(frame: pd.DataFrame, quantity: str) -> str:
    """Where each line ends."""
    label = words.quantity(quantity).name
    x = clock(frame)
    if frame.empty:
        return f"{label} over the {x}s: nothing measured yet."
    last = tables.records(frame.sort_values(x).groupby("line", sort=False).tail(1))
    parts = [f"{r['line']} {words.show(quantity, float(r['value']))} at {x} {r[x]:g}" for r in last]
    return f"{label} over the {x}s, seed means: {'; '.join(parts[:12])}."
