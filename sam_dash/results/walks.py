"""Trajectories on a landscape: the frame, the figure that draws itself, and what a step does at the saddle."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.problems.landscapes import LANDSCAPES, Landscape, contour
from sam_dash.results import style
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


def figure(points: pd.DataFrame, spec: Walk) -> go.Figure:
    """The contour, the saddle, and one line a variant; Play draws the lines step by step."""
    land = LANDSCAPES[spec.landscape]
    fig = go.Figure(_ground(land, spec))
    keys = list(dict.fromkeys(points["variant"]))
    for key in keys:
        look = style.look(key)
        fig.add_scatter(
            **_until(points, key, spec.steps), mode="lines+markers", name=style.title(key),
            line={"color": look.colour, "dash": look.dash, "width": 2},
            marker={"symbol": look.marker, "size": 4, "color": look.colour},
            hovertemplate=f"<b>{style.title(key)}</b><br>step %{{customdata}}: (%{{x:.3f}}, %{{y:.3f}})<extra></extra>",
        )  # fmt: skip
    moments = np.unique(np.linspace(0, spec.steps, FRAMES).round().astype(int))
    drawn = list(range(len(fig.data) - len(keys), len(fig.data)))
    fig.frames = [
        go.Frame(name=str(t), traces=drawn, data=[go.Scatter(**_until(points, key, t)) for key in keys])
        for t in moments
    ]
    left, right, low, high = land.window
    fig.update_xaxes(title="<i>w</i><sub>1</sub>", range=[left, right], showgrid=False, zeroline=False)
    fig.update_yaxes(title="<i>w</i><sub>2</sub>", range=[low, high], showgrid=False, zeroline=False)
    return fig.update_layout(
        height=600, margin={"t": 52, "b": 175, "l": 70, "r": 20}, font_family=style.FONT, template="none",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, **_player(moments),
    )  # fmt: skip


def _ground(land: Landscape, spec: Walk) -> list[Any]:
    return [
        go.Scatter(
            **_contours(spec.landscape), mode="lines", line={"color": LINES, "width": 1}, hoverinfo="skip", name="loss"
        ),
        go.Scatter(
            x=[land.saddle[0]], y=[land.saddle[1]], mode="markers", name="saddle",
            marker={"symbol": "x-thin", "size": 14, "line": {"width": 3, "color": style.GREY}},
            hovertemplate="saddle (%{x:g}, %{y:g})<extra></extra>",
        ),
        go.Scatter(
            x=[spec.x], y=[spec.y], mode="markers", name="start", hovertemplate="start (%{x:g}, %{y:g})<extra></extra>",
            marker={"symbol": "circle-open", "size": 12, "color": style.GREY, "line": {"width": 2}},
        ),
    ]  # fmt: skip


@functools.cache
def _contours(landscape: str) -> dict[str, list[float | None]]:
    land = LANDSCAPES[landscape]
    x, y, z = contour(land, 81)
    at = float(land.loss(np.array(land.saddle)))
    return _level_lines(x, y, np.arcsinh(z - at))  # Beale's walls are 10^5 high


def _level_lines(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> dict[str, list[float | None]]:
    """The lines of equal z (rows along y) at `LEVELS` heights, cell by cell, a gap after each piece.

    Not Plotly's own contours: they vanish while a figure plays within Streamlit.
    """
    xs: list[float | None] = []
    ys: list[float | None] = []
    corners = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)]
    for level in np.linspace(z.min(), z.max(), LEVELS + 2)[1:-1]:
        above = z > level
        mixed = sum(above[r : r + len(y) - 1, c : c + len(x) - 1].astype(int) for r, c in corners[:4])
        for i, j in np.argwhere((mixed > 0) & (mixed < 4)):
            ends = []
            for (a, b), (c, d) in itertools.pairwise(corners):
                low, high = z[i + a, j + b], z[i + c, j + d]
                if (low > level) != (high > level):
                    s = (level - low) / (high - low)
                    ends.append((x[j + b] + s * (x[j + d] - x[j + b]), y[i + a] + s * (y[i + c] - y[i + a])))
            for k in range(0, len(ends), 2):
                xs += [ends[k][0], ends[k + 1][0], None]
                ys += [ends[k][1], ends[k + 1][1], None]
    return {"x": xs, "y": ys}


def _until(points: pd.DataFrame, key: str, step: int) -> dict[str, Any]:
    """The coordinates up to a step, a gap between seeds."""
    chosen = points[(points["variant"] == key) & (points["step"] <= step)]
    x, y, steps = [], [], []
    for _, of_seed in chosen.groupby("seed"):
        x += [*of_seed["x"], None]
        y += [*of_seed["y"], None]
        steps += [*of_seed["step"], None]
    return {"x": x, "y": y, "customdata": steps}


def _player(moments: np.ndarray) -> dict[str, Any]:
    """Play and Pause, and a slider over the steps; it stands at the last one."""
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    run = {"fromcurrent": False, "frame": {"duration": 80, "redraw": False}, "transition": {"duration": 0}}
    buttons = [
        {"label": "▶ Play", "method": "animate", "args": [None, run]},
        {"label": "❚❚ Pause", "method": "animate", "args": [[None], now]},
    ]
    common = {"font": {"color": style.GREY}, "bgcolor": "rgba(127,127,127,0.15)", "bordercolor": style.GREY}
    steps = [{"label": str(t), "method": "animate", "args": [[str(t)], now]} for t in moments]
    return {
        "updatemenus": [{
            "type": "buttons", "direction": "left", "buttons": buttons, "x": 0, "xanchor": "left", "y": -0.13,
            "yanchor": "top", "showactive": False, **common,
        }],
        "sliders": [{
            "steps": steps, "active": len(steps) - 1, "x": 0, "len": 1, "y": -0.27, "pad": {"t": 0},
            "currentvalue": {"prefix": "step ", "font": {"color": style.GREY}}, "ticklen": 0, "minorticklen": 0,
            **common, "font": {"color": "rgba(0,0,0,0)"},
        }],
    }  # fmt: skip


def step_table(answer: Mapping[str, Any]) -> pd.DataFrame:
    """By what each variant's step multiplies a small distance from the saddle: derived, and measured."""
    low, high = answer["eigenvalues"]
    rows = []
    for row in answer["steps"]:
        factors = row["factors"]
        rows.append({
            "Variant": style.title(row["variant"]),
            f"Factor along λ₁ = {style.number(low)}": "jumps" if factors is None else f"{factors[0]:.5f}",
            f"Factor along λ₂ = {style.number(high)}": "jumps" if factors is None else f"{factors[1]:.5f}",
            "Measured growth a step": f"{row['measured']:.5f}" if factors else "–",
            "‖w − saddle‖ after 100 steps from 10⁻⁴": "left to infinity" if row["later"] is None
            else style.number(row["later"]),
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
    return (
        f"{LANDSCAPES[spec.landscape].title}: {spec.steps} steps from ({spec.x:g}, {spec.y:g}), learning rate "
        f"{spec.lr:g}, momentum {spec.momentum:g}, ρ = {spec.rho:g}, {noise}. Contours are even in asinh(loss − loss "
        f"at the saddle). A point every {spec.every} steps."
        + "".join(f" {style.title(key)} diverges at step {t:g}." for key, t in _diverged(points, spec).items())
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
    ends = ", ".join(f"{style.title(str(k))} {d:.3g}" for k, d in far.items())
    return f"Trajectories on {LANDSCAPES[spec.landscape].title}; mean distance from the saddle at the end: {ends}."
