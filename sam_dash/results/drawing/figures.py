"""Aligned small multiples over m or over lambda, built from one `tables.summary` frame and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.drawing import lines, style
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.drawing.panels import POINTS, Panels, in_points, layout, log_steps
from sam_dash.results.drawing.panels import columns as grid
from sam_dash.results.numbers import tables

SYMBOLS = {"m": "m", "lam": "λ"}
AXES = {"m": "micro-batch size <i>m</i> (log₂ scale)", "lam": "weighting strength <i>λ</i>"}
PANEL = 250  # height of a row of panels, px
Rows = list[dict[str, Any]]  # of a frame, and traces


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


def multiples(frame: pd.DataFrame, x: str, look: Looks, *, columns: int = 6, difference: str = "") -> go.Figure:
    """One panel a quantity, side by side: means with intervals, seed dots, reference lines with their bands.

    Where `frame` has a column `collapsed`, such cells are crosses at the lower edge: the others set the axes.
    """
    quantities = list(dict.fromkeys(frame["quantity"]))
    frame = frame.assign(collapsed=frame["collapsed"].astype(bool) if "collapsed" in frame else False)
    room, columns = columns, grid(len(quantities), columns)
    rows = max(1, math.ceil(len(quantities) / columns))
    titles = [
        ("Δ " if difference else "") + words.quantity(q).html + POINTS * (bool(difference) and words.is_fraction(q))
        for q in quantities
    ]
    gap = {1: 0.1, 2: 0.17, 3: 0.08, 4: 0.055}.get(columns, 0.042)
    panels = Panels(titles, columns, gap, 0.3 / rows)
    drawn = series(frame, x, look)
    ticks = sorted({float(t) for v, _, part in drawn if is_curve(v, x) for t in part[x].dropna()})
    ticks = ticks or [float(look.batch)]
    left, right = _span(ticks, x)
    alive: dict[str, Rows] = {q: [] for q in quantities}
    crosses: list[tuple[int, _Pen, list[float], bool]] = []
    for variant, drawn_as, part in drawn:
        found = tables.records(part)
        for i, q in enumerate(quantities):
            here = [r for r in found if r["quantity"] == q]
            of, lost = [r for r in here if not r["collapsed"]], [r for r in here if r["collapsed"]]
            alive[q] += of
            pen = _Pen(drawn_as, legend=i == 0)
            if is_curve(variant, x):
                panels.add(i, *(pen.curve(of, x, q) if of else ()))
            else:
                panels.add(i, *pen.reference(of, [left, *ticks, right], q))
            if lost:
                places = [r[x] if is_curve(variant, x) else right for r in lost if r["kind"] == "mean"]
                crosses.append((i, pen, places, pen.legend and not of))
    for i, q in enumerate(quantities):
        panels.xaxes[i] |= _xaxis(x, ticks, (left, right))
        panels.yaxes[i] |= _yaxis(alive[q], q, bool(difference))
    for i, pen, places, alone in crosses:
        floor = _floor(panels.yaxes[i], alive[quantities[i]])
        says = f"{pen.common['name']}: collapsed"
        cross = _cross(places, [floor] * len(places), pen.colour, says, **pen.common, showlegend=alone)
        panels.add(i, cross)
    if crosses:
        panels.add(0, _cross([None], [None], style.GREY, "collapsed", name="collapsed", showlegend=True))
    below = min(len(quantities) - 1, (rows - 1) * columns + (columns - 1) // 2)
    panels.xaxes[below]["title"] = {"text": AXES[x], "standoff": 6}
    names = [of["line"] for _, of, _ in drawn] + ["collapsed"] * bool(crosses)
    return panels.figure(layout(rows, PANEL, names, room, 44, 8, 58))


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


def _cross(x: list[Any], y: list[Any], colour: str, says: str, **more: Any) -> dict[str, Any]:
    """Crosses, for cells that collapsed."""
    look = {"symbol": "x-thin", "size": 9, "color": colour, "line": {"color": colour, "width": 2.5}}
    hover = f"{says}<extra></extra>"
    return {"x": x, "y": y, "mode": "markers", "cliponaxis": False, "marker": look, "hovertemplate": hover, **more}


class _Pen:
    """Draws one series in one panel."""

    def __init__(self, look: Mapping[str, str], legend: bool) -> None:
        self.colour, self.dash, self.marker = look["colour"], style.DASHES[look["dash"]], look["marker"]
        self.common = {"name": look["line"], "legendgroup": look["line"]}
        self.legend = legend

    def curve(self, of: Rows, x: str, q: str) -> Rows:
        """Means joined by a line with error bars, over the seeds' dots."""
        mean = sorted((r for r in of if r["kind"] == "mean"), key=lambda r: r[x])
        dots = [r for r in of if r["kind"] == "seed"]
        colour = self.colour

        def symbols(rows: Rows, symbol: str) -> str | list[str]:
            """Hollow where an estimate has not converged."""
            open_ = [r for r in rows if not r["converged"]]
            return [symbol if r["converged"] else f"{symbol}-open" for r in rows] if open_ else symbol

        seeds = {
            "x": [r[x] for r in dots], "y": [r["y"] for r in dots], "mode": "markers",
            "marker": {"color": colour, "size": 4, "opacity": 0.65, "symbol": symbols(dots, "circle")},
            "customdata": [[r["seed"], r["run"], r[x]] for r in dots],
            "hovertemplate": f"%{{fullData.name}}<br>seed %{{customdata[0]}}, {_AT[x]} = %{{customdata[2]:g}}<br>"
            f"{words.quantity(q).html} = {_Y(q)}<br>run %{{customdata[1]}}<extra></extra>",
        }  # fmt: skip
        y, low, high = ([r[end] for r in mean] for end in ("y", "low", "high"))
        means = {
            "x": [r[x] for r in mean], "y": y, "mode": "lines+markers",
            "line": {"color": colour, "dash": self.dash, "width": 2}, "error_y": lines.bars(y, low, high, colour),
            "marker": {"color": colour, "size": 8, "symbol": symbols(mean, self.marker)},
            "customdata": [[r["low"], r["high"], r["n"], r["missing"], r[x]] for r in mean],
            "hovertemplate": f"<b>%{{fullData.name}}</b><br>{_AT[x]} = %{{customdata[4]:g}}<br>" + _means(q),
        }  # fmt: skip
        quiet, loud = self.common | {"showlegend": False}, self.common | {"showlegend": self.legend}
        return [*self.rings(mean, x, quiet), seeds | quiet, means | loud]

    def rings(self, mean: Rows, x: str, quiet: dict[str, Any]) -> Rows:
        """A ring round each mean that is said to be the best."""
        best = [r for r in mean if r.get("best") is True]
        look = {"color": self.colour, "size": 17, "symbol": "circle-open", "line": {"width": 2}}
        ring: dict[str, Any] = {
            "x": [r[x] for r in best],
            "y": [r["y"] for r in best],
            "mode": "markers",
            "marker": look,
        }
        return [ring | quiet | {"hoverinfo": "skip"}] if best else []

    def reference(self, of: Rows, xs: list[float], q: str) -> Rows:
        """A horizontal line at the mean, the band of its interval, and the seeds' dots at the right edge."""
        row = next((r for r in of if r["kind"] == "mean"), None)
        dots = [r for r in of if r["kind"] == "seed"]
        if row is None:
            return []
        colour, low, high = self.colour, row["low"], row["high"]
        band = {
            "x": [xs[0], xs[-1], xs[-1], xs[0]], "y": [low, low, high, high], "fill": "toself", "mode": "lines",
            "fillcolor": lines.alpha(colour, 0.1), "line": {"width": 0}, "hoverinfo": "skip",
        }  # fmt: skip
        line = {
            "x": xs, "y": [row["y"]] * len(xs), "mode": "lines",
            "line": {"color": colour, "dash": self.dash, "width": 2},
            "customdata": [[low, high, row["n"], row["missing"]]] * len(xs),
            "hovertemplate": "<b>%{fullData.name}</b> (reference)<br>" + _means(q),
        }  # fmt: skip
        edge = {
            "x": [xs[-1]] * len(dots), "y": [r["y"] for r in dots], "mode": "markers", "cliponaxis": False,
            "marker": {"color": colour, "size": 4, "opacity": 0.65, "symbol": self.marker},
            "customdata": [[r["seed"], r["run"]] for r in dots],
            "hovertemplate": f"%{{fullData.name}}<br>seed %{{customdata[0]}}<br>{words.quantity(q).html} = {_Y(q)}"
            "<br>run %{customdata[1]}<extra></extra>",
        }  # fmt: skip
        quiet, loud = self.common | {"showlegend": False}, self.common | {"showlegend": self.legend}
        return ([band | quiet] if row["n"] > 1 else []) + [line | loud, edge | quiet]


_AT = {"m": "<i>m</i>", "lam": "<i>λ</i>"}


def _Y(q: str) -> str:
    return "%{y:.1%}" if words.is_fraction(q) else "%{y:.4~g}"


def _means(q: str) -> str:
    unit = ".1%" if words.is_fraction(q) else ".4~g"
    return (
        f"{words.quantity(q).html} = {_Y(q)}<br>[%{{customdata[0]:{unit}}}, %{{customdata[1]:{unit}}}], "
        "n = %{customdata[2]}<br>runs without a result: %{customdata[3]}<extra></extra>"
    )
