"""The spectral density of the Hessian, from the `density@EIGENVALUE` rows of a store."""

from __future__ import annotations

import math
import re

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import style

PREFIX = "density@"


def rows(measurements: pd.DataFrame) -> pd.DataFrame:
    """Of measurements (run, step, quantity, value, stderr, method): run, step, eigenvalue, density, stderr, scale.

    `scale` is the c of asinh(eigenvalue / c), per unit of which the density is.
    """
    chosen = measurements[measurements["quantity"].str.startswith(PREFIX)]
    out = chosen[["run", "step", "stderr"]].assign(
        eigenvalue=chosen["quantity"].str.removeprefix(PREFIX).astype(float),
        density=chosen["value"].astype(float),
        scale=[_scale(str(text)) for text in chosen["method"]],
    )
    return out.sort_values(["run", "step", "eigenvalue"], ignore_index=True)


def split(last: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The density rows of each run's last measurements, as from `rows`, and the other measurements."""
    chosen = last["quantity"].str.startswith(PREFIX)
    return rows(last), last[~chosen]


def one_seed(spectra: pd.DataFrame, runs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The densities of the runs of one seed, with variant and m."""
    return spectra.merge(runs.loc[runs["seed"] == seed, ["run", "variant", "m", "seed"]], on="run")


def caption(frame: pd.DataFrame) -> str:
    """What the figure of `frame` (as from `one_seed`) shows."""
    seed, n = frame["seed"].iloc[0], frame["run"].nunique()
    return (
        f"Spectral density of H on the training samples, one seed ({seed:g}), {n} runs. Stochastic Lanczos quadrature "
        "from 8 random starts of 40 steps, smoothed by a Gaussian of .25 in asinh; bands: ± 1 standard error over the "
        "starts. Not a mean over seeds."
    )


def alt(frame: pd.DataFrame) -> str:
    """The finding in words: how far the densities reach."""
    far = frame[frame["density"] > 1e-3].groupby("run")["eigenvalue"].max()
    return f"Spectral densities; the largest eigenvalue with density above 0.001 is {far.min():.3g} to {far.max():.3g}."


def _scale(method: str) -> float:
    found = re.search(r"asinh\(x / ([^)]+)\)", method)
    return float(found[1]) if found else math.nan


def figure(frame: pd.DataFrame, names: dict[str, str] | None = None) -> go.Figure:
    """One line a run, of its last measured step, with a band of one standard error; `frame` as from `rows`."""
    fig = go.Figure()
    scale = float(frame["scale"].median()) if len(frame) else 1.0
    for i, (run, of_run) in enumerate(frame.groupby("run", sort=False)):
        last = of_run[of_run["step"] == of_run["step"].max()]
        x = [math.asinh(v / scale) for v in last["eigenvalue"]]
        colour = style.ORDERED[i % len(style.ORDERED)]
        name = (names or {}).get(str(run), str(run))
        high, low = last["density"] + last["stderr"], (last["density"] - last["stderr"]).clip(lower=0)
        band = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        fig.add_scatter(x=x, y=high, **band)
        fig.add_scatter(x=x, y=low, fill="tonexty", opacity=0.3, fillcolor=f"rgba{(*_rgb(colour), 0.25)}", **band)
        hover = f"{name}<br>eigenvalue %{{customdata:.3g}}: %{{y:.2e}}<extra></extra>"
        line = {"color": colour, "width": 2}
        fig.add_scatter(
            x=x, y=last["density"], mode="lines", name=name, line=line, customdata=last["eigenvalue"],
            hovertemplate=hover,
        )  # fmt: skip
    ticks = _ticks(frame, scale)
    fig.update_xaxes(
        title="eigenvalue of <i>H</i> (asinh scale)", tickvals=[math.asinh(t / scale) for t in ticks],
        ticktext=[f"{t:g}" for t in ticks],
    )  # fmt: skip
    fig.update_yaxes(title="density", type="log", exponentformat="power", range=[-5, 1])
    return fig.update_layout(font_family=style.FONT, template="none", margin={"t": 20})


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _ticks(frame: pd.DataFrame, scale: float) -> list[float]:
    """0 and powers of ten, both signs, from about the scale to the ends."""
    if frame.empty:
        return [0.0]
    low, high = float(frame["eigenvalue"].min()), float(frame["eigenvalue"].max())
    powers = [10.0**k for k in range(math.ceil(math.log10(scale)), math.floor(math.log10(max(high, -low, scale))) + 1)]
    return [*(-p for p in reversed(powers) if -p >= low), 0.0, *(p for p in powers if p <= high)]
