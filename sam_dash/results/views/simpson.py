"""Sharpness against accuracy: pooled, within each variant, and within cells, so that Simpson's paradox shows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, columns
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.views import matched, matched_figure
from sam_dash.results.views.view import Missing, Selection, StudyView

POOLED = "All runs pooled"
FEWEST = 4  # runs that a correlation wants
COLUMNS = ["group", "r", "low", "high", "n"]


def correlations(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Pearson's r with Fisher's interval: over all runs, over those of each variant, over seeds within cells."""
    of = table.dropna(subset=[x, y])
    rows = [[POOLED, *statistics.correlation(of[x], of[y])]]
    for variant, part in of.groupby("variant", sort=False):
        if len(part) > 3:
            rows.append([f"Within {words.title(str(variant))}", *statistics.correlation(part[x], part[y])])
    labels = [str(cells.key_of(r)) for r in tables.records(of)]
    rows.append(["Within settings (seeds only)", *statistics.correlation(of[x], of[y], labels)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _sure(row: dict[str, Any]) -> bool:
    return statistics.excludes(row["low"], row["high"])


def shown(table: pd.DataFrame, y: str) -> pd.DataFrame:
    """For people."""
    out, best = [], "more accurate" if y == "test_acc" else "better"
    for r in tables.records(table):
        told = f"{'sharper' if r['r'] * words.better(y) > 0 else 'flatter'} is {best}"
        told = told if _sure(r) else "not told from 0" if r["low"] == r["low"] else "no interval"
        row = {"Runs": r["group"], "Pearson's r": r["r"], columns.LOW: r["low"], columns.HIGH: r["high"]}
        out.append(row | {"n": r["n"], "Reading": told})
    return pd.DataFrame(out)


def reading(table: pd.DataFrame, x: str, y: str) -> str:
    """Whether pooled and within agree; the sentence says which sign holds where."""
    sure = {str(r["group"]): r["r"] > 0 for r in tables.records(table) if _sure(r)}
    name, pooled = words.quantity(x).name, sure.pop(POOLED, None)
    score = words.within(y)
    if pooled is None:
        return f"Pooled over all runs, {name} and {score} are not told from uncorrelated."
    against = captions.listed(g[0].lower() + g[1:] for g, up in sure.items() if up != pooled)
    same = captions.listed(g[0].lower() + g[1:] for g, up in sure.items() if up == pooled)
    text = f"Pooled over all runs, {name} and {score} are {'positively' if pooled else 'negatively'} correlated"
    if against:
        return f"{text}, but the sign is the opposite {against}: here the pooled number misleads (Simpson's paradox)."
    return (
        f"{text}, and so are they {same}." if same else f"{text}; within variants and settings nothing is told from 0."
    )


class Correlation(StudyView):
    """Accuracy over sharpness of the runs that did not collapse. Option: `x`, a sharpness; the first measured."""

    key, title, page = "correlation", "Sharpness and accuracy", "matched"
    drawn_with = tuple(matched.LOOK)

    def x(self, at: Selection) -> str:
        """The sharpness chosen; "" where none was measured."""
        have = set(at.finals["quantity"])
        return str(at.options.get("x") or next((q for q in ("tr_H", "lam_max", "tr_V") if q in have), ""))

    def y(self, at: Selection) -> str:
        """The score on the test set."""
        return words.scored("test_acc", set(at.finals["quantity"]))

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `matched.scatter`; empty where fewer than `FEWEST` runs have both."""
        x, table = self.x(at), matched_figure.table(at)
        few = not {x, self.y(at)} <= set(table) or table[x].notna().sum() < FEWEST
        return pd.DataFrame() if few else matched.scatter(at.study, table, x, self.y(at))

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """See `matched_figure.figure`."""
        return matched_figure.figure(frame, self.x(at), self.y(at), columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `matched.scatter_caption`."""
        return matched.scatter_caption(at.study, frame)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `reading`."""
        x, y = self.x(at), self.y(at)
        return [reading(correlations(matched_figure.table(at), x, y), x, y)]

    def alt(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The axes and the reading."""
        y, x = (words.quantity(key).name for key in (self.y(at), self.x(at)))
        return f"{y} against {x}, run by run. {' '.join(found)}"

    def missing(self, at: Selection) -> Missing:
        """The trace, the cheapest."""
        sweep = further.extended(at.study, measures={"what": ("trace",)})
        title, wanted = "Fewer than four runs with a sharpness", {"Set up this study with tr(H)": sweep}
        return Missing(title, "A correlation wants more.", wanted)

    def name(self, at: Selection) -> str:
        """The sharpness is in it."""
        return f"correlation-{self.x(at)}-{at.study.id[:6]}"


VIEW = Correlation()
