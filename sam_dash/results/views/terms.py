"""The terms of the theory's loss along training, at each run's own ρ and m: f, ρ/2 ‖∇f‖² and ρ/(2m) tr V for USAM's
forms, ρ E‖∇f_I‖ for SAM's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.maths.theory.setting import FORMS
from sam_dash.results import words
from sam_dash.results.drawing import captions, lines
from sam_dash.results.numbers import further, recorded, tables
from sam_dash.results.views.view import Missing, Selection, StudyView

LOSS, SLOPE, NOISE, NORM = "f", "slope", "noise", "norm"
TITLES = {
    LOSS: "<i>f</i>", SLOPE: "<i>ρ</i>/2 ‖∇<i>f</i>‖²", NOISE: "<i>ρ</i>/(2<i>m</i>) tr(<i>V</i>)",
    NORM: "<i>ρ</i> E‖∇<i>f<sub>I</sub></i>‖",
}  # fmt: skip
AXES = lines.Axes("epoch", "epoch", logy=frozenset(TITLES))


def per_run(at: Selection) -> pd.DataFrame:
    """A row a run, epoch and term: `panel`, `x`, `y`, with the settings of the run."""
    runs = at.runs[at.runs["variant"].isin(FORMS) & at.runs["run"].isin(at.kept["run"])]
    budget = at.finals[at.finals["quantity"] == "tr_V"].drop_duplicates("run").set_index("run")["budget"]
    sizes = [q for q in dict.fromkeys(at.finals["quantity"]) if q.startswith("mean_norm@")]
    wanted = ("train_loss", "tr_V", "grad_sq", *sizes)
    curves = at.curves(wanted, recorded.POINTS)
    curves = curves[curves["run"].isin(runs["run"]) & curves["quantity"].isin(wanted)]
    rows: list[dict[str, Any]] = []
    table = curves.pivot_table(index=["run", "epoch"], columns="quantity", values="value").reset_index()
    own = {r["run"]: r for r in tables.records(runs)}
    for r in tables.records(table):
        run = own[r["run"]]
        of_all, normalised = FORMS[run["variant"]]
        n, m = budget.get(r["run"], np.nan), run["m"]
        found = {LOSS: r.get("train_loss")}
        if normalised:
            found[NORM] = np.nan if of_all else run["rho"] * (r.get(f"mean_norm@{m:g}") or np.nan)
        else:
            trace = r.get("tr_V") if r.get("tr_V") is not None else np.nan
            slope = r.get("grad_sq") if r.get("grad_sq") is not None else np.nan
            found[SLOPE] = run["rho"] / 2 * (slope + trace / n)  # the training loss's own, without the correction
            found[NOISE] = np.nan if of_all else run["rho"] / (2 * m) * trace * (n - m) / (n - 1)
        settings = {k: run[k] for k in (*tables.settings(runs), "seed")}
        rows += [{**settings, "run": r["run"], "panel": k, "x": r["epoch"], "y": y} for k, y in found.items()
                 if y is not None and np.isfinite(y)]  # fmt: skip
    return pd.DataFrame(rows, columns=["run", "seed", *tables.settings(runs), "panel", "x", "y"])


class Terms(StudyView):
    """One line a setting."""

    key, title, page = "terms", "The theory's terms along training", "theory"
    drawn_with = ("colour", "dash", "marker")

    def frame(self, at: Selection) -> pd.DataFrame:
        """A row a term, setting and epoch: mean over seeds; empty where the terms were measured at the end only."""
        found = per_run(at)
        rows: list[dict[str, Any]] = []
        times = found[found["panel"] != LOSS].groupby("panel")["x"].nunique()
        kept = [panel for panel in TITLES if panel == LOSS or times.get(panel, 0) > 1]
        if len(kept) < 2:
            found = found[:0]
        for panel in kept:
            rows += lines.means(found[found["panel"] == panel], at.look, panel, "x", "y", at.interval)
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """Logarithmic, each over its own range."""
        return lines.figure(frame, AXES, TITLES, columns=4, room=columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """What is measured, over which seeds."""
        return (
            f"Mean over {captions.over(frame, at.interval)}. At each run's own ρ and m, on the samples measured on; "
            "‖∇f‖² is that of the training loss itself, tr V has the factor (n − m)/(n − 1) of drawing without "
            f"replacement. {captions.setting(at.study.spec)}. {captions.radius(at.finals)}"
        )

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """How large the terms are beside the loss, at the first and the last time."""
        out = []
        for line, of in frame.groupby("line", sort=False):
            told = []
            for panel, name in ((SLOPE, "ρ/2 ‖∇f‖²"), (NOISE, "ρ/(2m) tr V"), (NORM, "ρ E‖∇f_I‖")):
                both = of[of["panel"] == panel].merge(of[of["panel"] == LOSS], on="x", suffixes=("", "_f"))
                share = (both["y"] / both["y_f"]).tolist()
                if share:
                    ends = f"{words.per_cent(share[0], 1)} of f at first and {words.per_cent(share[-1], 1)} at last"
                    told.append(f"{name} is {ends}")
            if told:
                out.append(f"{line}: {captions.listed(told)}.")
        return out

    def missing(self, at: Selection) -> Missing | None:
        """Measured along the way; nothing where no run is of a form that the theory knows."""
        if not at.runs["variant"].isin(FORMS).any():
            return None
        every = max(1, at.study.spec.training.epochs // 8)
        measures = {"what": ("noise", "regulariser"), "every": every}
        return Missing(
            "The theory's terms were not measured along training",
            f"Measured {captions.every(every)} there would be a curve of each.",
            {"Set up this study with them": further.extended(at.study, measures=measures)},
        )


VIEW = Terms()
