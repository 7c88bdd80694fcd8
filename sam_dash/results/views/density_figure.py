"""The figure of the spectral densities of one seed's runs."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.drawing import cells, lines
from sam_dash.results.numbers import further
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.view import Missing, Selection, StudyView
from sam_dash.runs.measures.density import PRODUCTS, STARTS, WIDTH


def one_seed(study: Study, seed: int) -> pd.DataFrame:
    """The densities of the last measurement of the runs of one seed, with cell, line, colour and dash of each."""
    runs = study.runs[(study.runs["seed"] == seed) & study.runs["run"].isin(study.density["run"])]
    named = cells.of(study).dressed(runs)
    return named[["run", "variant", "m", "seed", "line", "colour", "dash"]].merge(study.density, on="run")


def caption(frame: pd.DataFrame) -> str:
    """What the figure of `frame` (as from `one_seed`) shows."""
    seed, n = frame["seed"].iloc[0], frame["run"].nunique()
    return (
        f"Spectral density of H on the training samples, one seed ({seed:g}), {n} runs. Stochastic Lanczos quadrature "
        f"from {STARTS} random starts of {PRODUCTS} steps, smoothed by a Gaussian of {WIDTH:g} in asinh; bands: 95 % "
        f"intervals over the starts (t with {STARTS - 1} degrees of freedom, of the logarithm). Not a mean over seeds."
    )


def alt(frame: pd.DataFrame) -> str:
    """The finding in words: how far the densities reach."""
    far = frame[frame["density"] > 1e-3].groupby("run")["eigenvalue"].max()
    return f"Spectral densities; the largest eigenvalue with density above 0.001 is {far.min():.3g} to {far.max():.3g}."


def figure(frame: pd.DataFrame, columns: int = 6) -> go.Figure:
    """One line a run, of its last measured step, with the band of its interval; `frame` as from `one_seed`.

    `columns`: panels that there would be room for.
    """
    fig = go.Figure()
    scale = float(frame["scale"].median()) if len(frame) else 1.0
    for _, of_run in frame.groupby("run", sort=False):
        last = of_run[of_run["step"] == of_run["step"].max()]
        x = [math.asinh(v / scale) for v in last["eigenvalue"]]
        name, colour, dash = (str(last[k].iloc[0]) for k in ("line", "colour", "dash"))
        high, low = last["high"], last["low"]
        band = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        fig.add_scatter(x=x, y=high, **band)
        fig.add_scatter(x=x, y=low, fill="tonexty", opacity=0.3, fillcolor=lines.alpha(colour, 0.25), **band)
        hover = f"{name}<br>eigenvalue %{{customdata:.3g}}: %{{y:.2e}}<extra></extra>"
        line = {"color": colour, "dash": dash, "width": 2}
        fig.add_scatter(
            x=x, y=last["density"], mode="lines", name=name, line=line, customdata=last["eigenvalue"],
            hovertemplate=hover,
        )  # fmt: skip
    ticks = _ticks(frame, scale)
    fig.update_xaxes(
        title="eigenvalue of <i>H</i> (asinh scale)", tickvals=[math.asinh(t / scale) for t in ticks],
        ticktext=[f"{t:g}" for t in ticks],
    )  # fmt: skip
    fig.update_yaxes(title={"text": "density", "standoff": 6}, type="log", exponentformat="power", dtick=1)
    fig.update_yaxes(range=[-5, 1])
    fig.update_layout(legend_traceorder="normal")
    fig.update_layout(lines.layout(1, [t.name for t in fig.data if t.name], columns))
    fig.update_layout(margin_l=70, margin_b=64)  # there is a title beside the labels, and a power in it
    return fig


def _ticks(frame: pd.DataFrame, scale: float) -> list[float]:
    """0 and powers of ten, both signs, from about the scale to the ends."""
    if frame.empty:
        return [0.0]
    low, high = float(frame["eigenvalue"].min()), float(frame["eigenvalue"].max())
    powers = [10.0**k for k in range(math.ceil(math.log10(scale)), math.floor(math.log10(max(high, -low, scale))) + 1)]
    return [*(-p for p in reversed(powers) if -p >= low), 0.0, *(p for p in powers if p <= high)]


def seeds(study: Study) -> list[int]:
    """The seeds of the runs whose density was measured."""
    if study.density.empty:
        return []
    return sorted({int(s) for s in study.runs.loc[study.runs["run"].isin(study.density["run"]), "seed"]})


class Density(StudyView):
    """The spectral densities of one seed, without a mean. Option: `seed`, the least of those measured."""

    key, title, page = "density", "Spectral densities", "sharpness"
    whole = True

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `one_seed`."""
        measured = seeds(at.study)
        return one_seed(at.study, at.options.get("seed", measured[0])) if measured else at.study.density

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """See `figure`."""
        return figure(frame, columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(frame)

    def alt(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """See `alt`."""
        return alt(frame)

    def missing(self, at: Selection) -> Missing:
        """A measurement of its own."""
        sweep = further.extended(at.study, measures={"what": ("density",)})
        wanted = {"Set up this study with the spectral density": sweep}
        return Missing("The spectral density was not measured in this study", "It costs 320 Hessian products.", wanted)


VIEW = Density()
