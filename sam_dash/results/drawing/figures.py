"""Aligned small multiples over m or over lambda, built from one `tables.summary` frame and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.drawing import facets, style
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.drawing.panels import POINTS, Panels, in_points, layout, log_steps
from sam_dash.results.drawing.panels import columns as grid
from sam_dash.results.drawing.pen import Pen, Rows, cross
from sam_dash.results.numbers import tables

SYMBOLS = {"m": "m", "lam": "λ"}
AXES = {"m": "micro-batch size <i>m</i> (log₂ scale)", "lam": "weighting strength <i>λ</i>"}
PANEL = 250  # height of a row of panels, px
MANY = 12  # lines over the axis from which on seeds have no dots: they could not be told, and a browser takes a second


def is_curve(variant: str, x: str) -> bool:
    """Whether a variant is drawn along the axis `x`; the others are horizontal reference lines."""
    known = variants.REGISTRY.get(variant)
    return known is not None and (known.m_axis if x == "m" else x in known.knobs)


def series(frame: pd.DataFrame, x: str, look: Looks) -> list[tuple[str, dict[str, str], pd.DataFrame]]:
    """The lines of a figure: variant, its look, rows. One of a variant's cells along `x`, else one a cell."""
    out = []
    for variant, rows in frame.groupby("variant", sort=False):
        along = x if is_curve(str(variant), x) else ""
        for _, part in rows.groupby([k for k in tables.cell(rows) if k != along], dropna=False, sort=False):
            found = tables.records(part)
            out.append((str(variant), look.along(found, along) if along else look[found[0]], part))
    return out


def dotted(frame: pd.DataFrame, x: str, look: Looks, facet: str = "") -> bool:
    """Whether there are so few lines over the axis that their seeds are drawn."""
    return not _many(_drawn(frame, x, look, facet)[1], x)


def _many(drawn: list[Any], x: str) -> bool:
    panels = len({k for k, *_ in drawn}) or 1
    return sum(is_curve(v, x) for _, v, _, _ in drawn) > MANY * panels


def _drawn(frame: pd.DataFrame, x: str, look: Looks, facet: str) -> tuple[list[str], list[Any]]:
    """The labels of the parts of a figure; its lines, each after the number of its part."""
    level = ~frame["variant"].map(lambda v: is_curve(str(v), x)).astype(bool)
    parts = facets.parts(frame, facet, level if facet == "variant" else None)
    return [name for name, _ in parts], [(k, *of) for k, (_, part) in enumerate(parts) for of in series(part, x, look)]


def multiples(
    frame: pd.DataFrame, x: str, look: Looks, *, columns: int = 6, difference: str = "", facet: str = ""
) -> go.Figure:
    """One panel a quantity, side by side: means with intervals, seed dots, reference lines with their bands.

    Where `frame` has a column `collapsed`, such cells are crosses at the lower edge: the others set the axes. `facet`:
    a panel for each value of that setting, those of a quantity with one vertical axis. Of more than `MANY` lines over
    the axis the seeds have no dots.
    """
    frame = frame.assign(collapsed=frame["collapsed"].astype(bool) if "collapsed" in frame else False)
    parts, drawn = _drawn(frame, x, look, facet)
    quantities = list(dict.fromkeys(frame["quantity"]))
    places = [(q, k) for q in quantities for k in range(len(parts))]
    room, columns = columns, grid(len(parts) if len(parts) > 1 else len(quantities), columns)
    rows = max(1, math.ceil(len(places) / columns))
    titles = [facets.titled(_title(q, bool(difference)), parts[k]) for q, k in places]
    gap = {1: 0.1, 2: 0.17, 3: 0.08, 4: 0.055}.get(columns, 0.042)
    panels = Panels(titles, columns, gap, 0.3 / rows)
    ticks = sorted({float(t) for _, v, _, part in drawn if is_curve(v, x) for t in part[x].dropna()})
    ticks = ticks or [float(look.batch)]
    left, right = _span(ticks, x)
    alive: dict[str, Rows] = {q: [] for q in quantities}
    crosses: list[tuple[int, Pen, list[float], bool]] = []
    names = dict.fromkeys(of["line"] for _, _, of, _ in drawn)
    dots = not _many(drawn, x)
    shown: set[str] = set()
    for k, variant, drawn_as, part in drawn:
        found: dict[str, Rows] = {q: [] for q in quantities}
        for r in tables.records(part if dots else part[part["kind"] == "mean"]):
            found[r["quantity"]].append(r)
        fresh = drawn_as["line"] not in shown
        shown.add(drawn_as["line"])
        for q, here in found.items():
            i = places.index((q, k))
            of, lost = [r for r in here if not r["collapsed"]], [r for r in here if r["collapsed"]]
            alive[q] += of
            pen = Pen(drawn_as, legend=fresh and q == quantities[0])
            if is_curve(variant, x):
                panels.add(i, *(pen.curve(of, x, q) if of else ()))
            else:
                panels.add(i, *pen.reference(of, [left, *ticks, right], q))
            if lost:
                at = [r[x] if is_curve(variant, x) else right for r in lost if r["kind"] == "mean"]
                crosses.append((i, pen, at, pen.legend and not of))
    dead = {places[i][0] for i, *_ in crosses}
    floors = {}
    for i, (q, k) in enumerate(places):
        panels.xaxes[i] |= _xaxis(x, ticks, (left, right)) | ({"matches": "x"} if i else {})
        panels.yaxes[i] |= _yaxis(alive[q], q, bool(difference)) | ({"matches": panels.y(i - k)} if k else {})
        if q in dead:
            floors[q] = _floor(panels.yaxes[i], alive[q])
    for i, pen, at, alone in crosses:
        says = f"{pen.common['name']}: collapsed"
        mark = cross(at, [floors[places[i][0]]] * len(at), pen.colour, says, **pen.common, showlegend=alone)
        panels.add(i, mark)
    if crosses:
        panels.add(0, cross([None], [None], style.GREY, "collapsed", name="collapsed", showlegend=True))
    below = min(len(places) - 1, (rows - 1) * columns + (columns - 1) // 2)
    panels.xaxes[below]["title"] = {"text": AXES[x], "standoff": 6}
    return panels.figure(
        layout(rows, PANEL, [*names, *["collapsed"] * bool(crosses)], room, 44, 8, 58, above=16 * (len(parts) > 1))
    )


def _title(q: str, difference: bool) -> str:
    return ("Δ " if difference else "") + words.quantity(q).html + POINTS * (difference and words.is_fraction(q))


def _span(ticks: list[float], x: str) -> tuple[float, float]:
    if x == "m":
        return min(ticks) / 2**0.45, max(ticks) * 2**0.8
    width = (max(ticks) - min(ticks)) or 1.0
    return min(ticks) - 0.06 * width, max(ticks) + 0.11 * width


def _xaxis(x: str, ticks: list[float], span: tuple[float, float]) -> dict[str, Any]:
    return {
        "type": "log" if x == "m" else "linear", "range": [math.log10(e) if x == "m" else e for e in span],
        "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks], "showgrid": False, "zeroline": False,
        "ticks": "outside", "ticklen": 4, "tickangle": 0, "title": {"standoff": 6},
    }  # fmt: skip


def _ends(alive: Rows) -> list[float]:
    """What an axis has to hold: means, dots and the ends of intervals."""
    return [v for r in alive for v in (r["y"], r["low"], r["high"]) if not math.isnan(v)]


def _yaxis(alive: Rows, q: str, difference: bool) -> dict[str, Any]:
    values = _ends(alive)
    axis: dict[str, Any] = {"zeroline": difference, "nticks": 6}
    if words.is_fraction(q) and difference:
        axis |= in_points(min(values, default=0.0), max(values, default=0.0))
    elif words.is_fraction(q):
        axis["tickformat"] = ".1~%"
    elif max(map(abs, values), default=0) >= 1e4:
        axis["tickformat"] = "~s"
    drawn = [r["y"] for r in alive if not math.isnan(r["y"])]
    if not difference and values and min(values) == max(values) != 0:  # Plotly would show a whole unit round it
        pad = 0.05 * abs(values[0])
        axis["range"] = [values[0] - pad, values[0] + pad]
    if not difference and values and min(values) > 0 and max(drawn) > 10 * min(drawn):
        steps = log_steps(min(values), max(values))
        axis |= {"type": "log", "tickvals": steps, "ticktext": [f"{s:g}" for s in steps]}
    return axis


def _floor(axis: dict[str, Any], alive: Rows) -> float:
    """The lower edge of a panel, whose axis is set to what is alive in it."""
    values = _ends(alive) or [0.0, 1.0]
    low, high, log = min(values), max(values), axis.get("type") == "log"
    if log:
        low, high = math.log10(low), math.log10(high)
    pad = 0.06 * (high - low) or abs(low) * 0.1 or 1.0
    axis["range"] = [low - pad, high + pad]
    return 10 ** (low - pad) if log else low - pad
