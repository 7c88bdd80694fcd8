"""E‖∇f_γ‖ over the batch size |γ|: what the theory has SAM's forms penalise, which should fall as the batch grows."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, lines
from sam_dash.results.views.view import Selection, StudyView

PREFIX = "mean_norm@"
AXES = lines.Axes("samples in the gradient, |<i>γ</i>| (log₂ scale)", "|γ|", log2=True, logy=frozenset({PREFIX}))


def measured(finals: pd.DataFrame) -> pd.DataFrame:
    """The rows of the measurement, with the number of samples `x`."""
    of = finals[finals["quantity"].str.startswith(PREFIX)]
    return of.assign(x=of["quantity"].str.removeprefix(PREFIX).astype(float))


class GradientNorms(StudyView):
    """One line a setting."""

    key, title, page = "gradient_norms", "Mean norm of the gradient over the batch size", "theory"
    drawn_with = ("colour", "dash", "marker", "panel")

    def frame(self, at: Selection) -> pd.DataFrame:
        """A row a setting and size: mean over seeds."""
        rows = lines.means(measured(at.kept), at.look, PREFIX, "x", interval=at.interval)
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """Both axes logarithmic."""
        return lines.figure(frame, AXES, {PREFIX: "E‖∇<i>f</i><sub>γ</sub>‖"}, columns=1, room=columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """Over which seeds, of which study."""
        return (
            f"Mean over {captions.over(frame, at.interval)}. The norm of the gradient of micro-batches drawn without "
            f"replacement, on the final weights. {captions.setting(at.study.spec)}. {captions.radius(at.finals)}"
        )

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """In how many runs it falls at every step of the ladder."""
        found = measured(at.kept)
        falls, least = 0, []
        for _, run in found.groupby("run"):
            y = run.sort_values("x")["value"].to_numpy()
            falls += bool((y[1:] < y[:-1]).all())
            least.append(float((y[:-1] / y[1:]).min()))
        sizes = sorted(found["x"].unique())
        return [
            f"E‖∇f_γ‖ falls at every step from {sizes[0]:g} to {sizes[-1]:g} samples in {falls} of {len(least)} runs; "
            f"the smallest step is by a factor of {words.number(min(least))}."
        ]


VIEW = GradientNorms()
