"""Curves of two to eight runs, one line a run: what `compare` is about, over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, lines, style
from sam_dash.results.views.compare import LETTERS, Run
from sam_dash.results.views.dynamics import axes, titles
from sam_dash.results.views.view import View

ORDER = (0, 3, 6, 1, 4, 7, 2, 5)  # of `style.ORDERED`: neighbours are far apart
NONE = pd.DataFrame(columns=["run", "step", "epoch", "quantity", "value"])


@dataclass(frozen=True)
class Compared:
    """The runs, the first of which is the reference; `curves` of quantities, and which of them are drawn."""

    runs: Sequence[Run]
    curves: Callable[[Sequence[str]], pd.DataFrame] = field(default=lambda _: NONE)
    quantities: Sequence[str] = ()

    @property
    def lettered(self) -> list[tuple[str, Run]]:
        """The runs with their letters."""
        return list(zip(LETTERS, self.runs, strict=False))


class RunCurves(View[Compared]):
    """The curves of each run, one line a run."""

    key, title, page = "run_curves", "Curves of the runs", "runs"
    silent = "These runs recorded no curve that they share."

    def clock(self, at: Compared) -> str:
        """Epochs, or steps where a loop that was recorded did not say its epochs."""
        found = at.curves(at.quantities)
        return "Epoch" if len(found) and found["epoch"].notna().all() else "Step"

    def frame(self, at: Compared) -> pd.DataFrame:
        """One line a run in each panel."""
        found, x = at.curves(at.quantities), self.clock(at).lower()
        found = found[np.isfinite(found["value"].astype(float))]
        parts = []
        for quantity in at.quantities:
            for i, (letter, run) in enumerate(at.lettered):
                of = found[(found["run"] == run.key) & (found["quantity"] == quantity)].sort_values("step")
                look = {"colour": style.ORDERED[ORDER[i]], "dash": list(style.DASHES)[i % len(style.DASHES)]}
                parts.append(pd.DataFrame({
                    "panel": quantity, "line": f"{letter} · {run.name}", "kind": "mean", "seed": run.spec["seed"],
                    "x": of[x], "y": of["value"], "low": math.nan, "high": math.nan, "n": 1, **look,
                    "marker": style.COMMON[i], "run": run.key,
                }))  # fmt: skip
        curves = {part["panel"].iat[0] for part in parts if len(part) > 1}  # what is measured once is in the table
        whole = [part for part in parts if len(part) and part["panel"].iat[0] in curves]
        return pd.concat(whole, ignore_index=True) if whole else pd.DataFrame(columns=[*lines.COLUMNS, *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Compared, columns: int) -> go.Figure:
        """Two panels in a row, one on a telephone."""
        panels = set(frame["panel"])
        fig = lines.figure(frame, axes(frame, self.clock(at)), titles(panels), columns=2, room=columns)
        return fig.update_layout(legend_title_text="Run")

    def caption(self, frame: pd.DataFrame, at: Compared) -> str:
        """What a line is."""
        early = [f"{letter} is {r.status}" for letter, r in at.lettered if r.status != "done"]
        text = "One line a run, as it was recorded; what is recorded at every step as means over windows."
        return f"{text} {captions.listed(early)}." if early else text

    def findings(self, frame: pd.DataFrame, at: Compared) -> list[str]:
        """Which line ends lowest and which highest."""
        out = []
        for quantity, of in frame.groupby("panel", sort=False):
            ends = of.sort_values("x").groupby("line", sort=False).tail(1).sort_values("y")
            if len(ends) > 1:
                low, high = (
                    f"{line} ({words.show(str(quantity), y)})"
                    for line, y in ends[["line", "y"]].iloc[[0, -1]].itertuples(index=False)
                )
                out.append(f"{words.quantity(str(quantity)).name} ends lowest in {low}, highest in {high}.")
        return out

    def name(self, at: Compared) -> str:
        """With the keys of the first two runs."""
        return "-".join([super().name(at), *(run.key[:6] for run in at.runs[:2])])


VIEW = RunCurves()
