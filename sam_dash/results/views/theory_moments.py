"""The ensemble of iterates beside that of the SDE: loss, norm, a coordinate and tr V over time, their means, the
difference of these, or their variances.

On least squares first and second moments are known exactly, and drawn as lines on which the points must lie.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.maths.theory.moments import Exact, Moments
from sam_dash.maths.theory.problems import Array
from sam_dash.maths.theory.setting import Setting
from sam_dash.results import words
from sam_dash.results.drawing import lines
from sam_dash.results.numbers.statistics import half_width
from sam_dash.results.views.theory import ITERATES, QUALITATIVE, SDE, Theory, colours, exact, said
from sam_dash.results.views.view import View

POINTS = 16  # moments at which the ensembles are drawn
MEAN, VARIANCE, DIFFERENCE = "Mean", "Variance", "Difference"
GAP = f"{ITERATES} − {SDE}"
MOMENTS = (MEAN, DIFFERENCE, VARIANCE)
QUANTITIES = {"f": "<i>f</i>", "x_sq": "‖<i>x</i>‖²", "x1": "<i>x</i><sub>1</sub>", "tr_V": "tr(<i>V</i>)"}
PREFIX = {MEAN: "E", DIFFERENCE: "Difference of E", VARIANCE: "Var"}
PLAIN = {"f": "f", "x_sq": "‖x‖²", "x1": "x₁", "tr_V": "tr V"}


def values(s: Setting, paths: Array) -> dict[str, Array]:
    """What is looked at of the paths (T, E, d): each (T, E)."""
    problem = s.made
    return {
        "f": problem.loss(paths), "x_sq": (paths**2).sum(-1), "x1": paths[..., 0], "tr_V": problem.noise(paths),
    }  # fmt: skip


def known(s: Setting, of: Moments, moment: str) -> dict[str, Array]:
    """What is known exactly of them: the means, and the variance of the coordinate."""
    if moment == VARIANCE:
        return {"x1": of.cov[:, 0, 0]}
    e = Exact(s.least_squares, s.rule, s.draw)
    return {
        "f": of.quadratic(e.loss_form), "x_sq": np.trace(of.second, axis1=1, axis2=2), "x1": of.mean[:, 0],
        "tr_V": of.quadratic(e.noise_form),
    }  # fmt: skip


def estimate(of: Array, moment: str) -> tuple[Array, Array]:
    """Mean or variance over the paths (T, E), and half its 95 % interval, by the central limit theorem.  (T,), (T,)."""
    n = of.shape[1]
    away = of - of.mean(1, keepdims=True)
    square = (away**2).sum(1) / (n - 1)
    if moment == MEAN:
        return of.mean(1), half_width(np.sqrt(square / n), n)
    fourth = (away**4).mean(1)
    return square, half_width(np.sqrt((fourth - square**2).clip(0) / n), n)


def apart(frame: pd.DataFrame) -> list[str]:
    """At how many of the times the simulated difference's interval leaves out 0; the exact one's largest value."""
    out = []
    for panel, of in frame.groupby("panel", sort=False):
        later = of[(of["kind"] == "mean") & (of["x"] > 0)]
        seen = int(((later["low"] > 0) | (later["high"] < 0)).sum())
        truth = of.loc[of["kind"] == "reference", "y"]
        largest = f" The exact difference is at most {words.number(float(truth.abs().max()))}." if len(truth) else ""
        out.append(
            f"{PLAIN[str(panel)]}: the interval of the simulated difference leaves out 0 at {seen} of {len(later)} "
            f"times (one in 20 does by chance).{largest}"
        )
    return out


class TheoryMoments(View[Theory]):
    """Iterates and SDE over time."""

    key, title, page = "theory_moments", "Iterates beside the SDE", "theory"
    drawn_with = ("colour", "dash", "marker", "seed")

    def frame(self, at: Theory) -> pd.DataFrame:
        """A row a quantity, line and time; `reference` rows are exact."""
        s, looks = at.setting, colours(at.setting)
        shown = np.unique(np.linspace(0, s.steps, POINTS).round().astype(int))
        moment = VARIANCE if at.moment == VARIANCE else MEAN
        found: dict[str, tuple[dict[str, tuple[Array, Array]], dict[str, Array]]] = {}
        for k, (line, paths) in enumerate(((ITERATES, at.played.iterates), (SDE, at.played.sde))):
            points = {panel: estimate(of, moment) for panel, of in values(s, paths[shown]).items()}
            found[line] = points, known(s, at.played.exact[k], moment) if at.played.exact else {}
        if at.moment == DIFFERENCE:
            (a, true_a), (b, true_b) = found.values()
            gap = {p: (a[p][0] - b[p][0], np.hypot(a[p][1], b[p][1])) for p in a}
            found = {GAP: (gap, {p: true_a[p] - true_b[p] for p in true_a})}
        rows = []
        for line, (points, truth) in found.items():
            for panel, (y, half) in points.items():
                common = {"panel": panel, **looks.get(line, looks[ITERATES])}
                rows += [
                    {**common, "line": line, "kind": "mean", "x": s.eta * t, "y": a, "low": a - h, "high": a + h,
                     "n": s.members}
                    for t, a, h in zip(shown.tolist(), y.tolist(), half.tolist(), strict=True)
                ]  # fmt: skip
                for t, a in enumerate(truth[panel].tolist() if panel in truth else ()):
                    reference = {"line": exact(line), "kind": "reference", "of": line, "x": s.eta * t, "y": a}
                    rows.append({**common, **reference})
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, "of", *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Theory, columns: int) -> go.Figure:
        """Points are ensembles with intervals, lines are exact; where nothing is exact points are joined."""
        axes = lines.Axes("time <i>t</i> = <i>kη</i>", "t")
        titles = {q: f"{PREFIX[at.moment]} {name}" for q, name in QUANTITIES.items()}
        fig = lines.figure(frame, axes, titles, columns=4, room=columns)
        exact_in = {p: set(frame.loc[(frame["panel"] == p) & (frame["kind"] == "reference"), "of"]) for p in QUANTITIES}
        panels = {f"y{i + 1 if i else ''}": p for i, p in enumerate(dict.fromkeys(frame["panel"]))}
        for trace in fig.data:
            if trace.mode == "lines+markers" and trace.name in exact_in[panels[trace.yaxis or "y"]]:
                trace.mode = "markers"
        return fig.update_layout(legend_title_text="Shown")

    def caption(self, frame: pd.DataFrame, at: Theory) -> str:
        """The ensembles, the exact lines, the setting."""
        s = at.setting
        lined = {VARIANCE: "Lines, of x₁ alone: exact. "}.get(at.moment, "Lines: exact, without simulation. ")
        return (
            f"Points: {s.members} paths each, bars 95 % intervals; Euler and Maruyama take {s.finer} "
            f"step{'s' * (s.finer > 1)} to each η = {s.eta:g}. {lined if at.played.exact else ''}{said(s)} "
            f"{QUALITATIVE.replace('*', '') if s.normalised else ''}"
        ).rstrip()

    def findings(self, frame: pd.DataFrame, at: Theory) -> list[str]:
        """Whether the ensembles lie on the exact lines, and whether iterates and SDE can be told apart at the end."""
        if at.moment == DIFFERENCE:
            return apart(frame)
        points = frame[frame["kind"] == "mean"]
        out = []
        lines_ = frame[frame["kind"] == "reference"].set_index(["panel", "of", "x"])["y"]
        if len(lines_):
            later = points[points["x"] > 0]
            both = later.join(lines_.rename("exact"), on=["panel", "line", "x"]).dropna(subset=["exact"])
            inside, sde = both["exact"].between(both["low"], both["high"]), both["line"] == SDE
            out.append(
                f"The exact value lies in {int(inside[~sde].sum())} of {int((~sde).sum())} of the iterates' intervals "
                f"and in {int(inside[sde].sum())} of {int(sde.sum())} of the simulated SDE's (95 % are expected; those "
                "along one path go together, and Euler and Maruyama have an error of their own)."
            )
        end = points[points["x"] == points["x"].max()].set_index(["panel", "line"])
        for panel in dict.fromkeys(points["panel"]):
            a, b = (end.loc[(panel, line)] for line in (ITERATES, SDE))
            gap = float(a["y"] - b["y"])
            half = math.hypot(float(a["high"] - a["y"]), float(b["high"] - b["y"]))
            word = "a tie" if abs(gap) <= half else "they differ"
            out.append(
                f"{at.moment} of {PLAIN[panel]} at t = {points['x'].max():.4g}: iterates "
                f"{words.number(float(a['y']))}, SDE {words.number(float(b['y']))}; difference {words.number(gap)} "
                f"± {words.number(half)}, {word}."
            )
        return out

    def name(self, at: Theory) -> str:
        """The variant and the moment are in it."""
        return f"theory-{at.setting.variant}-{at.moment.lower()}"


VIEW = TheoryMoments()
