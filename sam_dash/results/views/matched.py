"""Everything against what it has to be matched in: train loss, gradient evaluations, seconds.

An accuracy gained by fitting less, or by computing more, is not one of a flatter minimum. The baseline is SGD stopped
early: the points of its own trajectory.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, columns, style
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import dynamics

X = {"Train loss": "train_loss", "Gradient evaluations": "gradients", "Seconds": "seconds"}
TITLES = {
    "train_loss": "Train loss",
    "gradients": "mini-batch gradient evaluations",
    "seconds": "seconds of training (without measurements)",
}
"""Axis titles; any other quantity has its own name."""
SHARED = " Seconds: wall clock of one machine, and of what else it did; the runs of a stack share its time evenly."
LOOK = ["colour", "marker"]  # columns of a frame that are drawn with and not taken away
LESS = ("train_loss", *words.LESS)
"""Quantities of which less is better; of the others more."""


class Matched(NamedTuple):
    """A cell against SGD stopped where it had the same train loss: seeds compared and seeds outside SGD's range."""

    line: str
    cell: statistics.Mean
    sgd: statistics.Mean
    difference: statistics.Mean
    outside: int


def wide(study: Study, finals: pd.DataFrame) -> pd.DataFrame:
    """One row a finished run: its cell, its seed, every final quantity, `gradients` and `seconds`."""
    table = finals.pivot_table(index="run", columns="quantity", values="value", aggfunc="first").reset_index()
    settings = finals.drop_duplicates("run")[["run", *tables.settings(finals), "seed"]]
    return settings.merge(table, on="run").merge(dynamics.costs(study), on="run", how="left")


def frame(study: Study, table: pd.DataFrame, x: str, y: str, curves: pd.DataFrame) -> pd.DataFrame:
    """Rows kind = mean (both coordinates with 95 % t-intervals), seed, and sgd: SGD's trajectory, a row an epoch."""
    look = cells.of(study, table)
    rows: list[dict[str, Any]] = []
    for _, of in table.dropna(subset=[x, y]).groupby(tables.cell(table), dropna=False, sort=False):
        first = tables.records(of.head(1))[0]
        named = look[first]
        common = {k: named[k] for k in ("line", "colour", "marker")} | {"variant": first["variant"], "m": first["m"]}
        mx, my = statistics.mean(of[x]), statistics.mean(of[y])
        ends = {"x_low": mx.low, "x_high": mx.high, "low": my.low, "high": my.high, "n": my.n}
        rows.append(common | {"kind": "mean", "x": mx.mean, "y": my.mean} | ends)
        rows += [
            common | {"kind": "seed", "seed": r["seed"], "x": r[x], "y": r[y], "run": r["run"]}
            for r in tables.records(of)
        ]
    rows += _trajectory(study, table, x, y, curves)
    columns = ["line", "variant", "m", "kind", "seed", "epoch", "x", "x_low", "x_high", "y", "low", "high", "n"]
    out = pd.DataFrame(rows, columns=[*columns, "front", "best", "run", *LOOK])
    return out.assign(front=pareto(out, y) if x != "train_loss" else False, best=_best(out, y))


def _best(table: pd.DataFrame, y: str) -> pd.Series[bool]:
    """The epoch at which SGD, stopped, is best in the mean."""
    track = table[(table["kind"] == "sgd") & (table["epoch"] > 0)].dropna(subset="y")
    if track.empty:
        return pd.Series(False, index=table.index)
    at = track["y"].idxmin() if y in LESS else track["y"].idxmax()
    return pd.Series(table.index == at, index=table.index)


def scatter(study: Study, table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The frame of a sharpness `x` and the test score, without a trajectory or a front."""
    return frame(study, table, x, y, pd.DataFrame(columns=tables.CURVES)).assign(front=False)


def scatter_caption(study: Study, table: pd.DataFrame) -> str:
    """What the marks of `scatter` are."""
    return (
        f"Each small dot is a run, each large mark the mean of a setting over {captions.seeds(table)} with 95 % "
        f"t-intervals both ways. {captions.setting(study.spec)}. {captions.excluded(study)}"
    )


def _trajectory(study: Study, table: pd.DataFrame, x: str, y: str, curves: pd.DataFrame) -> list[dict[str, Any]]:
    sgd = table[table["variant"] == "sgd"]
    pairs = paths(curves, y, set(sgd["run"]))
    if pairs.empty:
        return []
    if x != "train_loss":
        if study.recorded:  # how its cost was spread over its steps is not known
            return []
        total = sgd.set_index("run")[x]
        pairs = pairs.assign(loss=pairs["run"].map(total) * pairs["epoch"] / study.spec.training.epochs)
    grouped = pairs.groupby("epoch").agg(x=("loss", "mean"), y=("value", "mean"), n=("value", "count")).reset_index()
    look = {"line": "SGD, stopped early", "variant": "sgd", "kind": "sgd", "colour": style.look("sgd").colour}
    return [look | r | {"marker": "circle"} for r in tables.records(grouped)]


def paths(curves: pd.DataFrame, y: str, runs: set[str]) -> pd.DataFrame:
    """Train loss and `y` of runs at the steps where both were recorded: run, epoch, loss, value."""
    of = curves[curves["run"].isin(runs)]
    loss = of.loc[of["quantity"] == "train_loss", ["run", "step", "epoch", "value"]].rename(columns={"value": "loss"})
    other = of.loc[of["quantity"] == y, ["run", "step", "value"]]
    return loss.merge(other, on=["run", "step"]).sort_values(["run", "step"])


def pareto(table: pd.DataFrame, y: str) -> pd.Series[bool]:
    """Which means and which stops of SGD no other beats in both: cheaper, and better in y."""
    sign = -1.0 if y in LESS else 1.0
    means = table[table["kind"].isin(["mean", "sgd"]) & (table["x"] > 0)]
    x, v = means["x"].to_numpy(), sign * means["y"].to_numpy()
    on = [not bool(((x <= a) & (v >= b) & ((x < a) | (v > b))).any()) for a, b in zip(x, v, strict=True)]
    out = pd.Series(False, index=table.index)
    out.loc[means.index] = np.array(on, dtype=bool)
    return out


def crossing(loss: np.ndarray, value: np.ndarray, target: float) -> float | None:
    """`value` where the trajectory first comes down to a train loss of `target`, linear between two looks."""
    if loss[0] < target:
        return None
    for i in range(1, len(loss)):
        if loss[i] <= target:
            share = (loss[i - 1] - target) / (loss[i - 1] - loss[i])
            return float(value[i - 1] + share * (value[i] - value[i - 1]))
    return None


def at_same_loss(table: pd.DataFrame, curves: pd.DataFrame, y: str, look: cells.Looks) -> list[Matched]:
    """Every cell but SGD against SGD of the same seed, stopped where it had that run's final train loss."""
    sgd = table[table["variant"] == "sgd"]
    seed_of = dict(zip(sgd["run"], sgd["seed"], strict=True))
    tracks = {
        seed_of[str(run)]: (of["loss"].to_numpy(), of["value"].to_numpy())
        for run, of in paths(curves, y, set(sgd["run"])).groupby("run")
        if len(of) > 1
    }
    if not tracks:
        return []
    out = []
    for _, of in table[table["variant"] != "sgd"].groupby(tables.cell(table), dropna=False, sort=False):
        here, there, outside = {}, {}, 0
        for r in tables.records(of):
            if r["seed"] in tracks and r[y] == r[y]:
                found = crossing(*tracks[r["seed"]], r["train_loss"])
                outside += found is None
                if found is not None:
                    here[r["seed"]], there[r["seed"]] = r[y], found
        if here or outside:
            line = look[tables.records(of.head(1))[0]]["line"]
            both = [statistics.mean(side.values()) for side in (here, there)]
            out.append(Matched(line, both[0], both[1], statistics.paired(here, there), outside))
    return out


def matched_table(rows: list[Matched], y: str) -> pd.DataFrame:
    """`at_same_loss` for people."""
    show = partial(words.in_unit, y)
    out = []
    for r in rows:
        d = r.difference
        better = (d.low > 0) != (y in LESS)
        told = "outside SGD's range" if d.n == 0 else "one seed: no interval" if d.n < 2 else "a tie"
        if d.excludes(0):
            told = "better than SGD stopped early" if better else "worse than SGD stopped early"
        row: dict[str, Any] = {"Setting": r.line, words.labelled(y): show(r.cell.mean)}
        row |= {f"SGD stopped at this train loss{words.unit(y)}": show(r.sgd.mean)}
        row |= columns.spread(f"Difference, paired{words.unit(y, True)}", d, y)
        out.append(row | {"Seeds": d.n, "Seeds outside SGD's range": r.outside, "Reading": told})
    return pd.DataFrame(out)


def caption(study: Study, table: pd.DataFrame, x: str) -> str:
    """What the marks are."""
    front = (
        ""
        if x == "train_loss"
        else " Ringed: the Pareto front, cheaper or better than every other mean or stop of SGD."
    )
    track = "" if not (table["kind"] == "sgd").any() else (
        " Dotted: SGD's own trajectory, the mean over its seeds at each epoch it was looked at; each point is what "
        "stopping there would have given (its learning rate had not been annealed by then). Ringed on it: its best."
    )  # fmt: skip
    shared = SHARED if x == "seconds" else ""
    return (
        f"Means over {captions.seeds(table)} with 95 % t-intervals both ways; small dots: seeds.{shared}{track}{front} "
        f"{captions.setting(study.spec)}. {captions.excluded(study)}"
    )


def findings(rows: list[Matched], y: str) -> list[str]:
    """One sentence: which settings beat SGD stopped at their train loss, which tie, which lose."""
    groups: dict[str, list[str]] = {}
    for told, line in zip(matched_table(rows, y)["Reading"], [r.line for r in rows], strict=True) if rows else ():
        groups.setdefault(str(told), []).append(line)
    name = words.quantity(y).name
    return [f"{name} at equal train loss, {told}: {captions.listed(names)}." for told, names in groups.items()]


class Stop(NamedTuple):
    """SGD stopped at its best epoch, and the best other setting; the difference of a setting from a stop that are both
    chosen, for each seed, on the other seeds, so that the choice flatters neither.
    """

    epoch: float
    stopped: statistics.Mean
    line: str
    best: statistics.Mean
    difference: statistics.Mean


def stop(table: pd.DataFrame, curves: pd.DataFrame, y: str, look: cells.Looks) -> Stop | None:
    """The epoch at which SGD is best for `y` on average, against the best setting; None without a trajectory."""
    sign = -1.0 if y in LESS else 1.0
    sgd = table[table["variant"] == "sgd"]
    track = paths(curves, y, set(sgd["run"])).merge(sgd[["run", "seed"]], on="run")
    track = track[track["epoch"] > 0]
    others = table[table["variant"] != "sgd"].dropna(subset=y)
    if track.empty or track["epoch"].nunique() < 3 or others.empty:
        return None
    others = others.assign(line=[look[r]["line"] for r in tables.records(others)])
    stops = track.pivot_table(index="seed", columns="epoch", values="value")
    ends = others.pivot_table(index="seed", columns="line", values=y)
    epoch, line = _chosen(sign * stops), _chosen(sign * ends)
    apart = []
    for seed in stops.index.intersection(ends.index):
        rest = [frame.drop(index=seed) for frame in (stops, ends)]
        if all(len(frame) for frame in rest):
            at = [_chosen(sign * frame) for frame in rest]
            apart.append(ends.loc[seed, at[1]] - stops.loc[seed, at[0]])
    means = statistics.mean(stops[epoch]), statistics.mean(ends[line])
    return Stop(float(epoch), means[0], str(line), means[1], statistics.mean(apart))


def _chosen(values: pd.DataFrame) -> Any:
    """The column with the largest mean."""
    return values.mean().idxmax()


def best_stop(found: Stop, y: str) -> str:
    """SGD stopped at its best epoch against the best setting, as a sentence."""
    d, ahead = found.difference, found.difference.mean * (-1.0 if y in LESS else 1.0) > 0
    name, show = words.within(y), partial(words.show, y)
    sgd, other = show(found.stopped.mean), show(found.best.mean)
    stopped = f"SGD stopped after {found.epoch:g} epochs"
    how = f"paired, n = {d.n}; for each seed, epoch and setting chosen on the others"
    if d.n < 2:
        return f"{stopped} has {name} {sgd}, the best setting, {found.line}, {other}; too few common seeds to compare."
    if not d.excludes(0):
        return f"{stopped} ({name} {sgd}) ties with the best setting, {found.line} ({other}; {how})."
    d = d if ahead else -d
    d, word = (d, "above") if d.mean > 0 else (-d, "below")
    low, high = (show(end, True).removesuffix(" points") for end in (d.low, d.high))
    by = f"{show(d.mean, True)} [{low}, {high}] {word}"
    if ahead:
        return f"{found.line} is best: {name} {other}, {by} {stopped}, where it is best ({sgd}; {how})."
    return f"{stopped} beats every setting here: {name} {sgd}, {by} the best of them, {found.line} ({other}; {how})."
