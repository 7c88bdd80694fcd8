"""Curves over training, seed mean per cell, as Vega charts that can be redrawn while they grow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt_
import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import cells
from sam_dash.results.numbers import tables


def by_cell(frame: pd.DataFrame, batch: int, sizes: Iterable[float] = ()) -> pd.DataFrame:
    """Name and colour the cells of a `tables.curve_means` frame: columns cell, colour, epoch, value, n.

    `sizes` are the m of the whole study, so that colours stay when further runs begin.
    """
    if frame.empty:
        return pd.DataFrame(columns=["cell", "colour", "epoch", "value", "n"])
    by_variant = frame.groupby("variant")
    varied = [k for k in tables.cell(frame)[2:] if by_variant[k].nunique().max() > 1]
    ladder = sorted(sizes) or sorted(frame.loc[[cells.swept(v) for v in frame["variant"]], "m"].dropna().unique())
    names, colours = [], []
    for row in tables.records(frame):
        knobs = {k: row[k] for k in varied if row[k] == row[k] and row[k] is not None}
        names.append(words.cell_name(row["variant"], row["m"], batch, words.knob_text(knobs)))
        colours.append(cells.colour(row["variant"], row["m"], ladder))
    return frame.assign(cell=names, colour=colours)[["cell", "colour", "epoch", "value", "n"]]


def chart(frame: pd.DataFrame, quantity: str, legend: bool = True) -> Any:
    """One line a cell over the epochs."""
    each = frame.drop_duplicates("cell")
    scale = alt_.Scale(domain=list(each["cell"]), range=list(each["colour"]))
    axis = alt_.Axis(format="%") if words.is_fraction(quantity) else alt_.Axis()
    y = alt_.Y("value:Q", title=words.quantity(quantity).name, scale=alt_.Scale(zero=False), axis=axis)
    key = alt_.Legend(title="Seed mean") if legend else None
    number = ".1%" if words.is_fraction(quantity) else ".4"
    return (
        alt_.Chart(frame)
        .mark_line(interpolate="linear", point=len(frame) <= 3 * len(each))
        .encode(
            x=alt_.X("epoch:Q", title="Epoch"), y=y,
            color=alt_.Color("cell:N", scale=scale, sort=list(each["cell"]), legend=key),
            tooltip=[
                alt_.Tooltip("cell:N", title="Cell"), alt_.Tooltip("epoch:Q", title="Epoch"),
                alt_.Tooltip("value:Q", title=words.quantity(quantity).name, format=number),
                alt_.Tooltip("n:Q", title="Seeds"),
            ],
        )
    )  # fmt: skip


def alt(frame: pd.DataFrame, quantity: str) -> str:
    """Where each line is at its last epoch."""
    label = words.quantity(quantity).name
    if frame.empty:
        return f"{label} over the epochs: nothing measured yet."
    last = frame.sort_values("epoch").groupby("cell", sort=False).tail(1)
    parts = [f"{r.cell} {words.show(quantity, float(str(r.value)))} at epoch {r.epoch:g}" for r in last.itertuples()]
    return f"{label} over the epochs, seed means: {'; '.join(parts[:12])}."
