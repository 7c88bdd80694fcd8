"""Which layers the gradient noise is in: each layer's share of tr(V), beside its share of the parameters."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.problems import architecture
from sam_dash.problems.datasets import DataError
from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, panels, style
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import noise_law
from sam_dash.results.views.view import Missing, Selection, StudyView
from sam_dash.runs.spec import SweepSpec

PREFIX = "layer_noise@"
MOST = 8  # bars of one colour each, at most; the layers of least noise are drawn as one
EVEN = "Parameters"
PATTERNS = ("", "/", "", "x", "", ".", "", "\\")
COLUMNS = ["line", "layer", "rho", "kind", "y", "low", "high", "n", "value", "stderr", "colour", "pattern"]


def whole(finals: pd.DataFrame) -> set[str]:
    """The quantities measured, but those of single layers (they are on Noise) and of single radii (on Theory), of which
    there are dozens, and the time, which the runs of a stack share, so that it has no interval over seeds.
    """
    return {q for q in finals["quantity"] if not q.startswith((PREFIX, "added_")) and q != "train_seconds"}


def parameters(spec: SweepSpec) -> dict[str, int]:
    """The number of parameters of each layer; empty where the data, and so their shape, are gone."""
    p = spec.problem
    try:
        data = p.data
        if p.card:
            return dict(p.card.layers)
        parts = architecture.layers(p.network, data.shape, data.outputs, p.vocabulary)
        return {part.name: part.parameters for part in parts}
    except (DataError, ValueError):
        return {}


def per_run(finals: pd.DataFrame) -> pd.DataFrame:
    """One row a run and layer: its tr(V) and its share of all layers'."""
    of = finals[finals["quantity"].str.startswith(PREFIX)]
    of = of.assign(layer=of["quantity"].str.removeprefix(PREFIX))
    share = of["value"] / of.groupby("run")["value"].transform("sum")
    return of.assign(share=share)[["run", *tables.settings(of), "seed", "layer", "value", "stderr", "share"]]


def fewer(table: pd.DataFrame, by: str, of: str, most: int) -> tuple[pd.DataFrame, str]:
    """The table with one name, which is told too, for all layers beyond `most`: those least in `of` of the column `by`.

    Of `most` layers or less the table as it is, and "".
    """
    sizes = table.groupby("layer", sort=False)[by].agg(of)
    if len(sizes) <= most:
        return table, ""
    kept = set(sizes.nlargest(most - 1).index)
    rest = f"{len(sizes) - len(kept)} other layers"
    return table.assign(layer=[n if n in kept else rest for n in table["layer"]]), rest


def gathered(table: pd.DataFrame) -> pd.DataFrame:
    """`per_run` with the layers of least noise, beyond `MOST`, added up as one."""
    named, rest = fewer(table, "share", "mean", MOST)
    if not rest:
        return table
    squared = named.assign(stderr=table["stderr"] ** 2)
    keys = ["run", *tables.settings(table), "seed", "layer"]
    out = squared.groupby(keys, dropna=False, sort=False)[["value", "stderr", "share"]].sum().reset_index()
    return out.assign(stderr=out["stderr"] ** 0.5).sort_values("layer", key=lambda s: s == rest, kind="stable")


def frame(table: pd.DataFrame, sizes: dict[str, int], look: cells.Looks, interval: str = "ci") -> pd.DataFrame:
    """One row a setting and layer of `gathered`: mean share over seeds; first, as `EVEN`, the shares of parameters."""
    names = list(dict.fromkeys(table["layer"]))
    looks = {name: _look(i, names) for i, name in enumerate(names)}
    rows = []
    if sizes:
        d = sum(sizes.values())
        share = {name: sizes[name] / d for name in names if name in sizes}
        share |= {name: 1 - sum(share.values()) for name in names if name not in sizes}
        rows = [{"line": EVEN, "layer": n, "kind": "parameters", "y": share[n], **looks[n]} for n in names]
    for _, cell in table.groupby(tables.cell(table), dropna=False, sort=False):
        at = look[tables.records(cell.head(1))[0]]
        told = {"line": at["line"], "rho": at["rho"], "kind": "mean"}
        for name in names:
            of = cell[cell["layer"] == name]
            mean = statistics.mean(of["share"], interval)
            rows.append(
                told
                | {"layer": name, "y": mean.mean, "low": mean.low, "high": mean.high}
                | {"n": mean.n, "value": of["value"].mean(), "stderr": (of["stderr"] ** 2).mean() ** 0.5, **looks[name]}
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _look(i: int, names: list[str]) -> dict[str, str]:
    """Colours in the order of the layers, patterns so that neighbours differ by more than colour."""
    if names[i].endswith(" other layers"):
        return {"colour": style.GREY, "pattern": ""}
    place = round(i / max(1, len(names) - 1) * (len(style.ORDERED) - 1))
    return {"colour": style.ORDERED[place], "pattern": PATTERNS[i % len(PATTERNS)]}


def figure(frame: pd.DataFrame, columns: int = 6) -> go.Figure:
    """One bar of 100 % a setting, the layers from input (left) to output."""
    fig = go.Figure()
    for name, of in frame.groupby("layer", sort=False):
        first = of.iloc[0]
        fig.add_trace(
            go.Bar(
                x=of["y"], y=of["line"], orientation="h", name=str(name),
                text=[f"{name} {words.per_cent(y)}" if y > 0.09 else "" for y in of["y"]], textposition="inside",
                insidetextanchor="middle", textangle=0, textfont={"color": "#FFFFFF", "size": 12},
                marker={
                    "color": first["colour"], "line": {"width": 0},
                    "pattern": {
                        "shape": first["pattern"], "bgcolor": first["colour"], "fgcolor": "#FFFFFF", "fgopacity": 0.3,
                        "size": 6, "solidity": 0.2,
                    },
                },
                customdata=of[["low", "high", "n", "value", "stderr"]].to_numpy(),
                hovertemplate=[_hover(k) for k in of["kind"]],
            )
        )  # fmt: skip
    bars = frame["line"].nunique()
    fig.update_layout(
        panels.layout(1, 61 + 40 * bars, dict.fromkeys(frame["layer"]), columns, 10, 16, 44, "Layer")
        | {"barmode": "stack", "uniformtext": {"minsize": 10, "mode": "hide"}, "bargap": 0.25},
        legend_traceorder="normal",
    )
    fig.update_xaxes(range=[0, 1], tickformat=".0%", showgrid=False, zeroline=False, ticks="outside", ticklen=4,
                     title_text="share of tr(<i>V</i>); of <i>d</i> in the bar Parameters")  # fmt: skip
    fig.update_yaxes(autorange="reversed", automargin=True, ticks="")
    return fig


def _hover(kind: str) -> str:
    if kind == "parameters":
        return "<b>%{fullData.name}</b><br>%{x:.1%} of the parameters<extra></extra>"
    return (
        "<b>%{fullData.name}</b>, %{y}<br>%{x:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}] of tr(<i>V</i>), "
        "n = %{customdata[2]}<br>tr(<i>V</i>) of it %{customdata[3]:.4~g}, standard error of one run "
        "%{customdata[4]:.2~g}<extra></extra>"
    )


def caption(study: Study, frame: pd.DataFrame, interval: str) -> str:
    """What a bar is."""
    even = (
        " The bar Parameters: how it would be if all parameters had equal noise." if EVEN in set(frame["line"]) else ""
    )
    return (
        f"Each layer's share of tr(V) of the finished weights, weights and biases together; mean over "
        f"{captions.seeds(frame)}, with the {statistics.INTERVALS[interval]} over seeds in the hover and under Data."
        f"{even} {captions.setting(study.spec)}. {captions.radius(frame)}"
    )


def findings(table: pd.DataFrame, frame: pd.DataFrame, look: cells.Looks) -> list[str]:
    """The layer with most noise: its share beside that of its parameters, and where it is lowest and highest."""
    means = frame[frame["kind"] == "mean"]
    name = str(means.groupby("layer", sort=False)["y"].mean().idxmax())
    of = means[means["layer"] == name]
    text = f"Most noise is in {name}: {words.span(of['y'])} of tr(V)"
    even = frame[(frame["kind"] == "parameters") & (frame["layer"] == name)]["y"]
    if len(even):
        share, judged = float(even.iloc[0]), of[of["n"] > 1]
        more, less = (judged["low"] > share).sum(), (judged["high"] < share).sum()
        text += f", with {words.per_cent(share)} of the parameters"
        if len(judged):
            counts = ((more, "more than"), (less, "less than"), (len(judged) - more - less, "a tie with"))
            text += f" ({captions.listed(f'{what} that in {k}' for k, what in counts if k)} of {len(judged)} settings)"
    out = [f"{text}."]
    values: dict[str, dict[int, float]] = {}
    for r in tables.records(table[table["layer"] == name]):
        values.setdefault(look[r]["line"], {})[r["seed"]] = r["share"]
    if len(values) > 1:
        out.append(statistics.extremes(values, f"The share of {name} is", lambda v: words.per_cent(v, 1)))
    return out


class Layers(StudyView):
    """The layers' shares, of the settings that `noise_law.VIEW` shows."""

    key, title, page = "layers", "Each layer's share of tr(V)", "noise"

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`."""
        table = gathered(per_run(noise_law.chosen(at)))
        return frame(table, parameters(at.study.spec), at.look, at.interval) if len(table) else table

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """See `figure`."""
        return figure(frame, columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(at.study, frame, at.interval)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`."""
        return findings(gathered(per_run(noise_law.chosen(at))), frame, at.look)

    def missing(self, at: Selection) -> Missing:
        """Newer runs have it."""
        sweep = further.extended(at.study, seeds=further.seeds(at.study))
        return Missing(
            "The noise of each layer is not in this study", "Studies made before it was measured lack it.",
            {f"Set up this study with {further.seeds_text(sweep)}": sweep},
        )  # fmt: skip


VIEW = Layers()
