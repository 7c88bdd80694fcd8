"""The race of a decision: each SAM finalist against every base finalist, over the fresh seeds seen so far."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go

from sam_dash.decide.record import Decision
from sam_dash.results import answer, words
from sam_dash.results.drawing import captions, lines, panels, style
from sam_dash.results.views.view import View

PLANNED = "planned"  # a look that may come: a place on the axis


def shortened(names: Iterable[str]) -> dict[str, str]:
    """The settings without what they have in common: "lr = 0.1, weight decay = 0, 20 epochs" as "weight decay = 0"."""
    parts = {name: name.split(", ") for name in names}
    common = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    return {name: ", ".join(p for p in of if p not in common) or name for name, of in parts.items()}


def look(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colour, dash and marker of each base finalist."""
    dashes, marks = list(style.DASHES), style.COMMON
    return {
        name: {"colour": style.ORDERED[(0, 4, 7)[i]], "dash": dashes[i], "marker": marks[i]}
        for i, name in enumerate(names)
    }


class Race(View[Decision]):
    """Differences with their intervals at every look, a panel a SAM finalist."""

    key, title, page = "race", "The race of the finalists", "decide"
    drawn_with = ("colour", "dash", "marker", "panel", "kind", "seed")
    silent = "The finalists are not known yet: both families are being explored."

    def frame(self, at: Decision) -> pd.DataFrame:
        """A row a look and pair, and one for each look that was planned."""
        if at.plan is None or not at.looks:
            return pd.DataFrame(columns=[*lines.COLUMNS, *lines.LOOK, "sam"])
        bases, sams = shortened(at.plan.base), shortened(at.plan.sam)
        looks = look(at.plan.base)
        common = {"line": next(iter(bases.values())), **looks[at.plan.base[0]], "y": math.nan, "low": math.nan}
        rows: list[dict[str, object]] = [
            {"panel": sam, "kind": PLANNED, "x": n, "sam": sam} | common for sam in at.plan.sam for n in at.plan.bounds
        ]
        rows += [
            {"panel": p.sam, "line": bases[p.base], "kind": "mean", "x": of.n, "y": p.mean, "low": p.low,
             "high": p.high, "n": p.n, "sam": sams[p.sam]} | looks[p.base]
            for of in at.looks for p in of.pairs if math.isfinite(p.half)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, *lines.LOOK, "sam"])

    def figure(self, frame: pd.DataFrame, at: Decision, columns: int) -> go.Figure:
        """Dotted lines at 0 and at the margin, whatever the range."""
        assert at.plan is not None
        names = list(dict.fromkeys(frame["panel"]))
        fraction = frozenset(names) if words.is_fraction(f"test_{at.score}") else frozenset()
        axes = lines.Axes("fresh seeds (log scale)", "seeds", log2=True, percent=fraction, points=fraction)
        titles = {sam: f"{short} − base" for sam, short in shortened(at.plan.sam).items()}
        fig = lines.figure(frame, axes, titles, columns=3, room=columns)
        for i in range(len(names)):
            panels.level(fig, i, 0.0)
            panels.level(fig, i, at.margin)
        return fig.update_layout(legend_title_text="Base")

    def caption(self, frame: pd.DataFrame, at: Decision) -> str:
        """What an interval is, and when there is an answer."""
        assert at.plan is not None
        score = f"test_{at.score}"
        told, sd = (words.show(score, value, True) for value in (at.margin, at.plan.sd))
        return (
            f"Gain in {words.within(score)} by seed, SAM finalist over base finalist; dotted: 0 and the margin, "
            f"{told}. Bars: mean ± c[n] sd/√n, wide at first because one may stop at any look (all looks together err "
            f"in 5 % at most). Planned before the first of these seeds: {at.plan.N} pairs, from an sd of {sd}. Yes: an "
            "interval above 0 against every base finalist. Out: one below the margin, or a collapse. The seeds are "
            "others than those that chose the finalists."
        )

    def findings(self, frame: pd.DataFrame, at: Decision) -> list[str]:
        """The answer or where it stands; who is out, and why."""
        if at.plan is None:
            return []
        names = shortened(at.plan.sam)
        out = [at.sentence or standing(at)]
        for of in at.looks:
            for sam, why in of.out.items():
                worst = min((p for p in of.pairs if p.sam == sam), key=lambda p: p.high)
                told = why if worst.collapsed else f"{answer.interval(worst, at.score)} is below the margin"
                out.append(f"{names[sam]} is out after {of.n} seeds: {told}.")
        return out


def standing(at: Decision) -> str:
    """How far a decision without an answer has come."""
    if at.plan is None:
        return Race.silent
    if not at.looks:
        return f"{captions.listed(at.plan.sam)} go into the race; no look yet, {at.plan.N} pairs are planned."
    last, names = at.looks[-1], shortened(at.plan.sam)
    told = []
    for sam in at.plan.sam:
        pairs = [p for p in last.pairs if p.sam == sam and sam not in last.out]
        if pairs:
            closest = min(pairs, key=lambda p: p.mean)
            told.append(f"{names[sam]}: {answer.interval(closest, at.score)}")
    left = "; ".join(told) or "none left"
    return f"After {last.n} of {at.plan.N} pairs, over the base finalist that is closest: {left}."


VIEW = Race()
