"""Each layer's block of the Hessian at one or two checkpoints: its trace."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.drawing import lines, panels
from sam_dash.results.views import layers
from sam_dash.results.views.looked import Looked, LookView, compared, each

PREFIX = "layer_trace@"
MOST = 16  # layers that are drawn of their own
COLUMNS = ["line", "layer", "y", "low", "high", "stderr", "method", "colour"]


class LookLayers(LookView):
    """The trace of each layer's block, a bar a layer and checkpoint."""

    key, title = "look_layers", "Trace of each layer's block of the Hessian"
    drawn_with = ("colour",)

    def frame(self, at: Looked) -> pd.DataFrame:
        """A row a layer and checkpoint, from input to output; those of least trace, beyond `MOST`, as one."""
        rows = [{**r, **at.look(i), "layer": layer or "itself"} for i, layer, r in each(at, PREFIX)]
        return _gathered(pd.DataFrame(rows, columns=COLUMNS))

    def figure(self, frame: pd.DataFrame, at: Looked, columns: int) -> go.Figure:
        """Layers from top to bottom in the order of the network."""
        fig = go.Figure()
        for name, of in frame.groupby("line", sort=False):
            fig.add_bar(
                x=of["y"], y=of["layer"], orientation="h", name=str(name), marker={"color": of["colour"].iloc[0]},
                error_x=lines.bars(of["y"], of["low"], of["high"]), customdata=of["stderr"],
                hovertemplate=f"<b>{name}</b>, %{{y}}<br>%{{x:.4~g}} ± %{{customdata:.2~g}}<extra></extra>",
            )  # fmt: skip
        bars = frame["layer"].nunique()
        height = 61 + (14 + 16 * len(at.seen)) * bars
        fig.update_layout(
            panels.layout(1, height, [s.name for s in at.seen], columns, 10, 16, 44, "Checkpoint"), barmode="group"
        )
        fig.update_xaxes(title="trace of the layer's block of <i>H</i>", zeroline=True, rangemode="tozero")
        return fig.update_yaxes(autorange="reversed", automargin=True, type="category")

    def caption(self, frame: pd.DataFrame, at: Looked) -> str:
        """What a bar is."""
        exact = " They are exact." if (frame["stderr"] == 0).all() else " Bars: 95 % intervals over probes."
        return (
            f"Trace of the diagonal block of H of each layer, weights and biases together; all of them sum to tr(H)."
            f"{exact} {at.setting}. {at.losses} Rescaling layers against each other changes these without changing "
            "the function (arXiv:1703.04933)."
        )

    def findings(self, frame: pd.DataFrame, at: Looked) -> list[str]:
        """Where most of it is."""
        first = frame[frame["line"] == at.seen[0].name]
        layer = str(first.sort_values("y")["layer"].iloc[-1])
        values = [float(frame.loc[(frame["line"] == s.name) & (frame["layer"] == layer), "y"].sum()) for s in at.seen]
        return [compared(at, values, f"Most of it is in {layer}")]


def _gathered(table: pd.DataFrame) -> pd.DataFrame:
    named, rest = layers.fewer(table, "y", "max", MOST)
    if not rest:
        return table
    named = named.assign(wide=(table["high"] - table["y"]) ** 2, var=table["stderr"] ** 2)
    out = named.groupby(["line", "layer", "method", "colour"], sort=False)[["y", "wide", "var"]].sum().reset_index()
    half = out["wide"] ** 0.5
    out = out.assign(low=out["y"] - half, high=out["y"] + half, stderr=out["var"] ** 0.5)
    return out.sort_values("layer", key=lambda s: s == rest, kind="stable")[COLUMNS]


VIEW = LookLayers()
