"""How unequal RW-SAM's weights are over the training; at lambda = 0 they are equal."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import cells, lines
from sam_dash.results.numbers import further, recorded, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import dynamics
from sam_dash.results.views.view import Missing, Selection, StudyView

QUANTITIES = ("ess", "p_max", "p_top")
AXES = lines.Axes("epoch", "epoch", percent=frozenset(("p_max", "p_top")))


def weighted(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished RW-SAM runs that weight at all."""
    return runs[(runs["variant"] == "rwsam") & (runs["status"] == "done") & (runs["lam"] > 0)]


def points(study: Study) -> int:
    """Points of a curve: one an epoch, ten at least."""
    return max(10, study.spec.training.epochs)


def frame(study: Study, curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The frame of `lines.figure`, of the runs of `weighted`; empty where the weights were not recorded."""
    return dynamics.frame(study, curves, [q for q in QUANTITIES if (curves["quantity"] == q).any()], runs=runs)


def titles(batch: int) -> dict[str, str]:
    """The titles of the panels."""
    ess = f"Effective sample size 1/Σ<i>p</i>² (of B = {batch})"
    return {"ess": ess, "p_max": "Largest weight", "p_top": "Weight of the top tenth"}


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What the three numbers are, and what they are of equal weights."""
    batch = study.spec.training.batch
    tenth = max(1, round(batch / 10)) / batch
    widths = recorded.widths(study, list(dict.fromkeys(frame["panel"])), points(study))
    return (
        f"The weights p of a batch of B = {batch} in three numbers: effective sample size, largest weight, and what "
        f"the largest tenth sum to (equal weights: {batch}, {words.per_cent(1 / batch, 1)}, {words.per_cent(tenth)}). "
        f"{dynamics.caption(study, frame, 'Epoch', 0, widths)}"
    )


def findings(study: Study, curves: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Effective sample size at the start and over the last tenth of the training, per setting."""
    of = curves[curves["quantity"] == "ess"].merge(runs, on="run", suffixes=("", "_run"))
    look = cells.of(study, runs)
    out = []
    told = tables.cell(of)
    parts = {
        cells.key_of(dict(zip(told, key, strict=True))): part
        for key, part in of.groupby(told, dropna=False, sort=False)
    }
    for row in (row for row in look if cells.key_of(row) in parts):
        part = parts[cells.key_of(row)]
        early = part[part["epoch"] <= max(1.0, part["epoch"].min())]
        first = statistics.mean(early.groupby("run")["value"].mean())
        late = part[part["epoch"] >= 0.9 * part["epoch"].max()]
        last = statistics.mean(late.groupby("run")["value"].mean())
        level = "95 %, " if last.n > 1 else ""
        out.append(
            f"{row['line']}: effective sample size {_number(first)} in the first epoch, {_number(last)} over the "
            f"last tenth of the training ({level}n = {last.n})."
        )
    return out


def _number(mean: statistics.Mean) -> str:
    """With its interval, where it has one: "5.80 [5.12, 6.48]"."""
    values = [words.number(v, keep=True) for v in (mean.mean, mean.low, mean.high)]
    return f"{values[0]} [{values[1]}, {values[2]}]" if mean.n > 1 else values[0]


def chosen(at: Selection) -> pd.DataFrame:
    """The runs of `weighted` among those without micro-batches."""
    return weighted(tables.at_full_batch(at.runs, at.batch))


class Weights(StudyView):
    """How RW-SAM weighs samples, of the runs of `weighted`."""

    key, title, page = "weights", "RW-SAM's weights over the epochs", "rw_sam"

    def curves(self, at: Selection) -> pd.DataFrame:
        """A point an epoch."""
        return at.curves(QUANTITIES, points(at.study))

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`."""
        return frame(at.study, self.curves(at), chosen(at))

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """Three panels, or where their titles would not fit one below the other."""
        return lines.figure(frame, AXES, titles(at.batch), columns=3 if columns == 6 else 1, room=columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(at.study, frame)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`."""
        return findings(at.study, self.curves(at), chosen(at))

    def missing(self, at: Selection) -> Missing:
        """RW-SAM at a λ that weights."""
        sweep = further.extended(at.study, variants=("rwsam",), m=(), knobs={"lam": (0.25, 0.5, 1.0)})
        return Missing(
            "The weights were not recorded in this study", "Runs of RW-SAM with λ > 0 record them at every step.",
            {"Set up RW-SAM at λ = 0.25, 0.5 and 1": sweep},
        )  # fmt: skip


VIEW = Weights()
