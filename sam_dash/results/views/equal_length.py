"""RW-SAM against plain SAM at the same mean ||eps||, and the m at which m-SAM does what RW-SAM does.

A longer perturbation flattens by itself; what RW-SAM's weights do is what is left at equal length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, columns
from sam_dash.results.numbers import statistics, tables

SAME = 0.02  # lengths that differ by less than this share are taken as equal


class Equal(NamedTuple):
    """A cell of RW-SAM beside SAM at its length, seed by seed; `outside` the seeds with no SAM run around it."""

    line: str
    length: float
    rwsam: statistics.Mean
    sam: statistics.Mean
    difference: statistics.Mean
    outside: int


class Equivalent(NamedTuple):
    """The m (log2, mean over seeds with its interval) at which m-SAM has a cell's value; seeds out of range."""

    line: str
    log2_m: statistics.Mean
    below: int
    above: int


def per_run(finals: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Value of `quantity` and mean ||eps|| of each run."""
    table = finals[finals["quantity"].isin([quantity, "eps_norm"])]
    wide = table.pivot_table(index="run", columns="quantity", values="value", aggfunc="first").reset_index()
    both = finals.drop_duplicates("run")[["run", *tables.settings(finals), "seed"]].merge(wide, on="run")
    return both.reindex(columns=[*both.columns, *({quantity, "eps_norm"} - set(both.columns))])


def at_length(curve: Mapping[float, float], length: float) -> float | None:
    """A value at a length: that of an equal one (2 %), or between its neighbours, linear in log length."""
    near = min(curve, key=lambda known: abs(math.log(known / length)), default=None)
    if near is None:
        return None
    if abs(near / length - 1) <= SAME:
        return curve[near]
    below, above = [k for k in curve if k < length], [k for k in curve if k > length]
    if not below or not above:
        return None
    a, b = max(below), min(above)
    share = math.log(length / a) / math.log(b / a)
    return curve[a] + share * (curve[b] - curve[a])


def compare(rw: pd.DataFrame, sam: pd.DataFrame, quantity: str, look: cells.Looks) -> list[Equal]:
    """Every cell of RW-SAM with lambda > 0 against SAM at m = B, both from `per_run`."""
    curves: dict[int, dict[float, float]] = {}
    for r in tables.records(sam[(sam["variant"] == "sam") & (sam["m"] == look.batch)]):
        if r["eps_norm"] > 0 and math.isfinite(r[quantity]):
            curves.setdefault(r["seed"], {})[r["eps_norm"]] = r[quantity]
    weighted = rw[(rw["variant"] == "rwsam") & (rw["lam"] > 0) & (rw["eps_norm"] > 0)]
    out = []
    for _, of in weighted.groupby(tables.cell(weighted), dropna=False, sort=False):
        here, there, outside = {}, {}, 0
        for r in tables.records(of):
            found = at_length(curves.get(r["seed"], {}), r["eps_norm"])
            outside += found is None
            if found is not None:
                here[r["seed"]], there[r["seed"]] = r[quantity], found
        line = look[tables.records(of.head(1))[0]]["line"]
        means = [statistics.mean(v.values()) for v in (here, there)]
        length = float(of["eps_norm"].mean())
        out.append(Equal(line, length, means[0], means[1], statistics.paired(here, there), outside))
    return out


def lengths_missing(found: list[Equal]) -> tuple[float, ...]:
    """The rho that SAM has to be run at, two digits, for a comparison of every cell: SAM's ||eps|| is its rho."""
    wanted = []
    for e in found:
        if e.outside:
            step = 10 ** (math.floor(math.log10(e.length)) - 1)
            wanted += [math.floor(e.length * 0.9 / step + 1e-9) * step, math.ceil(e.length * 1.1 / step - 1e-9) * step]
    return tuple(sorted({float(f"{v:.3g}") for v in wanted}))


def shown(found: list[Equal], quantity: str) -> pd.DataFrame:
    """For people."""
    rows = []
    for e in found:
        d, show = e.difference, partial(words.in_unit, quantity)
        told = "no SAM run of this length" if d.n == 0 else "one seed: no interval" if d.n < 2 else "a tie"
        told = ("RW-SAM is higher" if d.low > 0 else "RW-SAM is lower") if d.excludes(0) else told
        row: dict[str, Any] = {"RW-SAM": e.line, "Mean ‖ε‖": e.length, words.labelled(quantity): show(e.rwsam.mean)}
        row |= {f"SAM at this ‖ε‖{words.unit(quantity)}": show(e.sam.mean)}
        row |= columns.spread(f"Difference, paired{words.unit(quantity, True)}", d, quantity)
        rows.append(row | {"Seeds": d.n, "Seeds without SAM": e.outside, "Reading": told})
    return pd.DataFrame(rows)


def invert(curve: Mapping[float, float], value: float) -> float | str | None:
    """The log2 m at which a curve m -> y passes `value`, linear in log2 m between neighbours.

    "below" / "above": it is on the side of the smallest / largest m. None: no curve, or it crosses more than once.
    """
    x = np.log2(sorted(curve))
    y = np.array([curve[m] for m in sorted(curve)])
    if len(x) < 2 or not np.isfinite(y).all() or not math.isfinite(value):
        return None
    d = y - value
    hits = {float(x[i]) for i in np.flatnonzero(d == 0)}
    for i in np.flatnonzero(d[:-1] * d[1:] < 0):
        hits.add(float(x[i] + d[i] / (d[i] - d[i + 1]) * (x[i + 1] - x[i])))
    if len(hits) == 1:
        return hits.pop()
    if hits:
        return None
    return "above" if abs(d[-1]) < abs(d[0]) else "below"


def equivalent(rw: pd.DataFrame, sam: pd.DataFrame, quantity: str, look: cells.Looks) -> list[Equivalent]:
    """For every cell of RW-SAM with lambda > 0, the equivalent m of each seed's own m-SAM curve."""
    curves: dict[int, dict[float, float]] = {}
    for r in tables.records(sam[sam["variant"] == "sam"]):
        curves.setdefault(r["seed"], {})[r["m"]] = r[quantity]
    weighted = rw[(rw["variant"] == "rwsam") & (rw["lam"] > 0)]
    out = []
    for _, of in weighted.groupby(tables.cell(weighted), dropna=False, sort=False):
        found = [invert(curves.get(r["seed"], {}), r[quantity]) for r in tables.records(of)]
        inside = [v for v in found if isinstance(v, float)]
        line = look[tables.records(of.head(1))[0]]["line"]
        out.append(Equivalent(line, statistics.mean(inside), found.count("below"), found.count("above")))
    return out


def equivalents_shown(found: list[Equivalent], quantity: str, sizes: list[float]) -> pd.DataFrame:
    """For people: an m only where every seed's value is inside the range of m; elsewhere which side it is on."""
    rows = []
    for e in found:
        m, told = statistics.NOTHING, "no m-SAM curve to read it off"
        n = e.log2_m.n + e.below + e.above
        if e.below or e.above:
            side = [f"{k} of {n} seeds {where}" for k, where in (
                (e.below, f"below m = {min(sizes):g}"), (e.above, f"above m = {max(sizes):g}")) if k]  # fmt: skip
            told = f"outside the range: {captions.listed(side)}"
        elif e.log2_m.n:
            told = "inside the range" if e.log2_m.n > 1 else "one seed: no interval"
            m = e.log2_m._replace(**{k: 2 ** getattr(e.log2_m, k) for k in ("mean", "low", "high")})
        row: dict[str, Any] = {"RW-SAM": e.line, "By": words.quantity(quantity).name}
        row |= columns.spread("Equivalent m", m)
        rows.append(row | {"Seeds inside": e.log2_m.n, "Reading": told})
    return pd.DataFrame(rows)


def modes(finals: pd.DataFrame, quantities: list[str], knob: str, base: Any, other: Any) -> pd.DataFrame:
    """Paired by seed: `other` minus `base` of a knob of RW-SAM with all else equal, for people."""
    rw = finals[(finals["variant"] == "rwsam") & (finals["lam"] > 0)]
    if rw[knob].nunique() < 2:
        return pd.DataFrame()
    rest = [k for k in tables.cell(rw) if k != knob]
    named = [k for k in rest[2:] if k in ("rho", "lam") or rw[k].nunique() > 1]
    rows = []
    for q in quantities:
        for key, cell in rw[rw["quantity"] == q].groupby(rest, dropna=False, sort=False):
            by = {
                str(v): dict(zip(part["seed"], part["value"], strict=True))
                for v, part in cell.groupby(knob, sort=False)
            }
            d = statistics.paired(by.get(str(other), {}), by.get(str(base), {}))
            if d.n == 0:
                continue
            at = {k: v for k, v in zip(rest, key, strict=True) if k in named}
            told = "one seed: no interval" if d.n < 2 else "a tie"
            if d.excludes(0):
                told = f"{_mode(other)} is {'higher' if d.mean > 0 else 'lower'}"
            row: dict[str, Any] = {"At": words.knob_text(at), "Quantity": words.labelled(q, difference=True)}
            row |= columns.spread(f"{_mode(other)} minus {_mode(base)}, paired", d, q)
            rows.append(row | {"Seeds": d.n, "Reading": told})
    return pd.DataFrame(rows)


def _mode(value: Any) -> str:
    return {True: "normalised", False: "not normalised"}[value] if isinstance(value, bool) else str(value)
