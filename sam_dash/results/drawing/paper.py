"""Figures for print: PDF, SVG and PNG at the widths of journals, on white, with every colour stated.

`to_paper` lays a figure out anew for its width; `render` turns it into a file by kaleido, which drives a Chrome that
must exist on this machine: `chrome()` says whether one does. Its server starts at the first figure (some seconds),
makes the next ones in under a second, and ends when it has been idle for a while.
"""

from __future__ import annotations

import atexit
import copy
import math
import re
import textwrap
import threading
from typing import Any, NamedTuple

import plotly.graph_objects as go

from sam_dash.results.drawing import style

ITEM, GAP = 30, 5  # px of a legend's symbol, and round it (Plotly's)
LETTER = 0.56  # width of a letter in em, on the wide side
INK, LINE = "#000000", "#444444"
FORMATS = {"PDF": "application/pdf", "SVG": "image/svg+xml", "PNG": "image/png"}
PNG_DPI = 600
IDLE = 300.0  # seconds after which the server of kaleido is ended; it holds a Chrome
NO_CHROME = (
    "PDF and PNG need a Chrome or Chromium on the machine that serves this page, and there is none: install one, or "
    "use the camera in the figure's tool bar (SVG), which works without."
)


class Width(NamedTuple):
    """A width in millimetres, and how many panels stand side by side on it at most."""

    mm: float
    panels: int

    @property
    def px(self) -> int:
        """In CSS pixels, 96 to an inch."""
        return round(self.mm / 25.4 * 96)


WIDTHS = {
    "89 mm": Width(89, 2), "183 mm": Width(183, 4), "3.25 in": Width(82.55, 2), "6.75 in": Width(171.45, 4),
}  # fmt: skip


def pt(points: float) -> float:
    """Points as CSS pixels."""
    return points * 96 / 72


def chrome() -> str | None:
    """The Chrome that would be used, None if there is none."""
    try:
        from choreographer.browsers.chromium import Chromium

        found: str | None = Chromium.find_browser(skip_local=False)
    except (ImportError, OSError, RuntimeError):
        return None
    return found


def to_paper(figure: go.Figure, width: Width) -> go.Figure:
    """A copy for print: white, black text of 7 pt, thin lines, ticks outside, no grid; panels wrapped to the width."""
    fig = copy.deepcopy(figure)
    fig.frames, fig.layout.updatemenus, fig.layout.sliders = (), (), ()  # nothing plays on paper
    rows = wrap(fig, width.panels)
    font = {"family": style.FONT, "size": pt(7), "color": INK}
    top = pt(16) + _legend(fig, width.px - pt(26) - pt(6))
    fig.update_layout(
        template=go.layout.Template(), width=width.px, height=round(top + rows * min(170, width.px * 0.42) + pt(26)),
        paper_bgcolor="white", plot_bgcolor="white", font=font, title_text="",
        margin={"l": pt(26), "r": pt(6), "t": top, "b": pt(26)},
        legend={
            "orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top", "font": font,
            "bgcolor": "rgba(255,255,255,0)", "itemwidth": ITEM, "itemsizing": "trace", "tracegroupgap": 0,
            "title": {"text": ""},
        },
    )  # fmt: skip
    fig.update_annotations(font={"family": style.FONT, "size": pt(7.5), "color": INK}, yshift=2)
    axis: dict[str, Any] = {
        "showline": True, "linecolor": LINE, "linewidth": pt(0.75), "ticks": "outside", "ticklen": pt(2.5),
        "tickwidth": pt(0.75), "tickcolor": LINE, "tickfont": font, "title_font": font, "showgrid": False,
        "zerolinecolor": "#BBBBBB", "zerolinewidth": pt(0.5),
    }  # fmt: skip
    fig.update_xaxes(**axis, title_standoff=pt(3))
    fig.update_yaxes(**axis, title_standoff=pt(2))
    _thin(fig)
    return fig


def _legend(fig: go.Figure, width: float) -> float:
    """Break the names that are wider than the legend; its height in px, rows filled as Plotly fills them."""
    entries = [t for t in fig.data if t.showlegend is not False and t.name]
    for trace in entries:
        room = int((width - ITEM - 3 * GAP) / (LETTER * pt(7)))
        trace.name = "<br>".join(textwrap.wrap(trace.name, room)) if len(_plain(trace.name)) > room else trace.name
    sizes = [_size(trace.name) for trace in entries]
    if not any(trace.legendgroup for trace in entries) and sum(w for w, _ in sizes) > width:
        sizes = [(max(w for w, _ in sizes), h) for _, h in sizes]  # then Plotly makes columns
    rows, x = [0.0], 0.0
    for w, h in sizes:
        if x and x + w > width:
            rows, x = [*rows, 0.0], 0.0
        rows[-1], x = max(rows[-1], h), x + w
    return sum(rows)


def _plain(text: str) -> str:
    return re.sub("<[^>]*>", "", text)


def _size(name: str) -> tuple[float, float]:
    lines = [_plain(part) for part in name.split("<br>")]
    return ITEM + 3 * GAP + LETTER * pt(7) * max(map(len, lines)), 3 + max(16.0, 1.3 * pt(7) * len(lines))


def _thin(fig: go.Figure) -> None:
    """Lines of 1 pt, markers in proportion."""
    for trace in fig.data:
        if trace.type not in ("scatter", "scattergl"):
            continue
        if trace.line.width:
            trace.line.width = pt(1)
        if isinstance(trace.marker.size, int | float):
            trace.marker.size = pt(4) if trace.marker.size >= 7 else pt(2)
        if trace.error_y.array is not None:
            trace.error_y.thickness, trace.error_y.width = pt(0.75), pt(1.5)


def wrap(fig: go.Figure, panels: int) -> int:
    """Lay panels that stand in a grid out anew, at most so many side by side; the number of rows."""
    layout = fig.layout
    xaxes = sorted((k for k in layout if k.startswith("xaxis")), key=lambda k: int(k[5:] or 1))
    yaxes = [k.replace("x", "y", 1) for k in xaxes]
    titles = [a for a in layout.annotations if a.xref == "paper" and a.yref == "paper"]
    n = len(xaxes)
    heights = {tuple(layout[y].domain or (0, 1)) for y in yaxes if y in layout}
    if n < 2 or not all(y in layout for y in yaxes) or len(titles) < n or any(_bar(t) for t in fig.data):
        return max(1, len(heights))
    columns = min(n, panels if n % panels == 0 or panels < 4 else 3)
    rows = math.ceil(n / columns)
    gap_x, gap_y = {1: 0.0, 2: 0.17, 3: 0.1}.get(columns, 0.085), 0.34 / rows if rows > 1 else 0.0
    w, h = (1 - gap_x * (columns - 1)) / columns, (1 - gap_y * (rows - 1)) / rows
    label = next((layout[x].title.text for x in xaxes if layout[x].title.text), None)
    for i, (x, y) in enumerate(zip(xaxes, yaxes, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * (w + gap_x), 1 - row * (h + gap_y)
        layout[x].domain, layout[y].domain = (left, left + w), (max(0.0, top - h), top)
        layout[x].title.text = label if i + columns >= n else ""
        titles[i].update(x=left + w / 2, y=top, xanchor="center", yanchor="bottom")
    return rows


def _bar(trace: Any) -> bool:
    return getattr(trace, "colorbar", None) is not None and trace.type in ("heatmap", "contour", "surface")


_lock = threading.Lock()
_server: dict[str, Any] = {"on": False, "timer": None}


def render(figure: go.Figure, kind: str, width: Width) -> bytes:
    """The file of a figure, `kind` of `FORMATS`. RuntimeError, in words, where there is no Chrome."""
    if chrome() is None:
        raise RuntimeError(NO_CHROME)
    import kaleido  # with its browser's worth of machinery, only when asked for

    fig = to_paper(figure, width)
    options = {"format": kind.lower(), "width": fig.layout.width, "height": fig.layout.height}
    with _lock:
        _start()
        scale = PNG_DPI / 96 if kind == "PNG" else 1
        out: bytes = kaleido.calc_fig_sync(fig.to_plotly_json(), opts=options | {"scale": scale})
    return out


def _start() -> None:
    import kaleido

    if not _server["on"]:
        kaleido.start_sync_server(n=1, silence_warnings=True)
        if _server["timer"] is None:
            atexit.register(stop)
        _server["on"] = True
    elif _server["timer"] is not None:
        _server["timer"].cancel()
    timer = threading.Timer(IDLE, stop)
    timer.daemon = True
    timer.start()
    _server["timer"] = timer


def stop() -> None:
    """End kaleido's server, if it runs."""
    with _lock:
        if _server["on"]:
            import kaleido

            _server["on"] = False
            kaleido.stop_sync_server(silence_warnings=True)
