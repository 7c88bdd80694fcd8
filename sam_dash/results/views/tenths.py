"""How RW-SAM's weights are spread over a batch: what each tenth of the samples holds, early, midway and late."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, lines, style
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import rw_weights
from sam_dash.results.views.view import Missing, Selection, StudyView

EQUAL = "equal weights"
PANELS = frozenset(("early", "middle", "late"))
AXES = lines.Axes("tenth, most weighted first", "tenth", logy=PANELS, percent=PANELS)
LEAST = 1e-4  # the end of the axis: less does not count


class Part(NamedTuple):
    """A part of the training: which of its recorded points, and from which epoch to which they reach."""

    points: slice
    first: float
    last: float


def parts(curves: pd.DataFrame) -> dict[str, Part]:
    """The first, the middle and the last tenth of the training; fewer where there are fewer than three points."""
    ends = [0.0, *sorted(curves["epoch"].unique())]
    n = len(ends) - 1
    k = max(1, n // 10)
    out: dict[str, Part] = {}
    for name, at in (("early", 0), ("middle", (n - k) // 2), ("late", n - k)):
        if n and at not in [part.points.start for part in out.values()]:
            out[name] = Part(slice(at, at + k), ends[at], ends[at + k])
    return out


def per_run(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a run, part of the training and tenth: its share, the mean over the steps of that part."""
    joined = runs[["run", "seed", *tables.settings(runs)]].merge(
        curves[curves["quantity"].isin(words.TENTHS)], on="run"
    )
    ends = sorted(joined["epoch"].unique())
    out = []
    for name, part in parts(joined).items():
        of = joined[joined["epoch"].isin(ends[part.points])]
        mean = of.groupby(["run", "seed", *tables.cell(of), "quantity"], dropna=False, sort=False)["value"].mean()
        out.append(mean.reset_index().assign(panel=name))
    frame = pd.concat(out, ignore_index=True) if out else joined.assign(panel="")
    return frame.assign(tenth=frame["quantity"].str.removeprefix("p_tenth@").astype(float))


def frame(table: pd.DataFrame, look: cells.Looks) -> pd.DataFrame:
    """The frame of `lines.figure`: one line a setting, mean over the seeds of `per_run` with its 95 % t-interval."""
    rows: list[dict[str, Any]] = []
    for panel, of in table.groupby("panel", sort=False):
        rows += lines.means(of, look, str(panel), "tenth")
        equal = {"panel": panel, "line": EQUAL, "kind": "reference", "of": "as at λ = 0", "y": 0.1}
        equal |= {"colour": style.GREY, "dash": "dot", "marker": "circle"}
        rows += [equal | {"x": float(tenth)} for tenth in range(1, len(words.TENTHS) + 1)]
    return pd.DataFrame(rows, columns=[*lines.COLUMNS, "of", "rho", *lines.LOOK])


def titles(curves: pd.DataFrame) -> dict[str, str]:
    """For example "Late: epochs 45 to 50"."""
    return {k: f"{k.title()}: epochs {p.first:.3g} to {p.last:.3g}" for k, p in parts(curves).items()}


def figure(frame: pd.DataFrame, titles: dict[str, str], columns: int = 6) -> go.Figure:
    """Panels with one scale, logarithmic from `LEAST` to 1, so that they can be compared."""
    fig = lines.figure(frame, AXES, titles, room=columns)
    fig.update_xaxes(dtick=1, range=[0.5, len(words.TENTHS) + 0.5])
    ticks = [1.0, 0.1, 0.01, 0.001, LEAST]
    ends = [math.log10(LEAST), 0.1]
    fig.update_yaxes(type="log", range=ends, matches="y", tickvals=ticks, ticktext=[f"{100 * t:g}%" for t in ticks])
    return fig


def caption(study: Study, table: pd.DataFrame, frame: pd.DataFrame) -> str:
    """What a point is, and what alone makes weights unequal."""
    batch = study.spec.training.batch
    border = "" if batch % 10 == 0 else ", and a sample on a border counts to both sides"
    noisy = "One-probe norms are noisy, which alone makes weights unequal. "
    probe = noisy if "one-probe" in set(table["norms"]) else ""
    return (
        f"The samples of each batch are sorted by weight at every step; a tenth is {batch / 10:g} of B = {batch}"
        f"{border}. Means over the steps of the epochs named and over {captions.over(frame)}. "
        f"Less than {words.per_cent(LEAST, 2)} is off the scale. Dotted: equal weights. {probe}"
        f"{captions.setting(study.spec)}. {captions.radius(frame)}"
    )


def findings(table: pd.DataFrame, look: cells.Looks) -> list[str]:
    """What the most weighted tenth and the less weighted half hold, early and late, paired by seed."""
    out = []
    told = tables.cell(table)
    for key, of in table.groupby(told, dropna=False, sort=False):
        line = look[dict(zip(told, key, strict=True))]["line"]
        ends = list(dict.fromkeys(of["panel"]))
        shares = of.set_index(["panel", "seed"])
        top = shares[shares["tenth"] == 1]["value"]
        half = shares[shares["tenth"] > 5].groupby(level=["panel", "seed"])["value"].sum()
        early, late = (words.per_cent(statistics.mean(top[end]).mean) for end in (ends[0], ends[-1]))
        lower = f"the less weighted half {words.per_cent(statistics.mean(half[ends[-1]]).mean, 1)}"
        if len(ends) == 1:
            out.append(f"{line}: the most weighted tenth holds {early} of the weight, {lower}.")
            continue
        d = statistics.paired(dict(top[ends[-1]]), dict(top[ends[0]]))
        change = (
            f"{words.points(d.mean)} points [{words.points(d.low, '')}, {words.points(d.high, '')}]"
            if d.excludes(0)
            else "a tie"
        )
        note = f"{change}, paired, n = {d.n}" if d.n > 1 else "one seed: no interval"
        out.append(
            f"{line}: the most weighted tenth holds {early} of the weight early and {late} late ({note}); "
            f"late, {lower}."
        )
    return out


class Tenths(StudyView):
    """The weight of each tenth of a batch, of the runs that `rw_weights.VIEW` shows."""

    key, title, page = "tenths", "What each tenth of the batch holds of RW-SAM's weight", "rw_sam"

    def curves(self, at: Selection) -> pd.DataFrame:
        """As many points as the weights have."""
        return at.curves(words.TENTHS, rw_weights.points(at.study))

    def table(self, at: Selection) -> pd.DataFrame:
        """See `per_run`."""
        return per_run(self.curves(at), rw_weights.chosen(at))

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`."""
        return frame(self.table(at), at.look)

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """Three panels, or where their titles would not fit one below the other."""
        return figure(frame, titles(self.curves(at)), columns if columns == 6 else 1)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(at.study, self.table(at), frame)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`."""
        return findings(self.table(at), at.look)

    def missing(self, at: Selection) -> Missing:
        """Newer runs have it."""
        sweep = further.extended(at.study, variants=("rwsam",), m=(), seeds=further.seeds(at.study))
        return Missing(
            "How the weights are spread was not recorded in this study",
            "RW-SAM runs made with this version record at every step what each tenth of the batch holds of the weight.",
            {f"Set up RW-SAM with {further.seeds_text(sweep)}": sweep},
        )


VIEW = Tenths()
