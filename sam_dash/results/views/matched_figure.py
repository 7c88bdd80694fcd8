"""The figure of matched comparisons, and of sharpness against accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, lines, panels, style
from sam_dash.results.numbers import recorded, tables
from sam_dash.results.views import matched
from sam_dash.results.views.view import Selection, StudyView


def figure(table: pd.DataFrame, x: str, y: str, columns: int = 6) -> go.Figure:
    """Means with both intervals, seeds, a line through the values of m, SGD's trajectory, the Pareto front."""
    traces: list[dict[str, Any]] = []
    title = matched.TITLES.get(x, words.quantity(x).html)
    unit = ".1%" if words.is_fraction(y) else ".4~g"
    track = table[table["kind"] == "sgd"].sort_values("epoch")
    blue = style.look("sgd").colour
    if len(track):
        traces.append({
            **lines.points(track), "mode": "lines+markers", "name": "SGD, stopped early", "opacity": 0.75,
            "line": {"color": blue, "width": 1.5, "dash": "dot"}, "marker": {"color": blue, "size": 4},
            "customdata": track[["epoch", "n"]].to_numpy().tolist(),
            "hovertemplate": "SGD after %{customdata[0]:.4~g} epochs<br>"
            f"{title} = %{{x:.4~g}}<br>%{{y:{unit}}}, n = %{{customdata[1]}}<extra></extra>",
        })  # fmt: skip
    for r in tables.records(table[table["best"].astype(bool)]):
        traces.append({
            "x": [r["x"]], "y": [r["y"]], "mode": "markers+text", "text": [f"epoch {r['epoch']:g}"],
            "textposition": "top center", "textfont": {"color": blue}, "name": "SGD, stopped early",
            "hoverinfo": "skip", "showlegend": False,
            "marker": {"size": 14, "symbol": "circle-open", "color": blue, "line": {"width": 2}},
        })  # fmt: skip
    means, seeds = table[table["kind"] == "mean"], table[table["kind"] == "seed"]
    for variant, of in means.groupby("variant", sort=False):
        if cells.swept(str(variant)) and len(of) > 1:
            pen = {"color": style.look(str(variant)).colour, "width": 1}
            traces.append({
                **lines.points(of.sort_values("m")), "mode": "lines", "line": pen, "opacity": 0.6, "hoverinfo": "skip",
                "showlegend": False, "name": words.title(str(variant)),
            })  # fmt: skip
    front = table[table["front"].astype(bool)].sort_values("x")
    if len(front):
        traces.append({
            **lines.points(front), "mode": "lines+markers", "name": "Pareto front", "hoverinfo": "skip",
            "line": {"color": style.GREY, "width": 1.5, "shape": "hv"},
            "marker": {"size": 14, "symbol": "circle-open", "color": style.GREY, "line": {"width": 1.5}},
        })  # fmt: skip
    for r in tables.records(means):
        dots = seeds[seeds["line"] == r["line"]]
        common = {"name": r["line"], "legendgroup": r["line"]}
        traces.append({
            **lines.points(dots), "mode": "markers", "marker": {"color": r["colour"], "size": 4, "opacity": 0.6},
            "customdata": dots[["seed", "run"]].to_numpy().tolist(), "showlegend": False, **common,
            "hovertemplate": f"{r['line']}<br>seed %{{customdata[0]}}<br>{title} = %{{x:.4~g}}<br>%{{y:{unit}}}"
            "<br>run %{customdata[1]}<extra></extra>",
        })  # fmt: skip
        at = {k: [r[k]] for k in ("x", "x_low", "x_high", "y", "low", "high")}
        traces.append({
            "x": at["x"], "y": at["y"], "mode": "markers", **common,
            "marker": {"color": r["colour"], "size": 10, "symbol": r["marker"]},
            "error_x": lines.bars(at["x"], at["x_low"], at["x_high"], r["colour"], 3),
            "error_y": lines.bars(at["y"], at["low"], at["high"], r["colour"], 3),
            "customdata": [[r["x_low"], r["x_high"], r["low"], r["high"]]],
            "hovertemplate": f"<b>{r['line']}</b><br>{title} = %{{x:.4~g}} [%{{customdata[0]:.4~g}}, "
            f"%{{customdata[1]:.4~g}}]<br>{words.quantity(y).html} = %{{y:{unit}}} [%{{customdata[2]:{unit}}}, "
            f"%{{customdata[3]:{unit}}}]<br>n = {r['n']:g}<extra></extra>",
        })  # fmt: skip
    return go.Figure({"data": traces, "layout": _layout(table, x, y, columns)})


def _layout(table: pd.DataFrame, x: str, y: str, columns: int) -> dict[str, Any]:
    common = {"zeroline": False, "ticks": "outside", "ticklen": 4}
    values = table.loc[table["x"] > 0, "x"]
    log = x != "train_loss" and len(values) and values.max() > 10 * values.min()
    xaxis: dict[str, Any] = {
        "title": {"text": matched.TITLES.get(x, words.quantity(x).html)}, "type": "log" if log else "linear",
        "showgrid": False, **common,
    }  # fmt: skip
    if log:
        xaxis |= {"dtick": 1, "exponentformat": "power"}
    percent = ".1~%" if words.is_fraction(y) else None
    yaxis: dict[str, Any] = {"title": {"text": words.quantity(y).html}, "tickformat": percent, "nticks": 7, **common}
    # SGD's first points would squeeze all others: they are in the data, and a double click shows them
    near = table[(table["kind"] != "sgd") | (table["epoch"] > 1)]
    for axis, column, ends in ((xaxis, "x", ["x", "x_low", "x_high"]), (yaxis, "y", ["y", "low", "high"])):
        low, high = float(near[ends].min().min()), float(near[ends].max().max())
        if len(near) < len(table) and high > low and not (log and column == "x"):
            axis["range"] = [low - 0.06 * (high - low), high + 0.06 * (high - low)]
    also = {"SGD, stopped early": table["kind"].eq("sgd"), "Pareto front": table["front"].astype(bool)}
    names = [
        *(name for name, of in also.items() if of.any()),
        *dict.fromkeys(table.loc[table["kind"] == "mean", "line"]),
    ]
    return panels.layout(1, 400, names, columns, 78, 8, 68) | {"xaxis": xaxis, "yaxis": yaxis}


def table(at: Selection) -> pd.DataFrame:
    """`matched.wide` of the runs that did not collapse."""
    return matched.wide(at.study, at.kept)


def curves(at: Selection, y: str) -> pd.DataFrame:
    """Train loss and `y` along the way."""
    return at.curves(sorted({"train_loss", y}), recorded.POINTS)


class Matched(StudyView):
    """The view of Matched, of what did not collapse. Options: `x`, the train loss or a cost; `y`, the test score."""

    key, title, page = "matched", "Matched comparisons", "matched"
    drawn_with = tuple(matched.LOOK)

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `matched.frame`; empty where `x` or `y` is not known of any run."""
        of, x, y = table(at), *_axes(at)
        known = {x, y} <= set(of) and of[x].notna().any()
        return matched.frame(at.study, of if known else of.assign(**{x: None, y: None}), x, y, curves(at, y))

    def choices(self, at: Selection) -> Iterator[tuple[str, Selection]]:
        """Over the train loss and both costs."""
        for x in matched.X.values():
            yield f"-{x.replace('_', '-')}", at.but(x=x)

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """See `figure`."""
        return figure(frame, *_axes(at), columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `matched.caption`."""
        return matched.caption(at.study, frame, _axes(at)[0])

    def headline(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """SGD stopped at its best epoch against the best setting."""
        y = _axes(at)[1]
        stop = matched.stop(table(at), curves(at, y), y, at.look) if y != "train_loss" else None
        return matched.best_stop(stop, y) if stop else super().headline(frame, at, found)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """The Pareto front, if there is one: against costs."""
        x, y = _axes(at)
        front = captions.listed(dict.fromkeys(frame[frame["front"].astype(bool)].sort_values("x")["line"]))
        return [f"On the Pareto front of {words.quantity(y).name} and {matched.TITLES[x]}: {front}."] if front else []

    def alt(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The axes and the front; over the train loss, who beats SGD stopped there."""
        x, y = _axes(at)
        if x == "train_loss" and y != x:
            found = matched.findings(matched.at_same_loss(table(at), curves(at, y), y, at.look), y)
        return f"{words.quantity(y).name} against {matched.TITLES[x].lower()}. {' '.join(found)}"

    def name(self, at: Selection) -> str:
        """Both axes are in it."""
        x, y = _axes(at)
        return f"matched-{y}-{x}-{at.study.id[:6]}"


def _axes(at: Selection) -> tuple[str, str]:
    y = at.options.get("y") or words.scored("test_acc", set(at.finals["quantity"]))
    return at.options.get("x", "train_loss"), y


VIEW = Matched()
