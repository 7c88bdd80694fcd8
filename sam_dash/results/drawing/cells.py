"""Names, colours, markers and dashes of cells, for figures with one line a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.drawing import style
from sam_dash.results.numbers import tables

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down")
KEY = [*tables.CELL, *tables.knob_names()]
Looks = dict[tuple[Any, ...], dict[str, Any]]  # as from `by_key`


def swept(variant: str) -> bool:
    """Whether a variant is swept over m."""
    return variant in variants.REGISTRY and variants.REGISTRY[variant].m_axis


def colour(variant: str, m: float, sizes: list[float]) -> str:
    """Ordered colours for ordered m; the variant's own colour otherwise."""
    if not swept(variant) or len(sizes) < 2 or m not in sizes:
        return style.look(variant).colour
    place = (math.log2(m) - math.log2(sizes[0])) / (math.log2(sizes[-1]) - math.log2(sizes[0]))
    return style.ORDERED[round((1 - place) * (len(style.ORDERED) - 1))]


def looks(frame: pd.DataFrame, batch: int, sizes: Iterable[float] = ()) -> pd.DataFrame:
    """One row a cell of `frame`: its settings, line (its name), colour, dash and marker.

    `sizes` are the m of the whole study, so that colours stay when a cell is hidden. Cells of one variant that share a
    colour differ in dash; all in marker.
    """
    tables.one_network(frame)
    told = tables.settings(frame)
    unique = frame[told].drop_duplicates().reset_index(drop=True)
    by_variant = unique.groupby("variant")
    varied = [k for k in tables.cell(unique)[2:] if by_variant[k].nunique().max() > 1]
    ladder = sorted(sizes) or sorted(unique.loc[[swept(v) for v in unique["variant"]], "m"].dropna().unique())
    rows: list[dict[str, Any]] = []
    for i, row in enumerate(tables.records(unique)):
        knobs = {k: row[k] for k in varied if row[k] == row[k] and row[k] is not None}
        hue = colour(row["variant"], row["m"], ladder)
        same = sum(r["colour"] == hue for r in rows)
        several = swept(row["variant"]) and len(ladder) > 1
        first = "solid" if several or row["variant"] == "rwsam" else style.look(row["variant"]).dash
        rows.append(
            row
            | {"line": words.cell_name(row["variant"], row["m"], batch, words.knob_text(knobs)), "colour": hue}
            | {"dash": DASHES[same % len(DASHES)] if same else first, "marker": MARKERS[i % len(MARKERS)]}
        )
    return pd.DataFrame(rows, columns=[*told, "line", "colour", "dash", "marker"])


def by_key(frame: pd.DataFrame) -> Looks:
    """`looks` as a dict: key of a cell -> its row. Missing values are None in the key."""
    return {key_of(r): r for r in tables.records(frame)}


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """The cell of a row, comparable: nan is None."""
    return tuple(None if row.get(k) is None or row[k] != row[k] else row[k] for k in KEY)
