"""The spectral density of the Hessian at one or two checkpoints."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.numbers import density
from sam_dash.results.views import density_figure
from sam_dash.results.views.looked import Looked, LookView, compared
from sam_dash.runs.measures.density import PRODUCTS, STARTS, WIDTH


class LookDensity(LookView):
    """The density of each, with the band of its interval; the top eigenvalues are told."""

    key, title = "look_density", "Spectral density of a checkpoint"
    drawn_with = ("colour", "dash")

    def frame(self, at: Looked) -> pd.DataFrame:
        """A row a point of each density."""
        found = []
        for i, seen in enumerate(at.seen):
            look = at.look(i)
            rows = density.rows(seen.measured.assign(run=seen.name, step=0))
            found.append(rows.assign(line=look["line"], colour=look["colour"], dash=look["dash"]))
        return pd.concat(found, ignore_index=True)

    def figure(self, frame: pd.DataFrame, at: Looked, columns: int) -> go.Figure:
        """As that of a study's runs."""
        return density_figure.figure(frame, columns).update_layout(legend_title_text="Checkpoint")

    def caption(self, frame: pd.DataFrame, at: Looked) -> str:
        """How it was found."""
        return (
            f"Spectral density of H. {at.setting}. Stochastic Lanczos quadrature from {STARTS} random starts of "
            f"{PRODUCTS} steps, smoothed by a Gaussian of {WIDTH:g} in asinh; bands: 95 % intervals over the starts. "
            f"{at.losses}"
        )

    def findings(self, frame: pd.DataFrame, at: Looked) -> list[str]:
        """The top eigenvalue and the trace."""
        both = {"eigenvalue@1": "The largest eigenvalue", "tr_H": "tr(H), the sum of all"}
        found = {told: [s.value(q) for s in at.seen] for q, told in both.items()}
        return [compared(at, values, told) for told, values in found.items() if all(v == v for v in values)]


VIEW = LookDensity()
