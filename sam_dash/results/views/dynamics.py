"""Curves over training: the mean over seeds of each cell, over epochs, steps, seconds or gradient evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, facets, lines
from sam_dash.results.numbers import recorded, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.view import Selection, StudyView
from sam_dash.runs import cost
from sam_dash.runs.recording import RecordedRun
from sam_dash.runs.spec import SpecError

X = {
    "Epoch": ("epoch", "epoch"),
    "Step": ("step", "step"),
    "Seconds": ("seconds", "seconds of training, spread evenly over its steps"),
    "Gradient evaluations": ("gradients", "mini-batch gradient evaluations"),
}
FEW = 20  # points below which a curve is never smoothed: it would only lag behind


def has_curve(quantity: str) -> bool:
    """Whether it can have been recorded along the way, as one number a run."""
    return "@" not in quantity and not quantity.startswith("gap_") and not quantity.endswith(("_pyhessian", "_seconds"))


def usual_clock(study: Study) -> str:
    """The key of `X` that is drawn over unless another is chosen: epochs, where they are known."""
    return "Epoch" if not study.recorded or recorded.steps_per_epoch(study) > 0 else "Step"


def one_lambda(study: Study) -> float | None:
    """Which of several λ is drawn unless another is chosen: the first that weights; None without a choice."""
    values = study.values("lam")
    return values[1] if len(values) > 1 else None


def ema(values: np.ndarray, beta: float) -> np.ndarray:
    """Exponential moving average, debiased: v_t = beta v_(t-1) + (1 - beta) y_t, divided by 1 - beta^t."""
    out, v = np.empty(len(values)), 0.0
    for t, y in enumerate(values, 1):
        v = beta * v + (1 - beta) * y
        out[t - 1] = v / (1 - beta**t)
    return out


def costs(study: Study) -> pd.DataFrame:
    """Per run: gradient evaluations and seconds of the whole training, without measurements; nan where not known."""
    if study.beside:
        every = pd.concat([costs(part) for part, _ in study.beside], ignore_index=True)
        return every[every["run"].isin(study.runs["run"])].drop_duplicates("run")
    rows = []
    taken = study.runs.set_index("run")["step"]
    for spec in study.spec.runs():
        if isinstance(spec, RecordedRun):
            rows.append((spec.key, spec.gradients(float(taken.get(spec.key, math.nan)))))
            continue
        try:
            rows.append((spec.key, cost.gradients(spec)))
        except SpecError:  # the user's .npz has been moved since
            rows.append((spec.key, math.nan))
    frame = pd.DataFrame(rows, columns=["run", "gradients"]).astype({"run": str})
    timed = study.finals.loc[study.finals["quantity"] == "train_seconds", ["run", "value"]]
    seconds = study.runs[["run"]].merge(timed.rename(columns={"value": "seconds"}), on="run", how="left")
    return seconds.merge(frame, on="run", how="left")


def frame(study: Study, curves: pd.DataFrame, quantities: Iterable[str], x: str = "Epoch", beta: float = 0.0,
          variants: Iterable[str] | None = None, runs: pd.DataFrame | None = None,
          pens: cells.Looks | None = None) -> pd.DataFrame:  # fmt: skip
    """The frame of `lines.figure`: seed means with 95 % t-intervals, smoothed by `beta` with the raw mean behind.

    `pens`: the looks of the lines, where they are not those of the study.
    """
    runs = recorded.with_curves(study, study.runs if runs is None else runs)
    if variants is not None:
        runs = runs[runs["variant"].isin(list(variants))]
    wanted = list(quantities)
    told = tables.cell(runs)
    joined = curves[curves["quantity"].isin(wanted) & np.isfinite(curves["value"])].merge(
        runs[["run", "seed", *told]], on="run"
    )
    if joined.empty:
        return pd.DataFrame(columns=[*lines.COLUMNS, "converged", *lines.LOOK, "quantity", "cell"])
    clock = X[x][0]
    if clock in ("seconds", "gradients"):
        total = costs(study).set_index("run")[clock]
        if study.recorded:
            share = joined["step"] / joined["run"].map(study.runs.set_index("run")["step"]).clip(lower=1)
        else:
            share = joined["epoch"] / joined["run"].map(epochs(study))
        joined = joined.assign(x=joined["run"].map(total).astype(float) * share).dropna(subset="x")
    else:
        joined = joined.assign(x=joined[clock].astype(float))
    joined = joined.assign(converged=joined["converged"].ne(False) if "converged" in joined else True)
    grouped = joined.groupby(["quantity", *told, "step"], dropna=False, sort=False)
    means = grouped.agg(
        x=("x", "mean"), y=("value", "mean"), sd=("value", "std"), n=("value", "count"), converged=("converged", "all")
    ).reset_index()  # fmt: skip
    half = statistics.half_width(means["sd"] / np.sqrt(means["n"]), means["n"])
    means = means.assign(low=means["y"] - half, high=means["y"] + half).sort_values("step")
    look = cells.of(study, runs)
    parts = []
    groups = {
        (str(q), cells.key_of(dict(zip(told, key, strict=True)))): part
        for (q, *key), part in means.groupby(["quantity", *told], dropna=False, sort=False)
    }
    for quantity, of in ((q, row) for q in wanted for row in look if (q, cells.key_of(row)) in groups):
        part = groups[quantity, cells.key_of(of)]
        drawn_as = pens[of] if pens else of
        part = part.assign(panel=quantity, kind="mean", seed=np.nan, **{k: drawn_as[k] for k in ("line", *lines.LOOK)})
        if beta > 0 and len(part) >= FEW:
            parts.append(part.assign(kind="raw"))
            part = part.assign(y=ema(part["y"].to_numpy(), beta), low=np.nan, high=np.nan)
        parts.append(part)
    return pd.concat(parts, ignore_index=True).reindex(
        columns=[*lines.COLUMNS, "converged", "step", *tables.settings(runs), *lines.LOOK]
    )


def epochs(study: Study) -> dict[str, int]:
    """The epochs of every run."""
    parts = [part for part, _ in study.beside] or [study]
    return {run: part.spec.training.epochs for part in parts for run in part.runs["run"]}


def axes(table: pd.DataFrame, x: str, scale: str = "Auto") -> lines.Axes:
    """The axes of the figure. Scale: Linear, Log, or Auto: log where the means span more than a factor of 20."""
    panels = table.loc[table["kind"] == "mean"].groupby("panel")["y"].agg(["min", "max"])
    percent = frozenset(q for q in panels.index if words.is_fraction(str(q)))
    factor = {"Linear": math.inf, "Log": 0.0}.get(scale, 20.0)
    wide = panels[(panels["min"] > 0) & (panels["max"] > factor * panels["min"])].index
    return lines.Axes(X[x][1], x.lower(), logy=frozenset(wide) - percent, percent=percent)


def titles(quantities: Iterable[str]) -> dict[str, str]:
    """Panel titles, HTML."""
    return {q: words.quantity(q).html for q in quantities}


def caption(study: Study, table: pd.DataFrame, x: str, beta: float, widths: Mapping[str, int] | None = None) -> str:
    """Over what, over how many seeds, smoothed or not, averaged over windows or not."""
    parts = [f"Mean over {captions.seeds(table) if beta else captions.over(table, bars='bars and bands')}"]
    if beta:
        parts[0] += (
            f", smoothed by a debiased exponential moving average (β = {beta:g}) with the raw mean behind it (curves "
            f"of fewer than {FEW} points: raw)"
        )
    lam = set(table["lam"].dropna()) if len(study.values("lam")) > 1 else set()
    if len(lam) == 1:
        parts.append(f"RW-SAM at λ = {lam.pop():g}")
    wide = {words.quantity(q).name: w for q, w in (widths or {}).items() if w > 1}
    parts.append("Measured on the clean weights; what is recorded at every step is drawn as it is")
    if wide:
        means = captions.listed(f"{name}: {w}" for name, w in wide.items())
        parts[-1] = f"Recorded at every step and drawn as means over windows of steps ({means})"
    if any(words.is_fraction(str(q)) for q in table["panel"].unique()) and table["x"].nunique() > 2:
        parts.append("Axes of accuracies begin with the first point after the start, which is in the data")
    if not table["converged"].all():
        parts.append("Hollow: an estimate did not converge")
    if x in ("Seconds", "Gradient evaluations"):
        parts.append("The axis is the run's total times the share of its training; measurements are not counted"
                     if x == "Seconds" else "A gradient evaluation is one mini-batch of B samples")  # fmt: skip
    parts.append(captions.about(study))
    which = captions.drawn(study) if study.recorded else captions.excluded(study)
    return " ".join(p for p in (". ".join(parts) + ".", captions.radius(table), which) if p)


def findings(study: Study, curves: pd.DataFrame, quantities: Iterable[str], runs: pd.DataFrame) -> list[str]:
    """Which line ends lowest and which highest in each quantity, compared seed by seed."""
    runs = recorded.with_curves(study, runs)
    if runs.empty:
        return []
    look = cells.of(study, runs)
    out = []
    for q in quantities:
        of = curves[(curves["quantity"] == q) & np.isfinite(curves["value"])]
        last = of.sort_values("step").groupby("run").tail(1)[["run", "value"]].merge(runs, on="run")
        ends: dict[str, dict[int, float]] = {}
        for r in tables.records(last):
            ends.setdefault(look[r]["line"], {})[r["seed"]] = r["value"]
        if len(ends) > 1:
            out.append(statistics.extremes(ends, f"{words.quantity(q).name} ends", partial(words.show, q)))
    return out


def times(curves: pd.DataFrame) -> pd.Series[int]:
    """At how many steps each quantity was recorded."""
    return curves.groupby("quantity")["step"].nunique()


USUAL = ("test_acc", "train_loss", "tr_H", "tr_V")


def trained(of: pd.DataFrame) -> list[float]:
    """The axis of an accuracy: what it reaches from the first epoch on, as what it was before says nothing."""
    later = of[of["x"] > of["x"].min()] if of["x"].nunique() > 2 else of
    ends = later[["y", "low", "high"]].clip(0, 1)
    low, high = float(ends.min().min()), float(ends.max().max())
    pad = 0.05 * (high - low) or 0.05
    return [low - pad, high + pad]


class Dynamics(StudyView):
    """Options: `quantities`, one panel each; `clock`, a key of `X`; `beta` of the smoothing; `scale`, see `axes`;
    `lam`, of several the one that is drawn; `facet`, by which panels are told apart.
    """

    key, title, page = "dynamics", "Curves over training", "dynamics"
    silent = "One line: nothing to compare."

    def curves(self, at: Selection) -> pd.DataFrame:
        """What was recorded of the quantities that were recorded more than once."""
        found = self.recorded(at)
        return found[~found["quantity"].isin(self.once(at))]

    def recorded(self, at: Selection) -> pd.DataFrame:
        """What was recorded of the quantities."""
        return at.curves(tuple(self.quantities(at)), recorded.POINTS)

    def quantities(self, at: Selection) -> list[str]:
        """The quantities chosen, else the usual ones."""
        return list(at.options.get("quantities") or words.all_scored(USUAL, set(at.finals["quantity"])))

    def once(self, at: Selection) -> list[str]:
        """The quantities that were measured at the end only."""
        seen = times(self.recorded(at))
        return [q for q in self.quantities(at) if seen.get(q, 0) < 2]

    def drawn(self, at: Selection) -> tuple[list[str], pd.DataFrame]:
        """The quantities and the runs that are drawn."""
        lam, have = at.options.get("lam", one_lambda(at.study)), set(self.curves(at)["quantity"])
        runs = at.runs if lam is None else tables.select(at.runs, {"lam": lam})
        return [q for q in self.quantities(at) if q in have], runs

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`."""
        quantities, runs = self.drawn(at)
        return frame(at.study, self.curves(at), quantities, self.clock(at), self.beta(at), runs=runs, pens=at.pens)

    def clock(self, at: Selection) -> str:
        """A key of `X`."""
        return str(at.options.get("clock", usual_clock(at.study)))

    def beta(self, at: Selection) -> float:
        """The weight of the past in the smoothing."""
        return float(at.options.get("beta", 0.0))

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """Two panels in a row, one on a telephone; all over the same stretch, accuracies over what they reach."""
        its = axes(frame, self.clock(at), at.options.get("scale", "Auto"))
        fig = lines.figure(frame, its, titles(set(frame["panel"])), columns=2, room=columns, facet=at.facet)
        fig.update_xaxes(matches="x")
        split = len(facets.parts(frame, at.facet))
        for i, panel in enumerate(dict.fromkeys(frame["panel"])):
            if panel in its.percent:
                for k in range(i * split, (i + 1) * split):
                    fig.layout[f"yaxis{k + 1 if k else ''}"].range = trained(frame[frame["panel"] == panel])
        return fig

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(at.study, frame, self.clock(at), self.beta(at), recorded.widths(at.study, self.drawn(at)[0]))

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`; of what did not collapse."""
        quantities, runs = self.drawn(at)
        kept = runs[~runs["run"].isin(at.collapsed)]
        return findings(at.study, self.curves(at), quantities, kept)

    def alt(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The clock and the findings."""
        return f"Curves over training, x: {self.clock(at).lower()}. {' '.join(found)}"


VIEW = Dynamics()
