"""m-sharpness of the final weights: over the m of the measurement, one line for each m of the training.

Its size falls by orders of magnitude with m_eval, so that the lines of a study lie on each other: beside it stands each
one's ratio to SGD, within each seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, lines
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.view import Missing, Selection, StudyView
from sam_dash.runs.measures.m_sharpness import RHO

BASE = "m_sharp@"
VALUE, RATIO = "m_sharp", "ratio"
TITLES = {VALUE: "<i>m</i>-sharpness of the final weights", RATIO: "over that of SGD, same seed"}
AXES = lines.Axes(
    "<i>m</i> of the measurement, <i>m</i><sub>eval</sub> (log₂ scale)",
    "m_eval",
    log2=True,
    logy=frozenset({VALUE}),
    one=RATIO,
)


def frame(finals: pd.DataFrame, runs: pd.DataFrame, look: cells.Looks, interval: str = "ci") -> pd.DataFrame:
    """Mean, interval and seeds of every cell at every m_eval; in the panel `RATIO` geometric, over SGD's."""
    wanted = [q for q in dict.fromkeys(finals["quantity"]) if q.startswith(BASE)]
    table = tables.summary(finals, runs, wanted, interval)
    rows = []
    for r in tables.records(table):
        at = {"panel": VALUE, "x": float(r["quantity"].removeprefix(BASE)), "m_train": r["m"]}
        named = {k: look[r][k] for k in ("line", *lines.LOOK)}
        kept = ("variant", "kind", "seed", "y", "low", "high", "n", "stderr", "run")
        rows.append(named | at | {k: r[k] for k in kept})
    rows += list(_ratios(rows, interval))
    columns = [*lines.COLUMNS, "variant", "m_train", "stderr", "run", *lines.LOOK]
    return pd.DataFrame(rows, columns=columns)


def _ratios(rows: list[dict[str, Any]], interval: str) -> Iterator[dict[str, Any]]:
    """The rows of the panel `RATIO`; none without SGD."""
    seeds = [r for r in rows if r["kind"] == "seed" and r["y"] > 0]
    sgd = {(r["x"], r["seed"]): r["y"] for r in seeds if r["variant"] == "sgd"}
    for mean in (r for r in rows if r["kind"] == "mean" and r["variant"] != "sgd"):
        at = [r for r in seeds if (r["line"], r["x"]) == (mean["line"], mean["x"]) and (r["x"], r["seed"]) in sgd]
        each = [r | {"panel": RATIO, "y": r["y"] / sgd[r["x"], r["seed"]], "stderr": math.nan} for r in at]
        if each:
            m = statistics.geometric([r["y"] for r in each], interval)
            yield mean | {"panel": RATIO, "n": m.n, "stderr": math.nan, "y": m.mean, "low": m.low, "high": m.high}
            yield from each


def caption(study: Study, table: pd.DataFrame, interval: str = "ci") -> str:
    """What the two m are, how it was measured, over how many seeds."""
    ratio = " Right: the ratio to SGD within each seed, geometric means." if RATIO in set(table["panel"]) else ""
    return (
        f"Mean over {captions.over(table, interval)}. The horizontal axis is "
        "the micro-batch size that the *finished* weights are measured with; the lines are the sizes they were trained "
        f"with. One ascent step of ρ = {RHO:g} per disjoint micro-batch, whatever ρ the training had: a lower bound of "
        f"the largest rise within that radius.{ratio} {captions.setting(study.spec)}. {captions.radius(study.finals)}"
    )


def findings(table: pd.DataFrame) -> list[str]:
    """At the smallest and the largest m_eval: for which training it is smallest and largest, seed by seed."""
    out = []
    table = table[table["panel"] == VALUE]
    for at in sorted({min(table["x"]), max(table["x"])}) if len(table) else []:
        seeds = table[(table["x"] == at) & (table["kind"] == "seed")]
        by = {str(k): dict(zip(v["seed"], v["y"], strict=True)) for k, v in seeds.groupby("line", sort=False)}
        if len(by) > 1:
            what = f"Measured at m = {at:g}, the m-sharpness is"
            out.append(statistics.extremes(by, what, lambda v: words.number(v, keep=True)))
    return out


class MSharpness(StudyView):
    """m-sharpness over m_eval, of what is not swept over λ."""

    key, title, page = "m_sharpness", "m-sharpness over the m of the measurement", "sharpness"

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`."""
        return frame(*tables.without_swept(at.finals, at.runs, "lam"), at.look, at.interval)

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """The values, and their ratios to SGD's."""
        return lines.figure(frame, AXES, TITLES, room=columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(at.study, frame, at.interval)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`."""
        return findings(frame)

    def missing(self, at: Selection) -> Missing:
        """A measurement of its own."""
        return Missing(
            "m-sharpness was not measured in this study",
            "It is the mean rise of a micro-batch's loss after one ascent step, at every m that divides B. "
            + further.ANEW,
            {"Set up this study with m-sharpness": further.extended(at.study, measures={"what": ("m_sharpness",)})},
        )


VIEW = MSharpness()
