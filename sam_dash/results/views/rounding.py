"""What sharpness is for: the rise of the loss after noise on the weights and after rounding, beside tr(H)'s word."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import lines, style
from sam_dash.results.views.looked import Looked, LookView, bounded

NOISE, BITS = "noise", "bits"
TITLES = {NOISE: "rise after Gaussian noise of size σ"}
PREDICTED = "σ²/2 tr(H)"
COLUMNS = [*lines.COLUMNS, *lines.LOOK, "of", "loss", "score"]


class Rounding(LookView):
    """The mean rise after noise over its size, tr(H)'s prediction, and the rise after rounding to 8 and 4 bits."""

    key, title = "rounding", "The loss after noise and rounding"
    drawn_with = ("colour", "dash", "marker", "panel", "seed")

    def frame(self, at: Looked) -> pd.DataFrame:
        """A row a size of noise (`mean`), its prediction (`reference`), and a row a number of bits."""
        return pd.DataFrame(list(_rows(at)), columns=COLUMNS)

    def figure(self, frame: pd.DataFrame, at: Looked, columns: int) -> go.Figure:
        """Both axes logarithmic; rounding stands at the root mean square of its own change of the weights."""
        shown = frame[(frame["kind"] != BITS) & (frame["y"] > 0)]
        axes = lines.Axes("σ, standard deviation of the change of a weight", "σ", log2=True, logy=frozenset({NOISE}))
        fig = lines.figure(shown, axes, TITLES, columns=1, room=columns)
        for bits in sorted(set(frame.loc[frame["kind"] == BITS, "n"]), reverse=True):
            of = frame[(frame["kind"] == BITS) & (frame["n"] == bits) & (frame["y"] > 0)]
            if of.empty:
                continue
            fig.add_scatter(
                x=of["x"], y=of["y"], mode="markers", name=f"rounded to {bits:g} bits",
                error_y=lines.bars(of["y"], of["low"].clip(lower=1e-12), of["high"], style.GREY),
                marker={"color": list(of["colour"]), "size": 12, "symbol": "square-open" if bits > 4 else "star-open",
                        "line": {"width": 2}},
                customdata=of["line"], hovertemplate="%{customdata}<br>σ = %{x:.3g}<br>rise %{y:.4~g}<extra></extra>",
            )  # fmt: skip
        y = frame.loc[frame["y"] > 0, "y"]
        fig.layout.yaxis.range = [math.log10(y.min()) - 0.2, math.log10(y.max()) + 0.2]
        names = [t.name for t in fig.data if t.showlegend is not False and t.name]
        fig.update_layout(lines.layout(1, names, columns), legend_title_text="Checkpoint")
        fig.update_layout(height=fig.layout.height + 60, margin_l=70)
        return fig

    def caption(self, frame: pd.DataFrame, at: Looked) -> str:
        """What is drawn, over how many draws, and why the prediction may be off."""
        lost = int((frame["y"] <= 0).sum())
        fell = f" {lost} values that are not above 0 are under Data only." if lost else ""
        return (
            f"Mean rise of the loss after Gaussian noise on the weights, {_pairs(frame)} pairs of opposite draws each; "
            f"95 % intervals over pairs (t). Dotted: {PREDICTED}, which is exact to second order; where the "
            "network has ReLU it may be too small at every σ, as its kinks have no part in H. Marks: every tensor "
            "rounded to 8 and 4 bits (symmetric, no zero point, biases too), at the root mean square of what that "
            f"changed; intervals over samples. {at.setting}. {at.losses}{fell}"
        )

    def findings(self, frame: pd.DataFrame, at: Looked) -> list[str]:
        """What rounding costs, and how far tr(H)'s prediction is off at the smallest and the largest noise."""
        out = []
        for line in frame.loc[frame["kind"] == BITS, "line"].unique():
            of = frame[frame["line"].isin([line, f"{line}: {PREDICTED}"])]
            bits = of[of["kind"] == BITS]
            told = " and ".join(f"{words.number(y)} at {n:g} bits" for y, n in zip(bits["y"], bits["n"], strict=True))
            text = f"{line}: rounding raises the loss by {told}"
            both = of[of["kind"] == "mean"].merge(of[of["kind"] == "reference"], on="x")
            if len(both):
                ratios = [words.number(r) for r in (both["y_x"] / both["y_y"]).iloc[[0, -1]]]
                text += f"; noise raises it by {ratios[0]} (smallest σ) and {ratios[1]} (largest) times {PREDICTED}"
            out.append(f"{text}.")
        return out


def _pairs(frame: pd.DataFrame) -> int:
    return int(frame.loc[frame["kind"] == "mean", "n"].max())


def _rows(at: Looked) -> Iterator[dict[str, Any]]:
    for i, seen in enumerate(at.seen):
        common, trace = {"panel": NOISE, **at.look(i)}, seen.value("tr_H")
        for r in seen.answer["noise"]:
            found = bounded(r["value"], r["stderr"], r["dof"])
            yield common | {"kind": "mean", "x": r["sigma"], **found, "n": r["budget"]}
            if trace == trace:
                told = {"kind": "reference", "of": PREDICTED, "dash": "dot", "line": f"{seen.name}: {PREDICTED}"}
                yield common | told | {"x": r["sigma"], "y": r["sigma"] ** 2 / 2 * trace}
        for r in seen.answer["rounding"]:
            told = {"x": r["sigma"], "n": r["bits"], "loss": r["loss"], "score": r["score"]}
            yield common | {"kind": BITS, **bounded(r["rise"], r["rise_stderr"]), **told}


VIEW = Rounding()
