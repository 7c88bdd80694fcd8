"""m-sharpness of one or two checkpoints over the m of the measurement."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.drawing import lines
from sam_dash.results.views.looked import Looked, LookView, compared, each

PREFIX = "m_sharp@"
COLUMNS = [*lines.COLUMNS, *lines.LOOK, "stderr"]


class LookM(LookView):
    """The mean rise of a micro-batch's loss after one ascent step, over m."""

    key, title = "look_m", "m-sharpness of a checkpoint"
    drawn_with = ("colour", "dash", "marker", "panel", "kind", "seed")

    def frame(self, at: Looked) -> pd.DataFrame:
        """A row an m and checkpoint."""
        rows = [
            {**r, "panel": "m", **at.look(i), "kind": "mean", "x": float(m), "n": int(r["budget"])}
            for i, m, r in each(at, PREFIX)
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def figure(self, frame: pd.DataFrame, at: Looked, columns: int) -> go.Figure:
        """One line a checkpoint, both axes logarithmic."""
        axes = lines.Axes("<i>m</i> of the measurement (log₂ scale)", "m", log2=True, logy=frozenset({"m"}))
        titles = {"m": f"<i>m</i>-sharpness, <i>ρ</i> = {at.seen[0].look.rho:g}"}
        return lines.figure(frame, axes, titles, columns=1, room=columns).update_layout(legend_title_text="Checkpoint")

    def caption(self, frame: pd.DataFrame, at: Looked) -> str:
        """How it was measured."""
        return (
            f"Mean rise of a micro-batch's loss after one ascent step of ρ = {at.seen[0].look.rho:g}, over disjoint "
            f"micro-batches of m (n of them under Data): a lower bound of the largest rise. Bars: 95 % intervals over "
            f"them. {at.setting}. {at.losses}"
        )

    def findings(self, frame: pd.DataFrame, at: Looked) -> list[str]:
        """At the smallest and the largest m that both have."""
        out = []
        for m in sorted({frame["x"].min(), frame["x"].max()}):
            values = [float(frame.loc[(frame["line"] == s.name) & (frame["x"] == m), "y"].mean()) for s in at.seen]
            out.append(compared(at, values, f"At m = {m:g}"))
        return out


VIEW = LookM()
