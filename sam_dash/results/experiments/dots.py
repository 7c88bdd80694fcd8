"""Panels of points with intervals over a few named places, one colour a variant and one marker a line."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sam_dash.results.drawing import lines, paper, style

HEIGHT = 380
DODGE = 0.14
ROOM = 45  # characters below a panel
FINE = 0.05  # a panel that spans less has a decimal on its ticks
RATIOS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]  # ticks of a log axis


def figure(frame: pd.DataFrame, zero: tuple[str, ...] = (), percent: bool = False, log: bool = False) -> go.Figure:
    """One panel a value of `panel`, side by side; in the panels `zero` a reference line at 0, at 1 on a log axis."""
    panels = list(dict.fromkeys(frame["panel"]))
    lines = {line: i for i, line in enumerate(dict.fromkeys(frame["line"]))}
    first = frame.drop_duplicates("line").set_index("line")["panel"]  # there the line is in the legend
    alone = len(frame[["line", "x"]].drop_duplicates()) == len(lines)  # a place is a line: the legend names both
    dodge = 0.0 if alone else DODGE
    fig = make_subplots(1, len(panels), subplot_titles=panels, horizontal_spacing=0.09)
    for column, panel in enumerate(panels, 1):
        of = frame[frame["panel"] == panel]
        places = list(dict.fromkeys(of["x"]))
        for line, i in lines.items():
            rows = of[of["line"] == line]
            shift = (i - (len(lines) - 1) / 2) * dodge
            for trace in _traces(rows, line, shift, places, first[line] == panel, ".1%" if percent else ".4~g"):
                fig.add_trace(trace, row=1, col=column)
        ticks = list(range(len(places)))
        fig.update_xaxes(tickvals=ticks, ticktext=_wrapped(places), range=[-0.6, len(places) - 0.4], row=1, col=column)
        if sum(map(len, places)) > ROOM:
            fig.update_xaxes(tickangle=0, tickfont={"size": 10}, row=1, col=column)
        if panel in zero:
            fig.add_hline(1 if log else 0, line={"color": style.GREY, "width": 1, "dash": "dot"}, row=1, col=column)
    fig.update_xaxes(showgrid=False, zeroline=False, showticklabels=not alone)
    kind: dict[str, Any] = {"type": "log", "tickvals": RATIOS, "matches": "y"} if log else {}
    fig.update_yaxes(zeroline=False, **kind)
    for column, panel in enumerate(panels, 1):
        y = frame.loc[frame["panel"] == panel, "y"]
        shown = ".1%" if y.max() - y.min() < FINE else ".0%"
        fig.update_yaxes(tickformat=shown if percent else None, row=1, col=column)
    fig.update_annotations(font={"size": 14})
    fig.update_layout(
        height=HEIGHT, margin={"l": 55, "r": 10, "t": 40, "b": 40},
        legend={"orientation": "h", "y": -0.04 if alone else -0.16, "x": 0},
    )  # fmt: skip
    return fig


def _wrapped(places: list[str]) -> list[str]:
    """Names of places, over several lines where together they are too long for an axis."""
    if sum(map(len, places)) <= ROOM:
        return places
    width = max(5, ROOM // len(places))
    lines = (textwrap.wrap(place, width, break_long_words=False, break_on_hyphens=False) for place in places)
    return ["<br>".join(each) for each in lines]


def stacked(fig: go.Figure, columns: int = 1) -> go.Figure:
    """Panels that stand side by side in so many columns, on a telephone one below the other; the legend on top."""
    rows = paper.wrap(fig, columns)
    for title in fig.layout.annotations:
        title.update(text="<br>".join(textwrap.wrap(title.text, 40 if columns == 1 else 30)), font={"size": 13})
    names = [t.name for t in fig.data if t.showlegend is not False and t.name]
    above = lines.layout(rows, names, room=1 if columns == 1 else 3)["margin"]["t"]
    legend = {"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"}
    return fig.update_xaxes(tickangle=0).update_layout(height=260 * rows + above, margin={"t": above}, legend=legend)


def bars(mean: pd.DataFrame, width: int) -> dict[str, Any]:
    """The intervals of means, as error bars with caps of that width; of a single seed there is only the cap."""
    low, high = (mean[end].fillna(mean["y"]) for end in ("low", "high"))
    return lines.bars(mean["y"], low, high, width=width)


def _traces(rows: pd.DataFrame, line: str, shift: float, places: list[str], legend: bool,
            number: str) -> list[go.Scatter]:  # fmt: skip
    if rows.empty:
        return []
    colour, marker = rows["colour"].iloc[0], rows["marker"].iloc[0]
    mean, seed = rows[rows["kind"] == "mean"], rows[rows["kind"] == "seed"]

    def at(part: pd.DataFrame) -> list[float]:
        return [places.index(x) + shift for x in part["x"]]

    dots = go.Scatter(
        x=[x + 0.03 for x in at(seed)], y=seed["y"], mode="markers", showlegend=False, hoverinfo="skip",
        legendgroup=line, marker={"color": colour, "size": 4, "opacity": 0.45},
    )  # fmt: skip
    points = go.Scatter(
        x=at(mean), y=mean["y"], error_y=bars(mean, 3), mode="markers", name=line, legendgroup=line, showlegend=legend,
        marker={"color": colour, "symbol": marker, "size": 9},
        customdata=mean[["low", "high", "n"]],
        hovertemplate=f"{line}<br>%{{y:{number}}} [%{{customdata[0]:{number}}}, %{{customdata[1]:{number}}}], "
        "n = %{customdata[2]}<extra></extra>",
    )  # fmt: skip
    if rows["kind"].eq("published").all():
        return [_published(rows, line, at(rows), legend, number)]
    return [dots, points]


def _published(rows: pd.DataFrame, line: str, x: list[float], legend: bool, number: str) -> go.Scatter:
    """Numbers that were not measured here: hollow, without an interval."""
    look = {"color": rows["colour"].iloc[0], "symbol": f"{rows['marker'].iloc[0]}-open", "size": 9}
    return go.Scatter(
        x=x, y=rows["y"], mode="markers", name=line, legendgroup=line, showlegend=legend, marker=look,
        hovertemplate=f"{line}, as published<br>%{{y:{number}}}<extra></extra>",
    )  # fmt: skip
