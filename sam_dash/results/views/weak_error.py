"""The weak error of the SDE on least squares, exactly: over the step length at the radius chosen, over the radius at
the step length chosen, each with its fitted order.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.maths.theory import weak
from sam_dash.maths.theory.moments import Exact
from sam_dash.maths.theory.moments import at as start_at
from sam_dash.maths.theory.sde import Rule
from sam_dash.maths.theory.setting import Setting
from sam_dash.results import words
from sam_dash.results.drawing import lines, style
from sam_dash.results.numbers.orders import order
from sam_dash.results.numbers.statistics import Mean
from sam_dash.results.views.theory import Theory, named, said
from sam_dash.results.views.view import View

TIME = 2.0  # up to which iterates and SDE are compared
ETAS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002)
RHOS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FITTED = 0.02  # radii up to which an order in rho is fitted: beyond, higher powers are seen
MEAN, SECOND, COV = "mean", "second moments", "covariance (relative)"
FLAT, TANGENT = "covariance, diffusion at ρ = 0", "covariance, diffusion to order ρ"
ETA, RHO = "eta", "rho"
LOOKS = {
    MEAN: (style.ORDERED[0], "solid", "circle"), SECOND: (style.ORDERED[2], "solid", "square"),
    COV: (style.ORDERED[5], "solid", "diamond"), FLAT: (style.ORDERED[7], "dash", "x"),
    TANGENT: (style.ORDERED[6], "dot", "triangle-up"),
}  # fmt: skip
TITLES = {ETA: "over the step length <i>η</i>", RHO: "over the radius <i>ρ</i>"}


def over_eta(s: Setting) -> list[tuple[str, float, float]]:
    """line, eta, error at the radius of the setting; step lengths at which the second moments grow are left out."""
    exact, out = Exact(s.least_squares, s.rule, s.draw), []
    for eta in ETAS:
        if exact.growth(eta) >= 1:
            continue
        start, steps = start_at(s.start), round(TIME / eta)
        iterates = exact.iterates(start, eta, steps)
        found = weak.distance(iterates, exact.sde(start, eta, steps))
        out += [(name, eta, y) for name, y in zip((MEAN, SECOND, COV), found, strict=True)]
        out.append((FLAT, eta, weak.distance(iterates, exact.sde(start, eta, steps, "rho = 0")).cov))
    return out


def over_rho(s: Setting) -> list[tuple[str, float, float]]:
    """line, rho, error at the step length of the setting.

    Of a diffusion cut short, what it leaves as eta goes to 0: the distance of its covariance from that of the whole.
    """
    out, start, steps = [], start_at(s.start), max(1, round(TIME / s.eta))
    for rho in RHOS:
        exact = Exact(s.least_squares, Rule(rho, s.of_all), s.draw)
        if exact.growth(s.eta) >= 1:
            continue
        whole = exact.sde(start, s.eta, steps)
        found = weak.distance(exact.iterates(start, s.eta, steps), whole)
        out += [(name, rho, y) for name, y in zip((MEAN, COV), (found.mean, found.cov), strict=True)]
        fine = exact.sde(start, FINE, round(TIME / FINE))
        for name, kind in ((FLAT, "rho = 0"), (TANGENT, "first order")):
            cut = exact.sde(start, FINE, round(TIME / FINE), kind)  # type: ignore[arg-type]
            out.append((name, rho, weak.distance(fine, cut).cov))
    return out


FINE = 1e-3  # the step length that stands for 0


def orders(frame: pd.DataFrame) -> dict[tuple[str, str], Mean]:
    """The fitted order of every line of every panel."""
    out = {}
    for (panel, line), of in frame.groupby(["panel", "line"], sort=False):
        used = of[of["x"] <= FITTED] if panel == RHO else of
        out[str(panel), str(line)] = order(used["x"].tolist(), used["y"].tolist())
    return out


def fitted(m: Mean) -> str:
    """For example "1.00 [0.99, 1.01]"."""
    return f"{m.mean:.2f} [{m.low:.2f}, {m.high:.2f}]".replace("-", "\N{MINUS SIGN}")


class WeakError(View[Theory]):
    """How far the SDE's moments are from those of the iterates."""

    key, title, page = "weak_error", "Weak error of the SDE", "theory"
    drawn_with = ("colour", "dash", "marker", "seed", "kind", "low", "high", "n")
    silent = "Only on least squares, and for the forms that are not normalised, are the moments known exactly."

    def frame(self, at: Theory) -> pd.DataFrame:
        """A row a panel, line and step length or radius; empty where there are no exact moments."""
        s = at.setting
        rows = []
        for panel, found in ((ETA, over_eta(s)), (RHO, over_rho(s))) if s.exact else ():
            for line, x, y in found:
                look = dict(zip(lines.LOOK, LOOKS[line], strict=True))
                if y > 1e-13:  # what is less is rounding
                    rows.append({"panel": panel, "line": line, "kind": "mean", "x": x, "y": y, **look})
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Theory, columns: int) -> go.Figure:
        """All axes logarithmic."""
        axes = lines.Axes("", "x", log2=True, logy=frozenset({ETA, RHO}))
        fig = lines.figure(frame, axes, TITLES, columns=2, room=columns).update_layout(legend_title_text="Error of the")
        for i, panel in enumerate(dict.fromkeys(frame["panel"])):
            title = f"{TITLES[panel].removeprefix('over the ')} (log scale)"
            ticks = [t for t in sorted(set(frame.loc[frame["panel"] == panel, "x"])) if _labelled(t)]
            axis = fig.layout[f"xaxis{i + 1 if i else ''}"]
            axis.update(title={"text": title, "standoff": 6}, tickvals=ticks, ticktext=[f"{t:g}" for t in ticks])
        return fig

    def caption(self, frame: pd.DataFrame, at: Theory) -> str:
        """What each line is."""
        s = at.setting
        return (
            f"Largest distance up to t = {TIME:g} between exact moments, without simulation: E x; E x xᵀ; and Cov x "
            "over the largest Cov x, as second moments alone hide a wrong diffusion, which is of order η itself. Left: "
            f"ρ = {s.rho:g}. Right: η = {s.eta:g} for the mean and the covariance; dashed and dotted, what a diffusion "
            "that leaves out powers of ρ is off by however small η is. Step lengths and radii at which second moments "
            f"grow without bound are left out. {said(s)}"
        )

    def findings(self, frame: pd.DataFrame, at: Theory) -> list[str]:
        """Sizes at the setting, and orders."""
        if frame.empty:
            return []
        s, of = at.setting, orders(frame)
        here = weak.error(s.least_squares, s.rule, s.draw, s.eta, s.start, TIME)
        out = [headline(s, here, of)]
        second, cov = of.get((ETA, SECOND)), of.get((ETA, COV))
        if second and cov and cov.n:
            out.append(
                f"Second moments: order {fitted(second)}; their covariance, relative to its size: order {fitted(cov)}."
            )
        if s.rho and (flat := of.get((ETA, FLAT))) and flat.n:
            least = frame[(frame["panel"] == ETA) & (frame["line"] == FLAT)].sort_values("x").iloc[0]
            out.append(
                f"With the diffusion at ρ = 0 the covariance does not get right: it is off by "
                f"{words.per_cent(least['y'], 1)} even at η = {least['x']:g}."
            )
        cut = [(name, of.get((RHO, name))) for name in (FLAT, TANGENT)]
        told = [f"“{name}” {fitted(m)}" for name, m in cut if m and m.n]
        if told:
            out.append(
                f"What is left of a diffusion cut short has, in ρ up to {FITTED:g}, the order {'; '.join(told)}."
            )
        return out

    def name(self, at: Theory) -> str:
        """The variant is in it."""
        return f"weak-error-{at.setting.variant}"


def headline(s: Setting, here: weak.Weak, of: dict[tuple[str, str], Mean]) -> str:
    """The sentence that the numbers support most."""
    fit = of.get((ETA, MEAN))
    size = words.number(float(here.mean))
    away = words.per_cent(here.mean / float(np.linalg.norm(s.start)), 1)
    end = f"; over η its error has order {fitted(fit)}" if fit and fit.n else ""
    at_eta = f"{named(s)}: at η = {s.eta:g} the SDE’s mean is off by at most {size}"
    return f"{at_eta}, {away} of the start’s distance from 0{end}."


def _labelled(x: float) -> bool:
    """Whether x is a power of ten."""
    return bool(np.isclose(np.log10(x) % 1, [0, 1]).any())


VIEW = WeakError()
