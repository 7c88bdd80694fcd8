"""The mean of h at the start, over all micro-batches, against the gradient that is predicted, over the radius."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.maths.theory import prediction
from sam_dash.maths.theory.sde import Rule
from sam_dash.maths.theory.setting import Setting
from sam_dash.results import words
from sam_dash.results.drawing import lines, style
from sam_dash.results.numbers.orders import order
from sam_dash.results.numbers.statistics import NORMAL
from sam_dash.results.views.theory import Theory, named, said
from sam_dash.results.views.view import View

RHOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FITTED = 0.1  # radii up to which an order is fitted
FULL, WITHOUT, PLAIN = "∇(f + ρ/2 ‖∇f‖² + ρ/(2m) tr V)", "without tr V", "∇f alone"
ALONE = "∇(f + ρ/2 ‖∇f‖²)"  # of n-USAM, which has no tr V
LOOKS = {
    FULL: (style.ORDERED[0], "solid", "circle"), ALONE: (style.ORDERED[0], "solid", "circle"),
    WITHOUT: (style.ORDERED[7], "dash", "diamond"), PLAIN: (style.GREY, "dot", "square"),
}  # fmt: skip


class PredictedGradient(View[Theory]):
    """‖E[h] − predicted‖ over rho."""

    key, title, page = "predicted_gradient", "The mean step against its prediction", "theory"
    drawn_with = ("colour", "dash", "marker", "seed", "kind", "panel")
    silent = "A SAM form has no prediction in closed form."

    def frame(self, at: Theory) -> pd.DataFrame:
        """A row a line and radius; empty for a SAM form. `n`: micro-batches."""
        s, rows = at.setting, []
        for rho in RHOS if not s.normalised else ():
            found = prediction.prediction(s.made, s.start, Rule(rho, s.of_all), s.draw, s.seed)
            noise = float(np.linalg.norm(found.stderr))
            each = {ALONE: found.full} if s.of_all else {FULL: found.full, WITHOUT: found.without}
            for line, away in (each | {PLAIN: found.plain}).items():
                y = float(np.linalg.norm(away))
                if y > 1e-13:  # what is less is rounding
                    ends = {"low": y - NORMAL * noise, "high": y + NORMAL * noise} if noise else {"low": y, "high": y}
                    look = dict(zip(lines.LOOK, LOOKS[line], strict=True))
                    rows.append({"panel": "p", "line": line, "kind": "mean", "x": rho, "y": y, "n": found.budget}
                                | ends | look)  # fmt: skip
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Theory, columns: int) -> go.Figure:
        """Both axes logarithmic."""
        axes = lines.Axes("<i>ρ</i> (log scale)", "ρ", log2=True, logy=frozenset({"p"}))
        titles = {"p": "‖E <i>h</i> − predicted‖"}
        return lines.figure(frame, axes, titles, columns=1, room=columns).update_layout(
            legend_title_text="Predicted by"
        )

    def caption(self, frame: pd.DataFrame, at: Theory) -> str:
        """Where, over how many micro-batches."""
        s = at.setting
        start = ", ".join(words.number(v) for v in s.start)
        n = int(frame["n"].max()) if len(frame) else 0
        how = (
            "the full batch" if s.of_all else f"all {n:,} micro-batches, exactly" if _exact(s)
            else f"{n:,} micro-batches drawn at random; bars 95 % intervals"
        )  # fmt: skip
        return f"At the start ({start}). E h over {how}. {said(s)}"

    def findings(self, frame: pd.DataFrame, at: Theory) -> list[str]:
        """The orders in rho, and the radius from which the term in tr V makes the prediction worse."""
        s = at.setting
        if frame.empty:
            return []
        lines_ = {str(k): of.set_index("x")["y"] for k, of in frame.groupby("line", sort=False)}
        out = []
        right = ALONE if s.of_all else FULL
        found = {line: order(*_small(of)) for line, of in lines_.items()}
        told = {k: f"{m.mean:.2f} [{m.low:.2f}, {m.high:.2f}]" for k, m in found.items() if m.n}
        if right not in lines_:
            out.append(f"{named(s)}: the predicted mean step is exact at every ρ, to rounding: steps are affine in x.")
        elif right in told:
            less = f", without tr V to order {told[WITHOUT]}" if WITHOUT in told else ""
            out.append(f"{named(s)}: the mean step is predicted to order {told[right]} in ρ{less}.")
        elif WITHOUT in told:
            out.append(f"Without tr V it is right to order {told[WITHOUT]} in ρ.")
        if right in lines_ and WITHOUT in lines_:
            out.append(worse(lines_[FULL], lines_[WITHOUT]))
        return out

    def name(self, at: Theory) -> str:
        """The problem is in it."""
        return f"predicted-gradient-{at.setting.problem.replace('_', '-')}"


def _small(of: pd.Series) -> tuple[list[float], list[float]]:
    """The radii and values that an order is fitted to."""
    small = of[of.index <= FITTED]
    return small.index.tolist(), small.tolist()


def worse(full: pd.Series, without: pd.Series) -> str:
    """From which radius on the term in tr V makes the prediction worse, between two of those looked at."""
    ratio = (full / without).dropna().map(math.log)
    above = ratio.index[ratio > 0]
    if not len(above):
        return f"The term in tr V makes the prediction better at every ρ up to {ratio.index.max():g}."
    first = float(above.min())
    before = ratio[ratio.index < first]
    if before.empty:
        return f"The term in tr V makes the prediction worse already at ρ = {first:g}, the smallest looked at."
    low, a, b = float(before.index.max()), float(before.iloc[-1]), float(ratio[first])
    cross = math.exp(math.log(low) + (math.log(first) - math.log(low)) * -a / (b - a))
    again = " (it helps again at a larger one)" if (ratio[ratio.index > first] < 0).any() else ""
    return f"Beyond ρ ≈ {words.number(cross, 2)} the term in tr V makes the prediction worse{again}."


def _exact(s: Setting) -> bool:
    return prediction.count(s.draw) <= prediction.MOST


VIEW = PredictedGradient()
