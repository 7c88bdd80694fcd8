"""Sentences about a figure of several ρ or studies: which of all that is drawn is best, and what ties with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import sentences
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.numbers import statistics, tables


class Best(NamedTuple):
    """The best mean of a quantity: its cell, row in the frame, value, and seeds; how many others, how many tie."""

    line: str
    row: int
    value: float
    seeds: int
    others: int
    ties: int


def best(frame: pd.DataFrame, q: str, look: Looks) -> Best | None:
    """The best cell of a `tables.summary` frame; None of a quantity that is not better one way.

    A tie: the 95 % interval of the difference, paired by seed, contains 0, widened so that those of all others hold
    together (Bonferroni).
    """
    sign = words.better(q)
    means: dict[str, tuple[float, int]] = {}
    seeds: dict[str, dict[int, float]] = {}
    for r in tables.records(frame[frame["quantity"] == q].assign(row=lambda f: f.index)):
        line = look[r]["line"]
        if r["kind"] == "mean":
            means[line] = (r["y"], r["row"])
        else:
            seeds.setdefault(line, {})[r["seed"]] = r["y"]
    if not sign or len(means) < 2:
        return None
    top = max(means, key=lambda name: sign * means[name][0])
    apart = [statistics.paired(seeds[top], seeds[name]) for name in means if name != top]
    ties = sum(not d.widened(len(apart)).excludes(0) for d in apart)
    return Best(top, means[top][1], means[top][0], len(seeds[top]), len(apart), ties)


def rings(frame: pd.DataFrame, look: Looks) -> set[int]:
    """The rows of the best means of the scores that one wants better for their own sake."""
    goals = [q for q in dict.fromkeys(frame["quantity"]) if sentences.is_goal(q)]
    return {found.row for q in goals if (found := best(frame, q, look))}


def headline(frame: pd.DataFrame, look: Looks, against: str = "") -> str:
    """The best of all cells in the first such score, and what ties with it; "" where there is none."""
    goals = frame[frame["quantity"].map(sentences.is_goal)]
    return next(iter(findings(goals, look, against)), "")


def findings(frame: pd.DataFrame, look: Looks, against: str = "") -> list[str]:
    """A sentence a quantity that is better one way: the best of all cells, and how many tie with it."""
    every = ((q, best(frame, q, look)) for q in dict.fromkeys(frame["quantity"]))
    return [_said(q, of, against) for q, of in every if of]


def _said(q: str, of: Best, against: str) -> str:
    name = words.quantity(q).name + (f" relative to {against}" if against else "")
    where = f"{name} is {'highest' if words.better(q) > 0 else 'lowest'} of {of.others + 1} settings for {of.line}"
    text = f"{where}: {words.show(q, of.value, bool(against))}"
    if of.seeds < 2:
        return f"{text} (one seed: no interval)."
    others = "the other" if of.others == 1 else f"{of.ties or 'none'} of {of.others} others"
    if of.others == 1:
        return f"{text}; {others} {'ties with it' if of.ties else 'is apart from it'} (paired by seed, 95 %)."
    verb = "ties" if of.ties == 1 else "tie"
    return f"{text}; {others} {verb} with it (paired by seed, 95 % for all comparisons together)."


def each_line(finals: pd.DataFrame, look: Looks, x: str, table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """`table` of the final values of every line over x, one below the other, its column Variant the line's name."""
    out = []
    for _, of in finals.groupby([k for k in tables.cell(finals) if k != x], dropna=False, sort=False):
        name = look.name(tables.records(of.head(1))[0], x)
        out.append(table(of).assign(Variant=name))
    full = [rows for rows in out if len(rows)]
    return pd.concat(full, ignore_index=True) if full else table(finals[:0])
