"""Panels with one line a cell over any x: means with intervals, seed dots, raw lines behind, reference curves.

The frame, which is also the CSV, has the columns panel, line, colour, dash, marker, x, kind, y, where there is one low,
high, n, seed, and settings by which panels can be told apart further. `kind`: mean | seed | raw (faint, behind a
smoothed mean) | reference (a formula; its column `of` says of which line).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.drawing import cells, facets, panels, style
from sam_dash.results.drawing.panels import Panels, level, log_steps
from sam_dash.results.numbers import statistics, tables

COLUMNS = ["panel", "line", "kind", "seed", "x", "y", "low", "high", "n"]
LOOK = ["colour", "dash", "marker"]
MANY = 24  # points of a line from which on it has no markers, and a band instead of bars


@dataclass(frozen=True)
class Axes:
    """What the axes are: `x` its title (HTML), `log2` for a ladder of m, `logy` the panels on a log scale."""

    x: str
    symbol: str = "x"
    log2: bool = False
    logy: frozenset[str] = frozenset()
    percent: frozenset[str] = frozenset()
    points: frozenset[str] = frozenset()  # of `percent`, the differences
    one: str = ""  # panel with a line at y = 1


def figure(
    frame: pd.DataFrame, axes: Axes, titles: Mapping[str, str], *, columns: int = 3, room: int = 6, facet: str = ""
) -> go.Figure:
    """One panel each value of `panel`; one legend. At most `columns` panels side by side, and `room` (1, 3 or 6).

    `facet`: a panel for each value of that column, those of one `panel` side by side with one vertical axis.
    """
    split = facets.parts(frame, facet)
    names = list(dict.fromkeys(frame["panel"]))
    places = [(p, k) for p in names for k in range(len(split))]
    columns = panels.columns(len(split), room) if len(split) > 1 else panels.columns(len(names), min(columns, room))
    rows = max(1, math.ceil(len(places) / columns))
    gap = {1: 0.1, 2: 0.09}.get(columns, 0.06)
    marks = {p: panels.POINTS for p in axes.points}
    heads = [facets.titled(titles.get(p, p) + marks.get(p, ""), split[k][0]) for p, k in places]
    grid = Panels(heads, columns, gap, 0.42 / rows)
    lines = list(dict.fromkeys(frame["line"]))
    parts: dict[tuple[Any, ...], dict[str, pd.DataFrame]] = {}  # by panel and line; once, which is what takes long
    for k, (_, here) in enumerate(split):
        for (panel, line, kind), part in here.groupby(["panel", "line", "kind"], sort=False):
            parts.setdefault((panel, k, line), {})[str(kind)] = part
    whole = dict(list(frame.groupby("panel", sort=False)))
    seen: set[str] = set()
    for i, (panel, k) in enumerate(places):
        of = whole[panel]
        for line in lines:
            for trace in _traces(parts.get((panel, k, line), {}), line, axes, panel):
                shown = trace["showlegend"] and line not in seen
                seen |= {line} if shown else set()
                grid.add(i, trace | {"showlegend": shown})
        grid.xaxes[i] |= _xaxis(of, axes) if axes.log2 else _xaxis(frame, axes) | ({"matches": "x"} if i else {})
        grid.yaxes[i] |= _yaxis(of, axes, panel) | ({"matches": grid.y(i - k)} if k else {})
        if len(split) > 1 and "range" not in grid.yaxes[i]:  # Plotly's own of axes that match is far too wide
            grid.yaxes[i]["range"] = _reach(of)
    fig = grid.figure(layout(rows, lines, room, 16 * (len(split) > 1)))
    for i in (i for i, (panel, _) in enumerate(places) if panel == axes.one):
        level(fig, i, 1)
    return fig


def means(
    table: pd.DataFrame, look: cells.Looks, panel: str, x: str, y: str = "value", interval: str = "ci"
) -> Iterator[dict[str, Any]]:
    """The rows of a panel with one line a setting: the mean over its seeds at each x, with its interval."""
    for _, cell in table.groupby(tables.cell(table), dropna=False, sort=False):
        at = look[tables.records(cell.head(1))[0]]
        common = {"panel": panel, "kind": "mean"} | {k: at[k] for k in ("line", "rho", *LOOK)}
        for at_x, group in cell.groupby(x):
            mean = statistics.mean(group[y], interval)
            yield common | {"x": at_x, "y": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n}


def points(rows: pd.DataFrame) -> dict[str, list[float]]:
    """The coordinates of a trace."""
    return {"x": rows["x"].tolist(), "y": rows["y"].tolist()}


def _traces(kinds: Mapping[str, pd.DataFrame], line: str, axes: Axes, panel: str) -> Iterable[dict[str, Any]]:
    """The traces of a line's rows in one panel, by kind."""
    if not kinds:
        return
    first = next(iter(kinds.values()))
    none = first[:0]
    look: dict[str, Any] = {name: first[name].iat[0] for name in LOOK}
    common: dict[str, Any] = {"name": line, "legendgroup": line, "showlegend": False}
    number = ".1%" if panel in axes.percent else ".4~g"
    formulas = kinds.get("reference", none)
    for _, reference in formulas.sort_values("x").groupby("of", sort=False) if len(formulas) else ():
        yield {
            **points(reference), "mode": "lines", **common, "showlegend": True,
            "line": {"color": look["colour"], "width": 1.5, "dash": style.DASHES[look["dash"]]},
            "hovertemplate": f"{line}, {reference['of'].iloc[0]}<br>{axes.symbol} = %{{x:.4~g}}<br>%{{y:{number}}}"
            "<extra></extra>",
        }  # fmt: skip
    raw = kinds.get("raw", none)
    if len(raw):
        raw = raw.sort_values("x")
        yield {
            **points(raw), "mode": "lines", "opacity": 0.3, "hoverinfo": "skip", **common,
            "line": {"color": look["colour"], "width": 1},
        }  # fmt: skip
    mean = kinds.get("mean", none).sort_values("x")
    if panel in axes.logy:  # an interval that reaches below 0 goes to the bottom of the axis
        mean = mean.assign(low=mean["low"].where(~(mean["low"] <= 0), mean["y"].min() / 10))
    many = len(mean) > MANY
    if many and mean["low"].notna().any():
        band = mean.dropna(subset=["low", "high"])
        yield {
            "x": [*band["x"], *band["x"][::-1]], "y": [*band["high"], *band["low"][::-1]], "fill": "toself",
            "fillcolor": alpha(look["colour"], 0.12), "line": {"width": 0}, "mode": "lines", "hoverinfo": "skip",
            **common,
        }  # fmt: skip
    seeds = kinds.get("seed", none)
    if len(seeds):
        yield {
            **points(seeds), "mode": "markers", **common,
            "marker": {"color": look["colour"], "size": 4, "opacity": 0.6},
            "customdata": seeds[["seed", "x"]].to_numpy().tolist(),
            "hovertemplate": f"{line}<br>seed %{{customdata[0]}}, {axes.symbol} = %{{customdata[1]:.4~g}}<br>"
            f"%{{y:{number}}}<extra></extra>",
        }  # fmt: skip
    if mean.empty:
        return
    spread = f" [%{{customdata[0]:{number}}}, %{{customdata[1]:{number}}}], n = %{{customdata[2]}}"
    spread = spread if mean["n"].max() > 1 or mean["low"].notna().any() else ""
    yield {
        **points(mean), "mode": "lines" if many else "lines+markers", **common, "showlegend": True,
        "line": {"color": look["colour"], "dash": style.DASHES[look["dash"]], "width": 2},
        "marker": {"color": look["colour"], "size": 7, "symbol": _symbols(mean, look["marker"])},
        "error_y": None if many else bars(mean["y"], mean["low"], mean["high"], look["colour"]),
        "customdata": mean[["low", "high", "n", "x"]].to_numpy().tolist(),
        "hovertemplate": f"<b>{line}</b><br>{axes.symbol} = %{{customdata[3]:.4~g}}<br>%{{y:{number}}}{spread}"
        "<extra></extra>",
    }  # fmt: skip


def _symbols(mean: pd.DataFrame, marker: str) -> str | list[str]:
    """Hollow where an estimate has not converged."""
    loose = mean["converged"].eq(False) if "converged" in mean else pd.Series(dtype=bool)
    return [f"{marker}-open" if open_ else marker for open_ in loose] if loose.any() else marker


_TICKS = {"zeroline": False, "ticks": "outside", "ticklen": 4}


def _xaxis(of: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    axis: dict[str, Any] = _TICKS | {"showgrid": False, "title": {"text": axes.x, "standoff": 6}}
    if not axes.log2:  # the same in every panel, with room for marks at its ends
        low, high = of["x"].min(), of["x"].max()
        pad = 0.02 * (high - low)
        return axis | ({"range": [low - pad, high + pad]} if pad > 0 else {})
    ticks = sorted({float(t) for t in of["x"]})
    span = [math.log10(ticks[0] / 2**0.5), math.log10(ticks[-1] * 2**0.5)]
    text = [f"{t:g}" for t in ticks]
    return axis | {"type": "log", "tickvals": ticks, "ticktext": text, "tickangle": 0, "range": span}


def _yaxis(of: pd.DataFrame, axes: Axes, panel: str) -> dict[str, Any]:
    axis: dict[str, Any] = {"nticks": 6, "zeroline": False, "tickformat": ".1~%" if panel in axes.percent else None}
    values = of["y"]
    if panel in axes.points:
        ends = [v for v in (*values, *of["low"], *of["high"]) if math.isfinite(v)]
        return {"zeroline": False} | panels.in_points(min(ends, default=0.0), max(ends, default=0.0))
    if panel not in axes.logy or not values.min() > 0:
        return axis
    steps = log_steps(values.min(), values.max())
    text = [f"{s:g}" if 1e-3 <= s < 1e5 else f"10<sup>{round(math.log10(s))}</sup>" for s in steps]
    span = [math.log10(values.min()) - 0.1, math.log10(values.max()) + 0.15]
    return axis | {"type": "log", "tickvals": steps, "ticktext": text, "range": span}


def _reach(of: pd.DataFrame) -> list[float]:
    """A linear axis that holds means and the ends of intervals."""
    ends = of[["y", "low", "high"]].astype(float)
    low, high = float(ends.min().min()), float(ends.max().max())
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - pad, high + pad]


def layout(rows: int, names: Iterable[str], room: int, above: int = 0) -> dict[str, Any]:
    """The height for so many rows of panels, with the legend of `names` above them; `above`: see `panels.layout`."""
    return panels.layout(rows, 270, names, room, 50, 10, 60, above=above)


def bars(y: Any, low: Any, high: Any, colour: str | None = None, width: int = 4) -> dict[str, Any]:
    """Error bars of the values `y` (n,); without a colour, that of the marker."""
    up, down = np.subtract(high, y).tolist(), np.subtract(y, low).tolist()
    bar = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.4, "width": width}
    return bar | ({"color": colour} if colour else {})


def alpha(colour: str, share: float) -> str:
    """A colour "#rrggbb", this opaque."""
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{share})"
