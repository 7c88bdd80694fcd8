"""Panels in a grid, as the plain dicts that a figure is made of in one step.

Plotly's own way (`make_subplots`, `add_trace`, `update_xaxes`) checks and copies what is there at every call, which
took a fifth of a second for six panels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from sam_dash.results.drawing import style

ROW = 29  # of a legend, px
TITLE = 24  # of a legend, px
DROP = 8  # of a legend below the upper edge, px: the tool bar is higher than its title
LETTERS = {1: 50, 3: 80, 6: 140}
"""Letters of a legend side by side at least, by the number of panels that there is room for."""
POINTS = '<span style="font-size:10px">, points</span>'
LOG = '<span style="font-size:10px">, log</span>'  # after a title: beside the labels of an axis it reads as one of them


class Panels:
    """A panel a title, row by row from the top; `xaxes` and `yaxes` are to be filled, one of each a panel.

    The gaps between columns and rows are shares of the whole width and height.
    """

    def __init__(self, titles: Sequence[str], columns: int, gap_x: float, gap_y: float) -> None:
        self.rows = max(1, math.ceil(len(titles) / columns))
        width = (1 - gap_x * (columns - 1)) / columns
        height = (1 - gap_y * (self.rows - 1)) / self.rows
        self.xaxes: list[dict[str, Any]] = []
        self.yaxes: list[dict[str, Any]] = []
        self.traces: list[dict[str, Any]] = []
        self.titles: list[dict[str, Any]] = []
        for i, title in enumerate(titles):
            left, low = i % columns * (width + gap_x), (self.rows - 1 - i // columns) * (height + gap_y)
            self.xaxes.append({"anchor": f"y{_nth(i)}", "domain": [left, left + width]})
            self.yaxes.append({"anchor": f"x{_nth(i)}", "domain": [low, low + height]})
            self.titles.append({
                "text": title, "x": left + width / 2, "y": low + height, "xref": "paper", "yref": "paper",
                "xanchor": "center", "yanchor": "bottom", "showarrow": False, "font": {"size": 14}, "yshift": 4,
            })  # fmt: skip

    def y(self, panel: int) -> str:
        """The name of a panel's vertical axis."""
        return f"y{_nth(panel)}"

    def add(self, panel: int, *traces: Mapping[str, Any]) -> None:
        """Draw in a panel."""
        self.traces += [{**trace, "xaxis": f"x{_nth(panel)}", "yaxis": f"y{_nth(panel)}"} for trace in traces]

    def figure(self, layout: Mapping[str, Any]) -> go.Figure:
        """What has been drawn, with its axes and titles, which say where an axis is logarithmic."""
        titles = [
            title | {"text": title["text"] + (LOG if axis.get("type") == "log" else "")}
            for title, axis in zip(self.titles, self.yaxes, strict=True)
        ]
        axes = {
            f"{name}{_nth(i)}": axis
            for name, axes in (("xaxis", self.xaxes), ("yaxis", self.yaxes))
            for i, axis in enumerate(axes)
        }
        return go.Figure({"data": self.traces, "layout": {**layout, **axes, "annotations": titles}})


def level(fig: go.Figure, panel: int, y: float) -> None:
    """A dotted line across a panel. Not `add_hline`, which knows the panels of `make_subplots` only."""
    line = {"color": style.GREY, "dash": "dot", "width": 1}
    n = _nth(panel)
    fig.add_shape(type="line", x0=0, x1=1, xref=f"x{n} domain", y0=y, y1=y, yref=f"y{n}", line=line)


def log_steps(low: float, high: float) -> list[float]:
    """Where a logarithmic axis from `low` to `high` is labelled: at 1, 2 and 5 of each decade, at 1 over many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [s * 10.0**k for k in decades for s in ((1, 2, 5) if high < 300 * low else (1,))]


def in_points(low: float, high: float) -> dict[str, Any]:
    """Ticks of an axis of differences of shares from `low` to `high`, in percentage points: at most seven."""
    width = 100 * (high - low) or 1.0
    rough = width / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * (1 - 1e-9))
    first, last = math.ceil(100 * low / step - 1e-9), math.floor(100 * high / step + 1e-9)
    ticks = [k * step for k in range(first, last + 1)]
    text = [f"{t:+.6g}".replace("-", "\N{MINUS SIGN}") if t else "0" for t in ticks]
    return {"tickvals": [t / 100 for t in ticks], "ticktext": text}


def layout(
    rows: int,
    height: int,
    names: Iterable[str],
    room: int,
    left: int,
    right: int,
    below: int,
    title: str = "Method",
    above: int = 0,
) -> dict[str, Any]:
    """The layout of rows of panels of that height (px), with the legend of `names` above and margins that hold labels.

    `above`: px for a second line of the panels' titles. `room`: a key of `LETTERS`. The first row of the legend is its
    `title`, beside which the tool bar stands.
    """
    top = 45 + above + DROP + TITLE + ROW * _legend_rows(names, LETTERS[max(k for k in LETTERS if k <= room)])
    whole = height * rows + top + below - 21
    return {
        "height": whole, "margin": {"l": left, "r": right, "t": top, "b": below},
        "hovermode": "closest", "font": {"size": 12},
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1 - DROP / whole, "yref": "container", "yanchor": "top",
            "title": {"text": title, "side": "top left"}, "itemsizing": "trace", "itemwidth": 30,
        },
    }  # fmt: skip


def columns(n: int, most: int) -> int:
    """In how many columns n panels stand, at most so many, with as few gaps in the last row as can be."""
    return max(1, math.ceil(n / max(1, math.ceil(n / most))))


def _legend_rows(names: Iterable[str], room: int) -> int:
    """The rows of a legend as Plotly fills them, `room` letters wide; a symbol takes the place of eight."""
    rows, x = 1, 0
    for width in (len(name) + 8 for name in names):
        if x and x + width > room:
            rows, x = rows + 1, 0
        x += width
    return rows


def _nth(i: int) -> str:
    return str(i + 1) if i else ""
