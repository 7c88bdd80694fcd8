"""The pen of the small multiples: how one series is drawn in one panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sam_dash.results import words
from sam_dash.results.drawing import lines, style

Rows = list[dict[str, Any]]  # of a frame, and traces


def cross(x: list[Any], y: list[Any], colour: str, says: str, **more: Any) -> dict[str, Any]:
    """Crosses, for cells that collapsed."""
    look = {"symbol": "x-thin", "size": 9, "color": colour, "line": {"color": colour, "width": 2.5}}
    hover = f"{says}<extra></extra>"
    return {"x": x, "y": y, "mode": "markers", "cliponaxis": False, "marker": look, "hovertemplate": hover, **more}


class Pen:
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
