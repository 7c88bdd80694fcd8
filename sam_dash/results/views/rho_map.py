"""The rho x m map: any quantity over both, with the best rho of each m by test score, collapsed cells marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, panels, sentences
from sam_dash.results.numbers import collapse, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.view import Missing, Selection, StudyView
from sam_dash.runs.spec import divisors

OUTLINE = "#D55E00"
OWN = "Each m at the best ρ tried:"


def by_cell(finals: pd.DataFrame, quantity: str) -> dict[tuple[float, float], dict[int, float]]:
    """(m, rho) -> seed -> value."""
    out: dict[tuple[float, float], dict[int, float]] = {}
    for r in tables.records(finals[finals["quantity"] == quantity]):
        out.setdefault((r["m"], r["rho"]), {})[r["seed"]] = r["value"]
    return out


def frame(
    finals: pd.DataFrame, runs: pd.DataFrame, quantity: str, gone: set[str], interval: str = "ci"
) -> pd.DataFrame:
    """One row a cell that has runs: m, rho, y, low, high, n, missing, score and by which, collapsed, best."""
    runs = runs[runs["m"].notna() & runs["rho"].notna()]
    score = words.scored("test_acc", set(finals["quantity"]))
    values, scores = by_cell(finals, quantity), by_cell(finals, score)
    rows = []
    for (m, rho), of in runs.groupby(["m", "rho"]):
        key = (float(str(m)), float(str(rho)))
        mean = statistics.mean(values.get(key, {}).values(), interval)
        mean_score = statistics.mean(scores.get(key, {}).values())
        rows.append(
            {"m": key[0], "rho": key[1], "quantity": quantity, "y": mean.mean, "low": mean.low, "high": mean.high}
            | {"n": mean.n, "missing": of["run"].nunique() - mean.n, "score": mean_score.mean, "by": score}
            | {"collapsed": bool(set(of["run"]) & gone)}
        )
    columns = ["m", "rho", "quantity", "y", "low", "high", "n", "missing", "score", "by", "collapsed", "best"]
    table = pd.DataFrame(rows, columns=columns)
    alive = table[~table["collapsed"].astype(bool) & table["score"].notna()]
    best = alive.sort_values("score", ascending=words.better(score) > 0).groupby("m").tail(1).index
    return table.assign(best=table.index.isin(best))


def figure(table: pd.DataFrame, columns: int = 6) -> go.Figure:
    """The heat map: m left to right, rho upwards, both as equal steps."""
    narrow = columns == 1
    xs, ys = ([f"{v:g}" for v in sorted(set(table[c]))] for c in ("m", "rho"))
    fig = go.Figure()
    dead = [r["collapsed"] for r in tables.records(table)]
    if any(dead):
        fig.add_trace(_heat(table[dead], xs, ys, flat=True, narrow=narrow))
    if not all(dead):
        fig.add_trace(_heat(table[[not d for d in dead]], xs, ys, narrow=narrow))
    for r in tables.records(table[table["best"]]):
        x, y = xs.index(f"{r['m']:g}"), ys.index(f"{r['rho']:g}")
        box = {"x0": x - 0.47, "x1": x + 0.47, "y0": y - 0.44, "y1": y + 0.44}
        fig.add_shape(type="rect", **box, line={"color": OUTLINE, "width": 4})
    fig.update_xaxes(
        type="category", categoryorder="array", categoryarray=xs, showgrid=False, ticks="outside",
        title_text="micro-batch size <i>m</i> (log₂ scale)",
    )  # fmt: skip
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=ys, showgrid=False, ticks="outside",
        title_text="perturbation radius <i>ρ</i>",
    )  # fmt: skip
    top = panels.DROP + panels.TITLE + (60 if narrow else 4)  # the tool bar stands above the scale's name
    fig.update_layout(
        height=114 + 58 * max(2, len(ys)) + top, font={"size": 13}, margin={"l": 60, "r": 10, "t": top, "b": 52},
        plot_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip
    return fig


def _heat(table: pd.DataFrame, xs: list[str], ys: list[str], flat: bool = False, narrow: bool = False) -> go.Heatmap:
    """One trace on the whole grid, empty where `table` has no row; grey and without a scale if `flat`."""
    q, by = str(table["quantity"].iloc[0]), str(table["by"].iloc[0])
    unit, unit_by = (".1%" if words.is_fraction(key) else ".4~g" for key in (q, by))
    z: list[list[Any]] = [[None] * len(xs) for _ in ys]
    text: list[list[Any]] = [[""] * len(xs) for _ in ys]
    hover: list[list[Any]] = [[[None] * 6] * len(xs) for _ in ys]
    for r in tables.records(table):
        i, j = ys.index(f"{r['rho']:g}"), xs.index(f"{r['m']:g}")
        z[i][j] = 0.0 if flat else r["y"] if r["n"] else None
        shown = ("✕" if narrow else "collapsed") if flat else words.show(q, r["y"]) if r["n"] else "no result"
        text[i][j] = ("★ " if r["best"] and not narrow else "") + (shown.removesuffix(" %") if narrow else shown)
        hover[i][j] = [r[k] for k in ("y", "low", "high", "n", "missing", "score")]
    look: dict[str, Any] = {"colorscale": [[0, "#767676"], [1, "#767676"]], "showscale": False}
    if not flat:
        bar = {"title": {"text": words.quantity(q).html}, "thickness": 14}
        bar |= {"orientation": "h", "y": 1, "yanchor": "bottom", "nticks": 5} if narrow else {}
        look = {"colorscale": "Viridis", "colorbar": bar | {"tickformat": ".1~%" if words.is_fraction(q) else None}}
    return go.Heatmap(
        x=xs, y=ys, z=z, text=text, texttemplate="%{text}", xgap=2, ygap=2, customdata=hover, hoverongaps=False,
        textfont={"size": 11 if narrow else 13},
        hovertemplate=f"<i>m</i> = %{{x}}, <i>ρ</i> = %{{y}}{'<br>collapsed' if flat else ''}<br>"
        f"{words.quantity(q).html} = %{{customdata[0]:{unit}}} [%{{customdata[1]:{unit}}}, %{{customdata[2]:{unit}}}], "
        f"n = %{{customdata[3]}}<br>{words.quantity(by).html} %{{customdata[5]:{unit_by}}}; "
        "runs without a result: %{customdata[4]}"
        "<extra></extra>", **look,
    )  # fmt: skip


def extreme(score: str) -> str:
    """Where the best is: "highest" or "lowest"."""
    return "highest" if words.better(score) > 0 else "lowest"


def caption(study: Study, table: pd.DataFrame, variant: str, interval: str, pooled: bool) -> str:
    """What a cell, the outline and the grey are."""
    n = table.loc[table["n"] > 0, "n"].astype(int)
    error = statistics.INTERVALS[interval]
    seeds = "no seed" if n.empty else f"{n.min()} to {n.max()} seeds" if n.min() < n.max() else f"{n.max()} seeds"
    where = "all runs of this problem in the store" if pooled else "this study"
    by = str(table["by"].iloc[0]) if len(table) else "test_acc"
    return (
        f"{words.title(variant)}: mean over {seeds.replace('1 seeds', '1 seed')}, {where}; the {error} and n are "
        f"in the hover. Outlined and starred: the ρ of {extreme(by)} mean **{words.within(by)}** at each m, whatever "
        "is shown; chosen and compared on the same seeds, which flatters it. Grey: collapsed. "
        f"{collapse.RULE} {captions.setting(study.spec)}."
    )  # fmt: skip


def findings(table: pd.DataFrame, finals: pd.DataFrame) -> list[str]:
    """The best rho per m with what ties with it, and m against m each at its own best rho."""
    score = str(table["by"].iloc[0]) if len(table) else "test_acc"
    accuracy = by_cell(finals, score)
    q = str(table["quantity"].iloc[0]) if len(table) else ""
    out, best, edges = [], {}, 0
    for m, of in table.groupby("m", sort=False):
        row = of[of["best"]]
        if row.empty:
            out.append(f"m = {m:g}: no setting that did not collapse.")
            continue
        at = tables.records(row)[0]
        best[float(str(m))] = at
        others = of[~of["best"] & ~of["collapsed"] & (of["n"] > 0)]
        against = {
            words.number(r["rho"]): statistics.paired(accuracy[at["m"], at["rho"]], accuracy[r["m"], r["rho"]])
            for r in tables.records(others)
        }
        ties = [rho for rho, d in against.items() if d.n > 1 and not d.excludes(0)]
        open_ = [rho for rho, d in against.items() if d.n < 2]
        text = f"m = {m:g}: {words.within(score)} is {extreme(score)} at ρ = {at['rho']:g}"
        text += f" ({words.show(score, at['score'])}"
        tried = table["rho"]
        edge = {tried.max(): "largest", tried.min(): "smallest"}.get(at["rho"], "")
        text += f", n = {len(accuracy[at['m'], at['rho']])})"
        text += f", in a tie with ρ = {captions.listed(ties)}" if ties else ""
        text += f"; no interval against ρ = {captions.listed(open_)} (too few common seeds)" if open_ else ""
        text += f"; that is the {edge} ρ tried, so that the best may lie beyond" if edge else ""
        out.append(f"{text}.")
        edges += bool(edge)
    if len(best) > 1:
        values = by_cell(finals, q)
        ends = max(best), min(best)
        at_ends = [f"m = {m:g}" for m in ends]
        for name, known in {score: accuracy, q: values}.items():
            large, small = (known.get((m, best[m]["rho"]), {}) for m in ends)
            if large and small:
                means = [statistics.mean(of.values()).mean for of in (large, small)]
                change = sentences.compare(name, "", means, statistics.paired(small, large), at_ends, "")
                beyond = f" At {edges} of {len(best)} m that ρ is at the edge of the grid." if edges else ""
                out.append(f"{OWN} {change}{beyond}")
    return out


class Map(StudyView):
    """The map of one variant that is swept over m, at several ρ.

    Options: `variant`, the first such; `quantity`, the test score; `pooled`, whether runs of other studies are among
    them.
    """

    key, title, page = "rho_m", "Map over ρ and m", "rho_m"
    whole = True

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`; empty at a single ρ."""
        of = at.options.get("variant") or next((v for v in at.finals["variant"] if cells.swept(v)), "")
        finals, runs = (rows[rows["variant"] == of] for rows in (at.finals, at.runs))
        several = runs["rho"].nunique() > 1
        found = frame(finals, runs, self.quantity(at), at.collapsed, at.interval)
        return found.assign(variant=of) if several else found[:0]

    def choices(self, at: Selection) -> Iterator[tuple[str, Selection]]:
        """Accuracy and tr(H) of every variant."""
        for variant in dict.fromkeys(v for v in at.finals["variant"] if cells.swept(v)):
            measured = set(at.finals.loc[at.finals["variant"] == variant, "quantity"])
            for quantity in (q for q in words.all_scored(("test_acc", "tr_H"), measured) if q in measured):
                yield f"-{variant}-{quantity}", at.but(variant=variant, quantity=quantity)

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """See `figure`."""
        return figure(frame, columns)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        variant = str(frame["variant"].iloc[0])
        return caption(at.study, frame, variant, at.interval, at.options.get("pooled", False))

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`."""
        return findings(frame, at.finals[at.finals["variant"] == frame["variant"].iloc[0]])

    def headline(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The smallest m against the largest, each at its own best ρ."""
        return next((line for line in found if line.startswith(OWN)), "") or super().headline(frame, at, found)

    def alt(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The quantity, how much collapsed, the findings."""
        name, lost = words.quantity(str(frame["quantity"].iloc[0])).name, int(frame["collapsed"].sum())
        return f"Map of {name} over ρ and m. {lost} of {len(frame)} settings collapsed. {' '.join(found)}"

    def missing(self, at: Selection) -> Missing:
        """Half to five times its least ρ."""
        spec = at.study.spec
        base, swept = min(at.study.values("rho"), default=0.1), any(cells.swept(v) for v in at.finals["variant"])
        wide = tuple(float(f"{base * f:.2g}") for f in (0.5, 1, 2, 3, 5))
        sweep = replace(spec, variants=("sgd", at.options.get("variant") or "sam"), knobs={"rho": wide})
        sweep = sweep if len(sweep.m) > 1 else replace(sweep, m=tuple(divisors(at.batch)[::2]))
        return Missing(
            "This study has one ρ only" if swept else "This study has no runs that are swept over m",
            "A map wants several ρ, each with the same m and seeds. Runs of the same problem in other studies of the "
            "store count too, with “All runs of this problem” above.",
            {f"Set up ρ = {captions.listed(f'{v:g}' for v in wide)}": sweep},
        )

    def name(self, at: Selection) -> str:
        """The quantity is in it."""
        return f"rho-m-{self.quantity(at)}-{at.study.id[:6]}"

    def quantity(self, at: Selection) -> str:
        """That chosen, else the score on the test set."""
        return str(at.options.get("quantity") or words.scored("test_acc", set(at.finals["quantity"])))


VIEW = Map()
