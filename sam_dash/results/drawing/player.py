"""Figures that draw themselves step by step: Play, Pause, and a slider over the steps."""

from __future__ import annotations

from typing import Any

from sam_dash.results.drawing import style
from sam_dash.results.drawing.contours import DIGITS


def until(line: dict[str, list[Any]], step: int) -> dict[str, list[Any]]:
    """A path up to a step, its coordinates to `DIGITS` places: it moves on at once."""
    kept = [k for k, at in enumerate(line["customdata"]) if at is None or at <= step]
    x, y = ([None if v is None else round(v, DIGITS) for v in map(line[c].__getitem__, kept)] for c in ("x", "y"))
    return {"x": x, "y": y, "customdata": [line["customdata"][k] for k in kept]}


def frames(lines: list[dict[str, list[Any]]], places: list[int], moments: list[int]) -> list[dict[str, Any]]:
    """A frame a moment, of the traces that stand at `places` of the figure."""
    return [
        {"name": str(t), "traces": places, "data": [{"type": "scatter", **until(line, t)} for line in lines]}
        for t in moments
    ]


def player(moments: list[int]) -> dict[str, Any]:
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
