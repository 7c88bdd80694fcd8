"""Aligned small multiples over m or over lambda, built from one `tables.summary` frame and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sam_dash import variants
from sam_dash.results import lines, style, tables

SYMBOLS = {"m": "m", "lam": "λ"}
AXES = {"m": "micro-batch size <i>m</i> (log₂ scale)", "lam": "weighting strength <i>λ</i>"}
PANEL = 250  # height of a row of panels, px


def is_curve(variant: str, x: str) -> bool:
    """Whether a variant is drawn along the axis `x`; the others are horizontal reference lines."""
    known = variants.REGISTRY.get(variant)
    return known is not None and (known.m_axis if x == "m" else x in known.knobs)


def series(frame: pd.DataFrame, x: str) -> list[tuple[str, str, pd.DataFrame]]:
    """The lines of a figure: variant, name, rows. A knob is named only where a variant has several values of it."""
    out = []
    for variant, rows in frame.groupby("variant", sort=False):
        name = style.title(str(variant))
        name = f"m-{name}" if x == "m" and is_curve(str(variant), x) else name
        varied = [k for k in tables.cell(rows)[2:] if k != x and rows[k].nunique() > 1]
        if not is_curve(str(variant), x) and x in tables.knob_names() and rows[x].nunique() > 1:
            varied.append(x)
        if not varied:
            out.append((str(variant), name, rows))
            continue
        for values, part in rows.groupby(varied, sort=True):
            out.append((str(variant), f"{name}, {style.knob_text(dict(zip(varied, values, strict=True)))}", part))
    return out


def multiples(
    frame: pd.DataFrame, x: str, *, columns: int = 5, difference: str = "", batch: int | None = None
) -> go.Figure:
    """One panel a quantity, side by side: means with intervals, seed dots, reference lines with their bands.

    Where `frame` has a column `collapsed`, such cells are crosses at the lower edge: the others set the axes.
    """
    quantities = list(dict.fromkeys(frame["quantity"]))
    frame = tables.slim(frame, x).assign(collapsed=frame["collapsed"].astype(bool) if "collapsed" in frame else False)
    columns = max(1, min(columns, len(quantities)))
    rows = max(1, math.ceil(len(quantities) / columns))
    fig = make_subplots(
        rows, columns, horizontal_spacing={1: 0.1, 2: 0.17, 3: 0.08, 4: 0.055}.get(columns, 0.042),
        vertical_spacing=0.3 / rows if rows > 1 else 0,
        subplot_titles=[("Δ " if difference else "") + style.quantity(q).html for q in quantities],
    )  # fmt: skip
    drawn = series(frame, x)
    curves = frame[[is_curve(v, x) for v in frame["variant"]]]
    ticks = sorted({float(t) for t in curves[x].dropna()}) or [float(batch or 1)]
    left, right = _span(ticks, x)
    dodge = {name: k for k, name in enumerate(n for v, n, _ in drawn if is_curve(v, x))}
    seen: dict[str, int] = {}
    todo: list[tuple[go.Scatter, dict[str, int]]] = []
    crosses: list[list[tuple[_Pen, list[float]]]] = [[] for _ in quantities]
    for variant, name, part in drawn:
        order = seen[variant] = seen.get(variant, -1) + 1
        for i, q in enumerate(quantities):
            at = {"row": i // columns + 1, "col": i % columns + 1}
            here = part[part["quantity"] == q]
            of, lost = here[~here["collapsed"]], here[here["collapsed"]]
            pen = _Pen(variant, name, order, legend=i == 0)
            shift = (dodge.get(name, 0) - (len(dodge) - 1) / 2) * 0.12
            if is_curve(variant, x):
                todo += [(trace, at) for trace in pen.curve(of, x, shift, right - left, q)]
            else:
                todo += [(trace, at) for trace in pen.reference(of, [left, *ticks, right], q)]
            if len(lost):
                means = lost.loc[lost["kind"] == "mean", x]
                places = place(means, shift, x, right - left) if is_curve(variant, x) else [right]
                crosses[i].append((pen, list(places)))
    fig.add_traces([t for t, _ in todo], rows=[at["row"] for _, at in todo], cols=[at["col"] for _, at in todo])
    for i, q in enumerate(quantities):
        at = {"row": i // columns + 1, "col": i % columns + 1}
        alive = frame[(frame["quantity"] == q) & ~frame["collapsed"]]
        _axes(fig, alive, q, x, ticks, (left, right), bool(difference), at)
        if crosses[i]:
            floor = _floor(fig, alive, at)
            for pen, places in crosses[i]:
                says = f"{pen.common['name']}: collapsed"
                cross = _cross(places, [floor] * len(places), pen.look.colour, says, **pen.common, showlegend=False)
                fig.add_trace(cross, **at)
    if any(crosses):
        fig.add_trace(_cross([None], [None], style.GREY, "collapsed", name="collapsed", showlegend=True), row=1, col=1)
    below = min(len(quantities) - 1, (rows - 1) * columns + (columns - 1) // 2)
    fig.update_xaxes(title_text=AXES[x], row=below // columns + 1, col=below % columns + 1)
    _layout(fig, rows, legend_rows=math.ceil((len(drawn) + any(crosses)) / (columns + 1)))
    return fig


def _span(ticks: list[float], x: str) -> tuple[float, float]:
    if x == "m":
        return min(ticks) / 2**0.45, max(ticks) * 2**0.8
    width = (max(ticks) - min(ticks)) or 1.0
    return min(ticks) - 0.06 * width, max(ticks) + 0.11 * width


def _axes(
    fig: go.Figure, of: pd.DataFrame, q: str, x: str, ticks: list[float], span: tuple[float, float],
    difference: bool, at: dict[str, int],
) -> None:  # fmt: skip
    low, high = (math.log10(e) if x == "m" else e for e in span)
    fig.update_xaxes(
        type="log" if x == "m" else "linear", range=[low, high], tickvals=ticks, ticktext=[f"{t:g}" for t in ticks],
        showgrid=False, zeroline=False, ticks="outside", ticklen=4, tickangle=0, title_standoff=6, **at,
    )  # fmt: skip
    values = pd.concat([of["y"], of["low"], of["high"]]).dropna()
    tickformat = ".0%" if style.is_fraction(q) else "~s" if values.abs().max() >= 1e4 else None
    axis: dict[str, Any] = {"zeroline": difference, "nticks": 6, "tickformat": tickformat}
    if not difference and len(values) and values.min() > 0 and of["y"].max() > 10 * of["y"].min():
        decades = range(math.floor(math.log10(values.min())), math.ceil(math.log10(values.max())) + 1)
        steps = [s * 10.0**k for k in decades for s in ((1, 2, 5) if len(decades) < 4 else (1,))]
        axis |= {"type": "log", "tickvals": steps, "ticktext": [f"{s:g}" for s in steps], "title_text": "log"}
        axis |= {"title_font_size": 11, "title_standoff": 2}
    fig.update_yaxes(axis, **at)


def _floor(fig: go.Figure, alive: pd.DataFrame, at: dict[str, int]) -> float:
    """The lower edge of a panel, whose axis is set to what is alive in it."""
    axis = next(fig.select_yaxes(**at))
    values = pd.concat([alive["y"], alive["low"], alive["high"]]).dropna()
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if axis.type == "log":
        low, high = math.log10(low), math.log10(high)
    pad = 0.06 * (high - low) or abs(low) * 0.1 or 1.0
    axis.range = [low - pad, high + pad]
    return 10 ** (low - pad) if axis.type == "log" else low - pad


def place(values: pd.Series[float], by: float, x: str, width: float) -> pd.Series[float]:
    """Positions on the axis `x`, moved aside by `by` (halves of a doubling of m, tenths of the width)."""
    return values * 2**by if x == "m" else values + by * width / 10


def _layout(fig: go.Figure, rows: int, legend_rows: int) -> None:
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
    top = 52 + 22 * legend_rows
    fig.update_layout(
        height=PANEL * rows + top + 31,
        margin={"l": 44, "r": 8, "t": top, "b": 52},
        hovermode="closest",
        legend=legend | {"title": {"text": ""}, "itemsizing": "constant", "itemwidth": 44},
        font={"size": 12},
    )
    fig.update_annotations(font={"size": 14}, yshift=4)


def _cross(x: list[Any], y: list[Any], colour: str, says: str, **more: Any) -> go.Scatter:
    """Crosses, for cells that collapsed."""
    look = {"symbol": "x-thin", "size": 9, "color": colour, "line": {"color": colour, "width": 2.5}}
    hover = f"{says}<extra></extra>"
    return go.Scatter(x=x, y=y, mode="markers", cliponaxis=False, marker=look, hovertemplate=hover, **more)


class _Pen:
    """Draws one series in one panel, in its variant's colour."""

    def __init__(self, variant: str, name: str, order: int, legend: bool) -> None:
        self.look = style.look(variant)
        self.dash = ("solid", "dash", "dot", "longdash", "dashdot")[order % 5] if order else self.look.dash
        self.marker = self.look.marker + ("-dot" if order % 2 else "")  # hollow means: not converged
        self.common = {"name": name, "legendgroup": name}
        self.legend = legend

    def curve(self, of: pd.DataFrame, x: str, shift: float, width: float, q: str) -> list[go.Scatter]:
        """Means joined by a line with error bars, over the seeds' dots."""
        mean = of[of["kind"] == "mean"].sort_values(x)
        dots = of[of["kind"] == "seed"]

        def symbols(rows: pd.DataFrame, symbol: str) -> str | list[str]:
            """Hollow where an estimate has not converged."""
            return symbol if rows["converged"].all() else [symbol if c else f"{symbol}-open" for c in rows["converged"]]

        seeds = go.Scatter(
            x=place(dots[x], shift + 0.13, x, width), y=dots["y"], mode="markers", showlegend=False, **self.common,
            marker={"color": self.look.colour, "size": 4, "opacity": 0.65, "symbol": symbols(dots, "circle")},
            customdata=dots[["seed", "run", x]].to_numpy(),
            hovertemplate=f"%{{fullData.name}}<br>seed %{{customdata[0]}}, {_AT[x]} = %{{customdata[2]:g}}<br>"
            f"{style.quantity(q).html} = {_Y(q)}<br>run %{{customdata[1]}}<extra></extra>",
        )  # fmt: skip
        means = go.Scatter(
            x=place(mean[x], shift, x, width), y=mean["y"], mode="lines+markers", showlegend=self.legend, **self.common,
            line={"color": self.look.colour, "dash": self.dash, "width": 2},
            marker={"color": self.look.colour, "size": 8, "symbol": symbols(mean, self.marker)},
            error_y=lines.bars(mean["y"], mean["low"], mean["high"], self.look.colour),
            customdata=mean[["low", "high", "n", "missing", x]].to_numpy(),
            hovertemplate=f"<b>%{{fullData.name}}</b><br>{_AT[x]} = %{{customdata[4]:g}}<br>" + _means(q),
        )  # fmt: skip
        return [seeds, means]

    def reference(self, of: pd.DataFrame, xs: list[float], q: str) -> list[go.Scatter]:
        """A horizontal line at the mean, the band of its interval, and the seeds' dots at the right edge."""
        mean = of[of["kind"] == "mean"]
        dots = of[of["kind"] == "seed"]
        if mean.empty:
            return []
        row: Any = next(mean[["y", "low", "high", "n", "missing"]].itertuples())
        band = go.Scatter(
            x=[xs[0], xs[-1], xs[-1], xs[0]], y=[row.low, row.low, row.high, row.high], fill="toself",
            fillcolor=lines.alpha(self.look.colour, 0.1), line={"width": 0}, mode="lines", hoverinfo="skip",
            showlegend=False, **self.common,
        )  # fmt: skip
        line = go.Scatter(
            x=xs, y=[row.y] * len(xs), mode="lines", showlegend=self.legend, **self.common,
            line={"color": self.look.colour, "dash": "longdash" if self.dash == "solid" else self.dash, "width": 2},
            customdata=[[row.low, row.high, row.n, row.missing]] * len(xs),
            hovertemplate="<b>%{fullData.name}</b> (reference)<br>" + _means(q),
        )  # fmt: skip
        edge = go.Scatter(
            x=[xs[-1]] * len(dots), y=dots["y"], mode="markers", showlegend=False, cliponaxis=False, **self.common,
            marker={"color": self.look.colour, "size": 4, "opacity": 0.65, "symbol": self.marker},
            customdata=dots[["seed", "run"]].to_numpy(),
            hovertemplate=f"%{{fullData.name}}<br>seed %{{customdata[0]}}<br>{style.quantity(q).html} = {_Y(q)}"
            "<br>run %{customdata[1]}<extra></extra>",
        )  # fmt: skip
        return ([band] if row.n > 1 else []) + [line, edge]


_AT = {"m": "<i>m</i>", "lam": "<i>λ</i>"}


def _Y(q: str) -> str:
    return "%{y:.1%}" if style.is_fraction(q) else "%{y:.4~g}"


def _means(q: str) -> str:
    unit = ".1%" if style.is_fraction(q) else ".4~g"
    return (
        f"{style.quantity(q).html} = {_Y(q)}<br>[%{{customdata[0]:{unit}}}, %{{customdata[1]:{unit}}}], "
        "n = %{customdata[2]}<br>runs without a result: %{customdata[3]}<extra></extra>"
    )
