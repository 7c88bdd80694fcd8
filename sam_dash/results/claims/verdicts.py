"""The rules of `sam_dash.results.claims.claim`, carried out on the final values of a study."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.claims.claim import CLAIMS, POINTS, RATIO, Verdict
from sam_dash.results.claims.rule import OPEN, REFUTED, SUPPORTED
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.statistics import NAN, NOTHING, Mean


class Found(NamedTuple):
    """What was tested for a claim, why, and the effect that the p is of."""

    test: rule.Sides
    why: str
    effect: Mean = NOTHING
    quantity: str = ""
    of: str = ""


def judge(finals: pd.DataFrame, batch: int) -> list[Verdict]:
    """Every claim on these final values (of one rho), by the rule for all that is judged at once."""
    swept = next((v for v in ("sam", "usam") if v in set(finals["variant"])), "sam")
    cells = Cells(finals, batch, swept)
    found = {key: test(cells) for key, test in _RULES.items()}
    rulings = rule.decide([f.test for f in found.values()])
    return [Verdict(CLAIMS[key], r, *f[1:]) for (key, f), r in zip(found.items(), rulings, strict=True)]


def _untested(takes: str, mean: Mean = NOTHING) -> Found:
    """What could not be tested; `mean`: of one seed, of which n is said."""
    return Found(rule.Sides(), f"Not tested: {takes}", mean._replace(mean=NAN))


class Cells:
    """Values by seed of the cells that the claims compare."""

    def __init__(self, finals: pd.DataFrame, batch: int, swept: str) -> None:
        self.finals, self.batch, self.swept = finals[np.isfinite(finals["value"])], batch, swept

    def of(self, quantity: str, variant: str, **where: Any) -> dict[int, float]:
        """Values by seed of one cell; empty where that is not one cell."""
        rows = self.finals[(self.finals["quantity"] == quantity) & (self.finals["variant"] == variant)]
        rows = tables.select(rows, where)
        return {} if rows.duplicated("seed").any() else dict(zip(rows["seed"], rows["value"], strict=True))

    def sizes(self, below: bool = False) -> list[float]:
        """The m of m-SAM, rising; `below`: only m < B."""
        m = self.finals.loc[self.finals["variant"] == self.swept, "m"].dropna().unique()
        return sorted(float(x) for x in m if not below or x < self.batch)

    def reweighted(self, quantity: str) -> dict[str, dict[int, float]]:
        """RW-SAM, normalised, by its settings with lambda > 0."""
        rows = self.finals[(self.finals["quantity"] == quantity) & (self.finals["variant"] == "rwsam")]
        if rows.empty:
            return {}
        rows = rows[(rows["lam"] > 0) & (rows["normalised"].isna() | rows["normalised"].eq(True))]
        known = [k for k in variants.get("rwsam").knobs if k == "lam" or rows[k].nunique() > 1]
        out: dict[str, dict[int, float]] = {}
        for values, part in rows.groupby(known, dropna=False, sort=True):
            name = words.knob_text(dict(zip(known, values, strict=True)))
            out[name] = dict(zip(part["seed"], part["value"], strict=True))
        return out


def _slope(cells: Cells, quantity: str) -> Found:
    by_seed: dict[int, dict[float, float]] = {}
    for m in cells.sizes():
        for seed, y in cells.of(quantity, cells.swept, m=m).items():
            by_seed.setdefault(seed, {})[m] = y
    found = statistics.slope(by_seed)
    if len(found.levels) < 2:
        return _untested("it takes m-SAM at two m or more.")
    mean = -found.slope
    if mean.n < 2:
        return _untested("it takes every m on two seeds or more.", mean)
    levels = found.levels
    best = levels[int(np.argmax(words.better(quantity) * np.array(found.means)))]
    why = f"Over m = {levels[0]:g} to {levels[-1]:g}."
    if best != levels[0]:
        why += f" The mean is best at m = {best:g}, not at m = {levels[0]:g}."
    return Found(_better(mean, quantity), why, mean, quantity, "per halving of m")


def _nsam(cells: Cells) -> Found:
    mean = statistics.paired(cells.of("test_acc", "nsam"), cells.of("test_acc", "sgd"))
    if mean.n < 2:
        return _untested("it takes n-SAM and SGD on two seeds or more.", mean)
    test = rule.none(mean, POINTS)
    said = {
        SUPPORTED: " The interval lies within ± 1 point.",
        REFUTED: " The interval excludes 0.",
        OPEN: " Too few seeds to tell none from some.",
    }
    return Found(test, "In test accuracy." + said[test.side], mean, "test_acc", "(n-SAM − SGD)")


def _better(mean: Mean, quantity: str, choices: int = 1) -> rule.Sides:
    """That a difference is one for the better."""
    return rule.positive(mean if words.better(quantity) == 1 else -mean, choices)


def _best(cells: Cells, quantity: str) -> tuple[str, dict[int, float], int] | None:
    """The RW-SAM setting with the best mean, its values, and among how many it was chosen."""
    found = {k: v for k, v in cells.reweighted(quantity).items() if v}
    if not found:
        return None
    name = max(found, key=lambda k: words.better(quantity) * statistics.mean(found[k].values()).mean)
    return name, found[name], len(found)


def _reweighted(cells: Cells, quantity: str) -> Found:
    best = _best(cells, quantity)
    sam = cells.of(quantity, "sam", m=float(cells.batch))
    if best is None or not sam:
        return _untested("it takes normalised RW-SAM at λ > 0, and SAM at m = B.")
    name, values, k = best
    mean = statistics.paired(values, sam)
    if mean.n < 2:
        return _untested("one common seed: no interval.", mean)
    why = f"In {words.quantity(quantity).name}, at {name}, the best of {k}."
    test = _better(mean, quantity, k)
    return Found(test, why, mean.widened(k), quantity, "(RW-SAM − SAM)")


def _order(cells: Cells) -> Found:
    best = _best(cells, "tr_V")
    sgd, sam = cells.of("tr_V", "sgd"), cells.of("tr_V", "sam", m=float(cells.batch))
    if best is None or not sgd or not sam:
        return _untested("it takes SGD, SAM at m = B and normalised RW-SAM at λ > 0.")
    name, values, k = best
    first, second = statistics.paired(sgd, sam), statistics.paired(sam, values)
    if first.n < 2 or second.n < 2:
        return _untested("one common seed: no interval.", min(first, second, key=lambda d: d.n))
    tests = rule.positive(first), rule.positive(second, k)
    test = rule.every(tests)
    shown = {"SGD − SAM": first, "SAM − RW-SAM": second.widened(k)}
    why = f"RW-SAM at {name}; " + "; ".join(f"{of} is {_ends(d)}" for of, d in shown.items()) + "."
    # the difference that the p is of: against, the surest below 0; for and open, the least sure above it
    decides = int(tests[1].refutes <= tests[0].refutes if test.side == REFUTED else tests[1].p >= tests[0].p)
    return Found(test, why, [*shown.values()][decides], "tr_V", f"({[*shown][decides]})")


def _equal(cells: Cells) -> Found:
    best, sizes = _best(cells, "test_acc"), cells.sizes(below=True)
    if best is None or not sizes:
        return _untested("it takes normalised RW-SAM at λ > 0, and m-SAM at some m < B.")
    name, values, k = best
    found = {m: statistics.paired(values, cells.of("test_acc", cells.swept, m=m)) for m in sizes}
    found = {m: d for m, d in found.items() if d.n > 1}
    if not found:
        return _untested("one common seed: no interval.")
    choices = k * len(found)
    tests = {
        m: rule.above(d, POINTS, 1)._replace(supports=rule.above(d, POINTS, choices).supports) for m, d in found.items()
    }
    test = rule.some(tests.values())
    if test.side == REFUTED:
        m = max(tests, key=lambda m: tests[m].refutes)
        mean, why = found[m], "the m < B where it is the least sure to be less accurate"
    else:
        m = min(tests, key=lambda m: tests[m].supports)
        mean, why = found[m].widened(choices), f"the m < B that it comes nearest to; widened for {choices} choices"
    return Found(test, f"RW-SAM at {name}, m-SAM at m = {m:g}, {why}.", mean, "test_acc", "(RW-SAM − m-SAM)")


def _drift(cells: Cells) -> Found:
    rows = cells.finals[cells.finals["quantity"].str.startswith("tr_V")]
    wide = rows.pivot_table(index=["seed", "run"], columns="quantity", values="value", aggfunc="last")
    sizes = sorted(int(q.partition("@")[2]) for q in wide.columns if "@" in q)
    if not sizes or "tr_V" not in wide:
        return _untested("it takes the measurement “noise”.")
    found = {}
    for m in sizes:
        ratio = (m * wide[f"tr_V@{m}"] / wide["tr_V"]).groupby(level="seed").mean()
        found[m] = statistics.mean(ratio - 1)
    if any(d.n < 2 for d in found.values()):
        return _untested("it takes two seeds or more.", min(found.values(), key=lambda d: d.n))
    tests = {m: rule.within(d, RATIO) for m, d in found.items()}
    test = rule.every(tests.values(), len(sizes))
    worst = (
        min(tests, key=lambda m: tests[m].refutes)
        if test.side == REFUTED
        else max(tests, key=lambda m: tests[m].supports)
    )
    d = found[worst]
    why = f"At m = {worst}, the least sure of m = {sizes[0]} to {sizes[-1]}."
    if test.side == REFUTED:
        d, why = d.widened(len(sizes)), f"At m = {worst}, the surest to be off of m = {sizes[0]} to {sizes[-1]}."
    mean = d._replace(mean=1 + d.mean, low=1 + d.low, high=1 + d.high)
    why += " It checks how the noise scales with m, not the drift itself."
    return Found(test, why, mean, "ratio", "times tr(V)/m")


_RULES: dict[str, Callable[[Cells], Found]] = {
    "tr_H": partial(_slope, quantity="tr_H"), "lam_max": partial(_slope, quantity="lam_max"),
    "tr_V": partial(_slope, quantity="tr_V"), "accuracy": partial(_slope, quantity="test_acc"),
    "nsam": _nsam, "order": _order, "rw_accuracy": partial(_reweighted, quantity="test_acc"),
    "rw_flat": partial(_reweighted, quantity="tr_H"), "rw_equal": _equal, "drift": _drift,
}  # fmt: skip


def _ends(mean: Mean) -> str:
    low, high = (words.number(end, keep=True) for end in (mean.low, mean.high))
    return f"{words.number(mean.mean, keep=True)} [{low}, {high}]"
