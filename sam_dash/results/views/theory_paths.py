"""Paths of the iterates and of the SDE in the plane of the first two weights, on the contours of the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import contours, panels, player, style
from sam_dash.results.views.theory import ITERATES, SDE, Theory, colours, said
from sam_dash.results.views.view import View
from sam_dash.results.views.walks import LINES

DRAWN = 8  # paths of each
FRAMES = 24
GRID, LEVELS = 61, 14


class TheoryPaths(View[Theory]):
    """Some paths of both ensembles, and their means."""

    key, title, page = "theory_paths", "Paths on the contours of the loss", "theory"

    def frame(self, at: Theory) -> pd.DataFrame:
        """line, path (-1 is the mean of all), step, x, y."""
        rows = []
        for line, paths in ((ITERATES, at.played.iterates), (SDE, at.played.sde)):
            drawn = np.concatenate([paths.mean(1, keepdims=True), paths[:, :DRAWN]], 1)[..., :2]
            for k in range(drawn.shape[1]):
                rows += [(line, k - 1, t, x, y) for t, (x, y) in enumerate(drawn[:, k].tolist())]
        return pd.DataFrame(rows, columns=["line", "path", "step", "x", "y"])

    def figure(self, frame: pd.DataFrame, at: Theory, columns: int) -> go.Figure:
        """Play draws them step by step."""
        s, looks = at.setting, colours(at.setting)
        moments = [int(t) for t in np.unique(np.linspace(0, s.steps, FRAMES).round())]
        window = _window(frame)
        ground: dict[str, Any] = {
            "type": "scatter", **_ground(at, window), "mode": "lines", "line": {"color": LINES, "width": 1},
            "hoverinfo": "skip", "name": "loss",
        }  # fmt: skip
        drawn, paths = [], []
        for line in (ITERATES, SDE):
            of, look = frame[frame["line"] == line], looks[line]
            for name, part, width, opacity in (
                (line, of[of["path"] >= 0], 1.2, 0.45), (f"{line}, mean of all", of[of["path"] < 0], 3, 1),
            ):  # fmt: skip
                path = _line(part)
                paths.append(path)
                drawn.append({
                    "type": "scatter", **path, "mode": "lines", "name": name, "opacity": opacity,
                    "line": {"color": look["colour"], "width": width, "dash": style.DASHES[look["dash"]]},
                    "hovertemplate": f"<b>{name}</b><br>step %{{customdata}}: (%{{x:.3f}}, %{{y:.3f}})<extra></extra>",
                })  # fmt: skip
        left, right, low, high = window
        bare = {"showgrid": False, "zeroline": False}
        layout = {
            "xaxis": {"title": {"text": "<i>x</i><sub>1</sub>"}, "range": [left, right], **bare},
            "yaxis": {"title": {"text": "<i>x</i><sub>2</sub>"}, "range": [low, high], **bare},
            **panels.layout(1, 400, [t["name"] for t in [ground, *drawn]], columns, 80, 20, 182, "Shown"),
            **player.player(moments),
        }  # fmt: skip
        frames = player.frames(paths, [*range(1, 1 + len(paths))], moments)
        return go.Figure({"data": [ground, *drawn], "layout": layout, "frames": frames})

    def caption(self, frame: pd.DataFrame, at: Theory) -> str:
        """What is drawn, at which settings."""
        s = at.setting
        rest = "" if s.made.d == 2 else "; the other weights are where the iterates end in the mean"
        return (
            f"The first {DRAWN} paths of each ensemble, {s.steps} steps of η = {s.eta:g}, and the means of all. "
            f"Iterates and SDE have random numbers of their own: paths are not to be compared one by one. Contours of "
            f"f in x₁ and x₂{rest}. {said(s)}"
        )

    def findings(self, frame: pd.DataFrame, at: Theory) -> list[str]:
        """Where the means end."""
        end = frame[(frame["path"] < 0) & (frame["step"] == at.setting.steps)]
        a, b = (end.loc[end["line"] == line, ["x", "y"]].to_numpy(float)[0].tolist() for line in (ITERATES, SDE))
        told = [f"({words.number(p[0])}, {words.number(p[1])})" for p in (a, b)]
        gap = words.number(float(np.hypot(a[0] - b[0], a[1] - b[1])))
        return [f"The means end at {told[0]} for the iterates and at {told[1]} for the SDE, {gap} apart."]

    def name(self, at: Theory) -> str:
        """The variant is in it."""
        return f"theory-paths-{at.setting.variant}"


def _window(frame: pd.DataFrame) -> tuple[float, float, float, float]:
    """What holds nearly all of the paths: left, right, low, high."""
    ends = [float(frame[k].quantile(q)) for k in "xy" for q in (0.002, 0.998)]
    padded = []
    for low, high in (ends[:2], ends[2:]):
        pad = 0.15 * (high - low) + 0.05
        padded += [low - pad, high + pad]
    return padded[0], padded[1], padded[2], padded[3]


def _ground(at: Theory, window: tuple[float, float, float, float]) -> dict[str, list[float | None]]:
    """Contours of the loss, even in its root above its least value, which spreads those of a bowl evenly."""
    left, right, low, high = window
    x, y = np.linspace(left, right, GRID), np.linspace(low, high, GRID)
    rest = at.played.iterates[-1].mean(0)
    w = np.broadcast_to(rest, (GRID, GRID, len(rest))).copy()
    w[..., 0], w[..., 1] = np.meshgrid(x, y, indexing="xy")
    z = at.setting.made.loss(w)
    return contours.level_lines(x, y, np.sqrt(z - z.min()), LEVELS)


def _line(of: pd.DataFrame) -> dict[str, list[Any]]:
    """Paths as one trace, a gap after each."""
    x, y, steps = [], [], []
    for _, path in of.groupby("path"):
        x += [*path["x"].round(contours.DIGITS).tolist(), None]
        y += [*path["y"].round(contours.DIGITS).tolist(), None]
        steps += [*path["step"].tolist(), None]
    return {"x": x, "y": y, "customdata": steps}


VIEW = TheoryPaths()
