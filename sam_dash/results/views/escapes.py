"""How often and how fast a network leaves its saddle, by radius: frame, figure, and what the papers claim of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sam_dash.results import words
from sam_dash.results.drawing import lines, panels, style
from sam_dash.results.numbers import statistics
from sam_dash.results.numbers.study import EXAMPLE
from sam_dash.results.views.view import View

BUNDLED = EXAMPLE / "escape.json"  # echo '{"kind": "escape"}' | python -m sam_dash saddles
AT = ["batch", "momentum"]


def bundled() -> dict[str, Any]:
    """The answer that ships with the project, at the default settings."""
    found: dict[str, Any] = json.loads(BUNDLED.read_text(encoding="utf-8"))
    return found


def runs(answer: Mapping[str, Any]) -> pd.DataFrame:
    """One row a run: variant, rho, batch, momentum, seed, step (nan: not within all), share of the critical rho."""
    frame = pd.DataFrame(answer["rows"], columns=answer["columns"])
    for name in ("rho", "step"):
        frame[name] = pd.to_numeric(frame[name])
    return frame.assign(share=(frame["rho"] / answer["critical"]).round(6))


def frame(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a cell and quantity: the share of seeds that escape and the median steps, each with its interval and n."""
    rows = []
    for key, of in runs.groupby(["variant", "share", *AT], dropna=False, sort=False):
        found = {
            "escaped": statistics.proportion(int(of["step"].notna().sum()), len(of)),
            "steps": statistics.median(of["step"].fillna(math.inf)),
        }
        rows += [
            dict(zip(("variant", "share", *AT), key, strict=True))
            | {"rho": of["rho"].iloc[0], "quantity": q, "y": v.mean, "low": v.low, "high": v.high, "n": v.n}
            for q, v in found.items()
        ]
    return pd.DataFrame(rows)


def figure(cells: pd.DataFrame, answer: Mapping[str, Any], columns: int = 6) -> go.Figure:
    """A column a batch size and momentum; above the share that escapes, below the median steps of it.

    Where there is no room for six panels (`columns`) a row each instead.
    """
    narrow = columns < 6
    at = list(dict.fromkeys(zip(cells["batch"], cells["momentum"], strict=True)))
    titles = [f"<i>B</i> = {b}, momentum {mu:g}" for b, mu in at]
    if narrow:
        fig = make_subplots(len(at), 2, subplot_titles=[t for title in titles for t in (title, "")],
                            horizontal_spacing=0.3, vertical_spacing=0.3 / len(at))  # fmt: skip
    else:
        fig = make_subplots(2, len(at), shared_xaxes=True, shared_yaxes="rows", column_titles=titles,
                            horizontal_spacing=0.03, vertical_spacing=0.08)  # fmt: skip
    span = cells["share"].dropna()
    ends = [float(span.min()), float(span.max())] if len(span) else [0.5, 2]
    for column, (batch, momentum) in enumerate(at, 1):
        here = cells[(cells["batch"] == batch) & (cells["momentum"] == momentum)]
        for row, quantity in enumerate(("escaped", "steps"), 1):
            where = {"row": column, "col": row} if narrow else {"row": row, "col": column}
            for key, of in here[here["quantity"] == quantity].groupby("variant", sort=False):
                if np.isfinite(of["y"]).any():  # SAM may never leave: then there is no median to draw
                    fig.add_trace(_line(str(key), of, ends, legend=row == column == 1), **where)
            marks = {1.0: "solid", answer["mean_critical"][str(batch)] / answer["critical"]: "dot"}
            for x, dash in marks.items():
                fig.add_vline(x, line={"color": style.GREY, "width": 1.5, "dash": dash}, **where)
    ticks = [0.05, 0.2, 1, 5] if narrow else [0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    shares, steps = ({"col": 1}, {"col": 2}) if narrow else ({"row": 1}, {"row": 2})
    first: dict[str, int] = {} if narrow else {"col": 1}
    fig.update_xaxes(type="log", showgrid=False, tickvals=ticks, tickangle=0)
    fig.update_xaxes(title="<i>ρ</i> / <i>ρ</i><sub>c</sub>", row=len(at) if narrow else 2)
    fig.update_yaxes(title="seeds that escape", tickformat=".0%", range=[-0.05, 1.05], **{**shares, **first})
    fig.update_yaxes(title="median steps", **{**steps, **first})
    longest = cells.loc[(cells["quantity"] == "steps") & (cells["y"] != math.inf), "y"].max()
    top = math.log10(longest) + 0.4 if longest > 0 else 3
    fig.update_yaxes(type="log", range=[0.7, top], dtick=1, **steps)  # of the whole row: a range is of a type
    if narrow:
        fig.update_annotations(x=0, xanchor="left", font={"size": 12}, yshift=4)
    names = [words.title(str(key)) for key in dict.fromkeys(cells["variant"])]
    layout = panels.layout(len(at) if narrow else 2, 190, names, columns, 60, 20, 50)
    return fig.update_layout(layout)


def _line(key: str, of: pd.DataFrame, ends: list[float], legend: bool) -> go.Scatter:
    look, name = style.look(key), words.title(key)
    of = of.sort_values("share")
    if of["share"].isna().all():
        of = pd.concat([of.assign(share=x) for x in ends])
    good = of.assign(y=of["y"].where(of["y"] != math.inf), high=of["high"].where(of["high"] != math.inf))
    return go.Scatter(
        x=good["share"], y=good["y"], name=name, legendgroup=name, showlegend=legend, mode="lines+markers",
        line={"color": look.colour, "dash": look.dash, "width": 2}, marker={"symbol": look.marker, "size": 7},
        error_y=lines.bars(good["y"], good["low"], good["high"], look.colour, 3),
        customdata=of[["low", "high", "n"]], hovertemplate=f"<b>{name}</b><br>ρ = %{{x:.3g}} ρ_c<br>%{{y:.3g}} "
        "[%{customdata[0]:.3g}, %{customdata[1]:.3g}], n = %{customdata[2]}<extra></extra>",
    )  # fmt: skip


def caption(cells: pd.DataFrame, answer: Mapping[str, Any]) -> str:
    """What is drawn, and the marks."""
    n = int(cells["n"].max())
    return (
        f"Share of {n} seeds that leave the saddle with exact 95 % intervals (Clopper-Pearson), and the median step "
        "at which they do, with 95 % intervals between order statistics; runs that had not left count as later than "
        f"all others, and a median of those is not drawn. ρ_c = 1/|λ₁| = {words.number(answer['critical'])} (line). "
        "Dotted: where USAM's mean step on random batches turns to attract. SGD has no ρ."
    )


def alt(cells: pd.DataFrame) -> str:
    """The finding in words."""
    found = []
    for (key, batch, momentum), of in cells[cells["quantity"] == "escaped"].groupby(["variant", *AT], sort=False):
        found.append(f"{words.title(str(key))} at B = {batch}, momentum {momentum:g}: {words.span(of['y'])}")
    return "Share of seeds that leave the saddle, over ρ. " + "; ".join(found) + "."


class Escapes(View[Mapping[str, Any]]):
    """The share of seeds that leave, of the runs of an answer."""

    key, title, page = "escape", "Share of seeds that leave the saddle", "saddles"

    def frame(self, at: Mapping[str, Any]) -> pd.DataFrame:
        """See `frame`."""
        return frame(runs(at))

    def figure(self, frame: pd.DataFrame, at: Mapping[str, Any], columns: int) -> go.Figure:
        """See `figure`; a column for each batch size and momentum only where there is room for all."""
        return figure(frame, at, columns)

    def caption(self, frame: pd.DataFrame, at: Mapping[str, Any]) -> str:
        """See `caption`."""
        return caption(frame, at)

    def alt(self, frame: pd.DataFrame, at: Mapping[str, Any], found: list[str]) -> str:
        """See `alt`."""
        return alt(frame)

    def name(self, at: Mapping[str, Any]) -> str:
        """The network's name."""
        return "saddle-network"


VIEW = Escapes()
