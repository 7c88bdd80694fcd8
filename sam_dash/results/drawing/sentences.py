"""Sentences about a figure over m or λ, from its data: what its ends are, what lies between them, the one headline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, figures
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.numbers import statistics, tables


def findings(frame: pd.DataFrame, x: str, look: Looks, against: str = "") -> list[str]:
    """One sentence a quantity: how the end of the axis compares with its start, in paired differences, what lies beyond
    both ends between them, and how the horizontal lines compare with the start; and what is best at λ = 0.

    The judgement uses the 95 % t-interval of the paired difference, whichever interval is drawn.
    """
    out, best = [], {}
    drawn = figures.series(frame, x, look)
    several = len([variant for variant, _, _ in drawn if figures.is_curve(variant, x)]) > 1
    beside = {of["line"]: part for variant, of, part in drawn if not figures.is_curve(variant, x)}
    for name, q, points in along(frame, x, look):
        first, last = points[0], points[-1]
        subject = f"{name}: " if several else ""
        ends = compare(
            q, subject, [first.y, last.y], statistics.paired(last.seeds, first.seeds), [first.at, last.at], against
        )
        out.append(" ".join([ends, *_between(q, points), *_beside(q, first, beside)]))
        if x == "lam" and first.x == 0 and words.better(q):
            best[words.quantity(q).name] = top(q, points) is first
    if len(best) > 1 and all(best.values()):
        each = captions.listed(best)
        out.insert(0, f"Here λ = 0, which is SAM, is best in each of {each}: no λ > 0 does better in the mean.")
    return out


class Point(NamedTuple):
    """A place on the axis with its mean and its values by seed; the mean's row in the frame."""

    at: str
    y: float
    seeds: dict[int, float]
    x: float = math.nan
    row: int = -1


def along(frame: pd.DataFrame, x: str, look: Looks) -> Iterator[tuple[str, str, list[Point]]]:
    """Every line over the axis `x` with two places or more: its name, the quantity, and its places, m falling or λ
    rising.
    """
    for variant, name, part in figures.series(frame, x, look):
        if not figures.is_curve(variant, x):
            continue
        rows = tables.records(part.assign(row=part.index))
        for q in dict.fromkeys(r["quantity"] for r in rows):
            of = [r for r in rows if r["quantity"] == q and r[x] is not None and not math.isnan(r[x])]
            means = sorted((r for r in of if r["kind"] == "mean"), key=lambda r: r[x], reverse=x == "m")
            points = [
                Point(
                    f"{figures.SYMBOLS[x]} = {r[x]:g}"
                    + (" (SAM)" if x == "m" and r[x] == look.batch and variant == "sam" else ""),
                    r["y"],
                    {s["seed"]: s["y"] for s in of if s["kind"] == "seed" and s[x] == r[x]},
                    r[x],
                    r["row"],
                )
                for r in means
            ]
            if len(points) > 1:
                yield name["line"], q, points


def top(q: str, points: list[Point]) -> Point:
    """The place with the best mean, the first of several; of a quantity that is better one way."""
    return max(points, key=lambda p: words.better(q) * p.y)


def best(frame: pd.DataFrame, x: str, look: Looks) -> set[int]:
    """The rows of a `tables.summary` frame with the best mean of a line over the axis, of every score."""
    return {top(q, points).row for _, q, points in along(frame, x, look) if is_goal(q)}


def is_goal(q: str) -> bool:
    """Whether a quantity is a score that one wants better for its own sake, as a gap is not."""
    return words.is_score(q) and bool(words.better(q)) and not q.startswith("gap_")


def headline(frame: pd.DataFrame, x: str, look: Looks) -> str:
    """One sentence: what the first line does from end to end in the first quantity that is no score, and where its
    score is best, against the start of the axis; "" where there is no line.

    The interval of the best place is that of the best of so many (Bonferroni), as it was chosen on these seeds.
    """
    found: dict[str, dict[str, list[Point]]] = {}
    for name, q, points in along(frame, x, look):
        found.setdefault(name, {})[q] = points
    if not found:
        return ""
    name, of = next(iter(found.items()))
    flat = next((q for q in of if not words.is_score(q) and words.better(q)), None)
    score = next((q for q in of if is_goal(q)), None)
    parts = [_ends(flat, of[flat])] if flat else []
    text = "; ".join([*parts, *([_best(score, of[score], x)] if score else [])])
    rho = sorted(frame.loc[frame["variant"].map(lambda v: figures.is_curve(str(v), x)), "rho"].dropna().unique())
    where = f"At ρ = {words.number(rho[0])}" if len(rho) == 1 else ""
    subject = ", ".join(filter(None, (where, f"of {name}" if len(found) > 1 else "")))
    return f"{subject or 'Here'}: {text}." if text else ""


def _ends(q: str, points: list[Point]) -> str:
    first, last = points[0], points[-1]
    d, name = statistics.paired(last.seeds, first.seeds), words.within(q)
    if d.n >= 2 and not d.excludes(0):
        return f"no difference in {name} between {first.at} and {last.at}: a tie"
    word = "goes" if d.n < 2 else "rises" if d.mean > 0 else "falls"
    values = f"from {words.show(q, first.y)} at {first.at} to {words.show(q, last.y)} at {last.at}"
    return f"{name} {word} {values}" + " (one seed: no interval)" * (d.n < 2)


def _best(q: str, points: list[Point], x: str) -> str:
    first, best, name = points[0], top(q, points), words.within(q)
    if best is first:
        value = words.show(q, best.y)
        if x == "lam":
            sam = ", which is SAM," * (first.x == 0)
            return f"here {first.at}{sam} has the best {name}, {value}: no larger λ does better in the mean"
        return f"{name} is best at {first.at}, {value}: no smaller m does better in the mean"
    d = statistics.paired(best.seeds, first.seeds).widened(len(points) - 1)
    if d.n < 2:
        return f"{name} is best at {best.at}, {words.show(q, best.y)} (one seed: no interval)"
    if not d.excludes(0):
        return f"no {figures.SYMBOLS[x]} has another {name} than {first.at} beyond the error: the best, {best.at}, ties"
    d, word = (d, "above") if d.mean > 0 else (-d, "below")
    low, high = (words.show(q, end, True).removesuffix(" points") for end in (d.low, d.high))
    by = f"{words.show(q, d.mean, True)} [{low}, {high}]"
    return f"{name} is best at {best.at}, {words.show(q, best.y)}: {by} {word} {first.at}"


def _between(q: str, points: list[Point]) -> list[str]:
    """What is higher, or lower, than both ends, against the nearer end."""
    out = []
    for word, sign in (("Highest", 1), ("Lowest", -1)):
        top = max(points, key=lambda p: sign * p.y)
        if top in (points[0], points[-1]):
            continue
        end = max(points[0], points[-1], key=lambda p: sign * p.y)
        out.append(f"{word} at {top.at}, {words.show(q, top.y)}: {_apart(q, top, end)} {end.at}.")
    return out


def _beside(q: str, first: Point, lines: dict[str, pd.DataFrame]) -> list[str]:
    """Every horizontal line against the start of the axis."""
    said = []
    for name, part in lines.items():
        of = [r for r in tables.records(part) if r["quantity"] == q]
        mean = next((r["y"] for r in of if r["kind"] == "mean"), None)
        if mean is not None:
            line = Point(name, mean, {r["seed"]: r["y"] for r in of if r["kind"] == "seed"})
            said.append(f"{name} {words.show(q, mean)}, {_apart(q, line, first)} {first.at}")
    return [f"{'; '.join(said)}."] if said else []


def _apart(q: str, a: Point, b: Point) -> str:
    """For example "1.6 points [0.5, 2.6] above", "a tie with"."""
    d = statistics.paired(a.seeds, b.seeds)
    if d.n < 2:
        return "without an interval against"
    if d.low == d.high == 0:
        return "the same as"
    word = "above" if d.mean > 0 else "below"
    d, word = (d if d.mean > 0 else -d), word if d.excludes(0) else f"{word}, a tie with"
    low, high = (words.show(q, end, True).removesuffix(" points") for end in (d.low, d.high))
    return f"{words.show(q, d.mean, True)} [{low}, {high}] {word}"


def compare(q: str, subject: str, means: list[float], d: statistics.Mean, at: list[str], against: str) -> str:
    """One sentence: `means` at the first and the last end, `d` the paired difference of the last from the first."""
    subject += words.quantity(q).name + (f" relative to {against}" if against else "")
    values = [words.show(q, v, bool(against)) for v in means]
    change = f"from {values[0]} at {at[0]} to {values[1]} at {at[1]}"
    if d.n < 2:
        return f"{subject} goes {change} (one seed: no interval)."
    if d.excludes(0):
        low, high = (words.show(q, end, True).removesuffix(" points") for end in (d.low, d.high))
        by = f"{words.show(q, d.mean, True)} [{low}, {high}]"
        return f"{subject} {'rises' if d.mean > 0 else 'falls'} {change}: {by} (paired, 95 %, n = {d.n})."
    if d.mean == 0 and d.low == d.high:
        return f"{subject} is the same at {at[0]} and {at[1]}: {values[0]} (n = {d.n})."
    return (
        f"{subject}: a tie between {values[0]} at {at[0]} and {values[1]} at {at[1]} "
        f"(the 95 % interval of the paired difference, n = {d.n}, contains 0)."
    )


def alt(frame: pd.DataFrame, x: str, look: Looks, against: str = "") -> str:
    """The alternative text of a figure: its findings."""
    found = findings(frame, x, look, against)
    over = {"m": "micro-batch size m", "lam": "RW-SAM's λ"}[x]
    names = captions.listed(words.quantity(q).name for q in dict.fromkeys(frame["quantity"]))
    return f"{names} over {over}. " + (" ".join(found) or "Too few values of the axis to compare.")
