"""Trajectories on a landscape: the frame, the figure that draws itself, and what a step does at the saddle."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.problems.landscapes import LANDSCAPES, Landscape, contour
from sam_dash.results import words
from sam_dash.results.drawing import contours, panels, player, style
from sam_dash.results.views.view import View
from sam_dash.runs.saddles import Walk

FRAMES = 30
LEVELS = 22
LINES = "rgba(127,127,127,0.55)"


def frame(answer: Mapping[str, Any], spec: Walk) -> pd.DataFrame:
    """variant, seed, step, x, y, loss: every point that is drawn."""
    loss = LANDSCAPES[spec.landscape].loss
    rows = [
        (key, seed, t * spec.every, x, y)
        for key, paths in answer["paths"].items()
        for seed, path in enumerate(paths)
        for t, (x, y) in enumerate(path)
    ]
    out = pd.DataFrame(rows, columns=["variant", "seed", "step", "x", "y"])
    return out.assign(loss=loss(out[["x", "y"]].to_numpy().T))


def figure(points: pd.DataFrame, spec: Walk, columns: int = 6) -> go.Figure:
    """The contour, the saddle, and one line a variant; Play draws the lines step by step."""
    land = LANDSCAPES[spec.landscape]
    lines = {str(key): _line(of) for key, of in points.groupby("variant", sort=False)}
    hover = "step %{customdata}: (%{x:.3f}, %{y:.3f})<extra></extra>"
    drawn = [
        {
            "type": "scatter", **line, "mode": "lines+markers", "name": words.title(key),
            "line": {"color": style.look(key).colour, "dash": style.look(key).dash, "width": 2},
            "marker": {"symbol": style.look(key).marker, "size": 4, "color": style.look(key).colour},
            "hovertemplate": f"<b>{words.title(key)}</b><br>{hover}",
        }
        for key, line in lines.items()
    ]  # fmt: skip
    ground = _ground(land, spec)
    moments = [int(t) for t in np.unique(np.linspace(0, spec.steps, FRAMES).round())]
    places = list(range(len(ground), len(ground) + len(drawn)))
    frames = player.frames(list(lines.values()), places, moments)
    left, right, low, high = land.window
    bare = {"showgrid": False, "zeroline": False}
    layout = {
        "xaxis": {"title": {"text": "<i>w</i><sub>1</sub>"}, "range": [left, right], **bare},
        "yaxis": {"title": {"text": "<i>w</i><sub>2</sub>"}, "range": [low, high], **bare},
        **panels.layout(1, 400, [t["name"] for t in [*ground, *drawn]], columns, 70, 20, 182, "Shown"),
        **player.player(moments),
    }  # fmt: skip
    return go.Figure({"data": [*ground, *drawn], "layout": layout, "frames": frames})


def _ground(land: Landscape, spec: Walk) -> list[dict[str, Any]]:
    saddle = {"symbol": "x-thin", "size": 14, "line": {"width": 3, "color": style.GREY}}
    start = {"symbol": "circle-open", "size": 12, "color": style.GREY, "line": {"width": 2}}
    grid = {"mode": "lines", "line": {"color": LINES, "width": 1}, "hoverinfo": "skip", "name": "loss"}
    return [
        {"type": "scatter", **_contours(spec.landscape), **grid},
        {
            "type": "scatter", "x": [land.saddle[0]], "y": [land.saddle[1]], "mode": "markers", "name": "saddle",
            "marker": saddle, "hovertemplate": "saddle (%{x:g}, %{y:g})<extra></extra>",
        },
        {
            "type": "scatter", "x": [spec.x], "y": [spec.y], "mode": "markers", "name": "start", "marker": start,
            "hovertemplate": "start (%{x:g}, %{y:g})<extra></extra>",
        },
    ]  # fmt: skip


@functools.cache
def _contours(landscape: str) -> dict[str, list[float | None]]:
    land = LANDSCAPES[landscape]
    x, y, z = contour(land, 81)
    at = float(land.loss(np.array(land.saddle)))
    return contours.level_lines(x, y, np.arcsinh(z - at), LEVELS)  # Beale's walls are 10^5 high


def _line(of: pd.DataFrame) -> dict[str, list[Any]]:
    """The path of a variant, a gap after each seed."""
    x, y, steps = [], [], []
    for _, seed in of.groupby("seed"):
        x += [*seed["x"].tolist(), None]
        y += [*seed["y"].tolist(), None]
        steps += [*seed["step"].tolist(), None]
    return {"x": x, "y": y, "customdata": steps}


def step_table(answer: Mapping[str, Any]) -> pd.DataFrame:
    """By what each variant's step multiplies a small distance from the saddle: derived, and measured."""
    low, high = answer["eigenvalues"]
    rows = []
    for row in answer["steps"]:
        factors = row["factors"]
        rows.append({
            "Variant": words.title(row["variant"]),
            f"Factor along λ₁ = {words.number(low)}": math.nan if factors is None else factors[0],
            f"Factor along λ₂ = {words.number(high)}": math.nan if factors is None else factors[1],
            "Measured growth a step": row["measured"] if factors else math.nan,
            "‖w − saddle‖ after 100 steps from 10⁻⁴": math.inf if row["later"] is None else row["later"],
            "The saddle": _fate(row),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _fate(row: Mapping[str, Any]) -> str:
    if row["factors"] is None:
        return "no linear step there: see the distance"
    return "attracts" if max(map(abs, row["factors"])) < 1 else "repels"


def caption(points: pd.DataFrame, spec: Walk) -> str:
    """What is drawn, at which settings."""
    noise = f"gradient noise σ = {spec.sigma:g}, {spec.seeds} seeds, a line each" if spec.sigma else "no gradient noise"
    start = ", ".join(map(words.number, (spec.x, spec.y)))
    return (
        f"{LANDSCAPES[spec.landscape].title}: {spec.steps} steps from ({start}), learning rate "
        f"{spec.lr:g}, momentum {spec.momentum:g}, ρ = {spec.rho:g}, {noise}. Contours are even in asinh(loss − loss "
        f"at the saddle). A point every {spec.every} steps."
        + "".join(f" {words.title(key)} diverges at step {t:g}." for key, t in _diverged(points, spec).items())
    )


def _diverged(points: pd.DataFrame, spec: Walk) -> dict[str, float]:
    """The variants with a seed whose weights stop being finite, and by when."""
    last = points.groupby(["variant", "seed"], sort=False)["step"].max().groupby(level=0, sort=False).min()
    return {str(key): float(t + spec.every) for key, t in last.items() if t + spec.every <= spec.steps}


def alt(points: pd.DataFrame, spec: Walk) -> str:
    """The finding in words: where each variant ends."""
    saddle = LANDSCAPES[spec.landscape].saddle
    last = points[points["step"] == points.groupby(["variant", "seed"])["step"].transform("max")]
    away = ((last["x"] - saddle[0]) ** 2 + (last["y"] - saddle[1]) ** 2) ** 0.5
    far = away.groupby(last["variant"], sort=False).mean()
    ends = ", ".join(f"{words.title(str(k))} {d:.3g}" for k, d in far.items())
    return f"Trajectories on {LANDSCAPES[spec.landscape].title}; mean distance from the saddle at the end: {ends}."


class Walked(NamedTuple):
    """What was asked for, and the answer."""

    answer: Mapping[str, Any]
    spec: Walk


class Walks(View[Walked]):
    """The trajectories of an answer on their landscape."""

    key, title, page = "walk", "Trajectories on a landscape", "saddles"

    def frame(self, at: Walked) -> pd.DataFrame:
        """See `frame`."""
        return frame(at.answer, at.spec)

    def figure(self, frame: pd.DataFrame, at: Walked, columns: int) -> go.Figure:
        """See `figure`."""
        return figure(frame, at.spec, columns)

    def caption(self, frame: pd.DataFrame, at: Walked) -> str:
        """See `caption`."""
        return caption(frame, at.spec)

    def alt(self, frame: pd.DataFrame, at: Walked, found: list[str]) -> str:
        """See `alt`."""
        return alt(frame, at.spec)

    def name(self, at: Walked) -> str:
        """The landscape is in it."""
        return f"saddle-{at.spec.landscape}"


VIEW = Walks()
