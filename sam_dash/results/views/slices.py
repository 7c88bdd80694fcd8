"""The loss along single directions through the weights of one or two checkpoints: the rise over that at the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, lines, style
from sam_dash.results.views.looked import Looked, LookView, bounded

COLUMNS = [*lines.COLUMNS, *lines.LOOK, "of", "loss", "stderr", "score", "ball"]
TITLES = {
    "eigen 1": "eigenvector 1", "eigen 2": "eigenvector 2", "random 1": "random 1", "random 2": "random 2",
    "line": "to the other",
}  # fmt: skip
UNITS = {"eigen": "parameters", "random": "filter norms", "line": "1: the other"}
QUADRATIC = "λ a²/2"


class Slices(LookView):
    """The rise of the loss along eigenvectors, random directions and the line to the other checkpoint."""

    key, title = "slices", "The loss along single directions"
    drawn_with = ("colour", "dash", "marker", "kind", "seed")
    silent = "Along none of them does the loss fall below that at the weights."

    def frame(self, at: Looked) -> pd.DataFrame:
        """A row a point: the rise with its interval over samples (paired), the loss, the score."""
        return pd.DataFrame(list(_rows(at)), columns=COLUMNS)

    def figure(self, frame: pd.DataFrame, at: Looked, columns: int) -> go.Figure:
        """A panel a direction; the ball's ends as vertical lines, the quadratic of the eigenvalue dotted."""
        fig = lines.figure(frame, lines.Axes("<i>a</i>", "a"), TITLES, columns=3, room=columns)
        names = list(dict.fromkeys(frame["panel"]))
        for i, panel in enumerate(names):
            of, nth = frame[frame["panel"] == panel], str(i + 1) if i else ""
            kind = panel.partition(" ")[0]
            ends, unit = [of["x"].min(), of["x"].max()], f"<i>a</i>, {UNITS[kind]}"
            fig.layout[f"xaxis{nth}"].update(matches=None, range=ends, title_text=unit)
            whole = frame[frame["panel"].str.startswith(kind) & (frame["kind"] == "mean")]
            low, high = min(0.0, whole["low"].min()), whole["high"].max()
            fig.layout[f"yaxis{nth}"].range = [low - 0.05 * (high - low), high + 0.05 * (high - low)]
            for name, one in of[of["kind"] == "mean"].groupby("line", sort=False):
                ball, colour = one["ball"].iloc[0], one["colour"].iloc[0]
                fig.add_shape(
                    type="rect", x0=-ball, x1=ball, y0=0, y1=1, xref=f"x{nth}", yref=f"y{nth} domain", layer="below",
                    fillcolor=lines.alpha(style.GREY, 0.18), line={"width": 1, "color": lines.alpha(colour, 0.6)},
                    name=str(name),
                )  # fmt: skip
        fig.update_layout(legend_title_text="Checkpoint")
        return fig

    def caption(self, frame: pd.DataFrame, at: Looked) -> str:
        """What is drawn, how far it reaches, and what it does not show."""
        look = at.seen[0].look
        balls = sorted(set(frame[frame["panel"].str.startswith("random")]["ball"].astype(float)))
        shown = captions.listed(dict.fromkeys(map(words.number, balls)))
        random = f" (on random directions to ± {shown})" if balls else ""
        line = " The line goes to the other checkpoint and beyond it." if "line" in set(frame["panel"]) else ""
        return (
            f"Rise of the mean loss over that at the weights; bands: 95 % intervals over samples, of the rise within "
            f"each sample. {at.setting}. Grey: the ball of SAM, ρ = {look.rho:g}{random}. Dotted: {QUADRATIC}, λ the "
            "eigenvalue. Random directions are Gaussian, with the norm of the weights in every filter and 0 in biases "
            f"and norm layers (arXiv:1712.09913), the same draw for each checkpoint.{line} {at.losses} Each panel is "
            "one direction of "
            f"{at.seen[0].answer['about']['parameters']}: a flat one says nothing of the others."
        )

    def findings(self, frame: pd.DataFrame, at: Looked) -> list[str]:
        """Where the loss falls below that at the weights, by more than its interval."""
        found = []
        for (panel, line), of in frame[frame["kind"] == "mean"].groupby(["panel", "line"], sort=False):
            lower = of[of["high"] < 0]
            if len(lower):
                r = of.sort_values("y").iloc[0]
                found.append(
                    f"{line}: along “{TITLES[str(panel)]}” the loss falls, by "
                    f"{words.number(-r['y'])} at a = {words.number(r['x'])}."
                )
        return found


def _rows(at: Looked) -> Iterator[dict[str, Any]]:
    for panel in TITLES:
        for i, seen in enumerate(at.seen):
            points = seen.points(panel)
            if points.empty:
                continue
            common = {"panel": panel, **at.look(i), "ball": seen.look.rho / seen.length(panel)}
            n = seen.answer["about"]["samples"]
            for r in points.to_dict("records"):
                told = {"x": r["a"], "n": n, "loss": r["loss"], "stderr": r["stderr"], "score": r["score"]}
                yield common | {"kind": "mean", **bounded(r["rise"], r["rise_stderr"]), **told}
            quadratic = {"kind": "reference", "of": QUADRATIC, "dash": "dot", "line": f"{seen.name}: {QUADRATIC}"}
            value = seen.value(panel.replace("eigen ", "eigenvalue@"))
            for a in points["a"] if math.isfinite(value) else ():
                yield common | quadratic | {"x": a, "y": value * a * a / 2}


VIEW = Slices()
