"""The rules of `sam_dash.results.claims.claim`, carried out on the final values of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.claims.claim import CLAIMS, OPEN, POINTS, RATIO, REFUTED, SUPPORTED, Claim, Verdict
from sam_dash.results.numbers import statistics, tables


def judge(finals: pd.DataFrame, batch: int) -> list[Verdict]:
    """Every claim on these final values (of one rho), Holm's correction over those that have a p."""
    swept = next((v for v in ("sam", "usam") if v in set(finals["variant"])), "sam")
    cells = Cells(finals, batch, swept)
    verdicts = [rule(cells, CLAIMS[key]) for key, rule in _RULES.items()]
    adjusted = holm({v.claim.key: v.p for v in verdicts if math.isfinite(v.p)})
    return [v._replace(holm=adjusted.get(v.claim.key, math.nan)) for v in verdicts]


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


def _interval(x: Iterable[float], level: float = 0.95) -> tuple[float, float, float, int, float]:
    """Mean, the ends of its t-interval, n, and two-sided p against 0."""
    mean, _, _, n = statistics.mean(x := list(x))
    if n < 2:
        return mean, math.nan, math.nan, n, math.nan
    se = float(np.std(x, ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * se
    p = 2 * float(stdtr(n - 1, -abs(mean) / se)) if se > 0 else float(mean == 0)
    return mean, mean - half, mean + half, n, p


def _paired(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Any:
    return _interval([a[s] - b[s] for s in a if s in b], level)


def _sign(low: float, high: float) -> str:
    """Supported above 0, not supported below, a tie where the interval holds 0."""
    return SUPPORTED if low > 0 else REFUTED if high < 0 else OPEN


def _slope(cells: Cells, claim: Claim, quantity: str, sign: int) -> Verdict:
    by_seed: dict[int, dict[float, float]] = {}
    for m in cells.sizes():
        for seed, y in cells.of(quantity, cells.swept, m=m).items():
            by_seed.setdefault(seed, {})[m] = y
    levels = cells.sizes()
    if len(levels) < 2 or not by_seed:
        return Verdict(claim, OPEN, "Not tested: it takes m-SAM at two m or more.")
    x = np.log2(levels) - np.mean(np.log2(levels))
    full = [np.array([row[m] for m in levels]) for row in by_seed.values() if len(row) == len(levels)]
    mean, low, high, n, p = _interval([float(x @ y / (x @ x)) for y in full])
    if n < 2:
        return Verdict(claim, OPEN, "One seed with every m: no interval.", n, mean, quantity=quantity)
    ends = _sign(low, high) if sign > 0 else _sign(-high, -low)
    best = levels[int(np.argmin(np.mean(full, 0) * sign))]
    why = f"Per doubling of m, over m = {levels[0]:g} to {levels[-1]:g}."
    if ends == SUPPORTED and best != levels[0]:
        why += f" The trend is not monotone: the mean is best at m = {best:g}, not at m = {levels[0]:g}."
    return Verdict(claim, ends, why, n, mean, low, high, quantity, p)


def _nsam(cells: Cells, claim: Claim) -> Verdict:
    mean, low, high, n, _ = _paired(nsam := cells.of("test_acc", "nsam"), sgd := cells.of("test_acc", "sgd"))
    if n < 2:
        return Verdict(claim, OPEN, "Not tested: it takes n-SAM and SGD on two seeds or more.", n)
    inside = low > -POINTS and high < POINTS
    refuted = not inside and (low > 0 or high < 0)
    verdict = SUPPORTED if inside else REFUTED if refuted else OPEN
    why = "n-SAM − SGD in test accuracy." + (
        " The interval excludes 0." if refuted else "" if inside else " Too few seeds to tell none from some."
    )
    x = np.array([nsam[s] - sgd[s] for s in nsam if s in sgd])
    se = max(float(x.std(ddof=1)) / math.sqrt(n), 1e-300)
    equal = float(stdtr(n - 1, (abs(mean) - POINTS) / se))  # two one-sided tests
    p = 2 * float(stdtr(n - 1, -abs(mean) / se)) if refuted else equal
    return Verdict(claim, verdict, why, n, mean, low, high, "test_acc", p)


def _best(cells: Cells, quantity: str, sign: int) -> tuple[str, dict[int, float], int] | None:
    """The RW-SAM setting with the best mean, its values, and among how many it was chosen."""
    found = {k: v for k, v in cells.reweighted(quantity).items() if v}
    if not found:
        return None
    name = max(found, key=lambda k: sign * float(np.mean(list(found[k].values()))))
    return name, found[name], len(found)


def _reweighted(cells: Cells, claim: Claim, quantity: str, sign: int) -> Verdict:
    best = _best(cells, quantity, sign)
    sam = cells.of(quantity, "sam", m=float(cells.batch))
    if best is None or not sam:
        return Verdict(claim, OPEN, "Not tested: it takes normalised RW-SAM at λ > 0, and SAM at m = B.")
    name, values, k = best
    mean, low, high, n, p = _paired(values, sam, 1 - 0.05 / k)
    if n < 2:
        return Verdict(claim, OPEN, "One seed: no interval.", n, mean, quantity=quantity)
    verdict = _sign(low, high) if sign > 0 else _sign(-high, -low)
    why = f"RW-SAM ({name}) − SAM in {words.quantity(quantity).name}; the best of {k}."
    return Verdict(claim, verdict, why, n, mean, low, high, quantity, min(1.0, p * k))


def _order(cells: Cells, claim: Claim) -> Verdict:
    best = _best(cells, "tr_V", -1)
    sgd, sam = cells.of("tr_V", "sgd"), cells.of("tr_V", "sam", m=float(cells.batch))
    if best is None or not sgd or not sam:
        return Verdict(claim, OPEN, "Not tested: it takes SGD, SAM at m = B and normalised RW-SAM at λ > 0.")
    name, values, k = best
    first, second = _paired(sgd, sam), _paired(sam, values, 1 - 0.05 / k)
    if first[3] < 2 or second[3] < 2:
        return Verdict(claim, OPEN, "One seed: no interval.", min(first[3], second[3]))
    signs = _sign(*first[1:3]), _sign(*second[1:3])
    verdict = REFUTED if REFUTED in signs else OPEN if OPEN in signs else SUPPORTED
    shown = [f"{_number(v[0])} [{_number(v[1])}, {_number(v[2])}]" for v in (first, second)]
    why = f"SGD − SAM is {shown[0]}; SAM − RW-SAM ({name}) is {shown[1]}, the effect shown."
    mean, low, high, n, p = second
    p = max(first[4], min(1.0, p * k)) if verdict != REFUTED else min(1.0, p * k)
    return Verdict(claim, verdict, why, n, mean, low, high, "tr_V", p)


def _equal(cells: Cells, claim: Claim) -> Verdict:
    best, sizes = _best(cells, "test_acc", 1), cells.sizes(below=True)
    if best is None or not sizes:
        return Verdict(claim, OPEN, "Not tested: it takes normalised RW-SAM at λ > 0, and m-SAM at some m < B.")
    name, values, _ = best
    found = {m: _paired(values, cells.of("test_acc", cells.swept, m=m)) for m in sizes}
    found = {m: f for m, f in found.items() if f[3] > 1}
    if not found:
        return Verdict(claim, OPEN, "One seed: no interval.")
    nearest = min(found, key=lambda m: abs(found[m][0]))
    mean, low, high, n, p = found[nearest]
    reached = any(f[1] > -POINTS and (f[2] < POINTS or f[1] > 0) for f in found.values())
    verdict = SUPPORTED if reached else REFUTED if all(f[2] < 0 for f in found.values()) else OPEN
    why = f"RW-SAM ({name}) − m-SAM at m = {nearest:g}, the m < B that it comes nearest to."
    return Verdict(claim, verdict, why, n, mean, low, high, "test_acc", p if verdict == REFUTED else math.nan)


def _drift(cells: Cells, claim: Claim) -> Verdict:
    rows = cells.finals[cells.finals["quantity"].str.startswith("tr_V")]
    wide = rows.pivot_table(index=["seed", "run"], columns="quantity", values="value", aggfunc="last")
    sizes = sorted(int(q.partition("@")[2]) for q in wide.columns if "@" in q)
    if not sizes or "tr_V" not in wide:
        return Verdict(claim, OPEN, "Not tested: it takes the measurement “noise”.")
    found = {}
    for m in sizes:
        ratio = (m * wide[f"tr_V@{m}"] / wide["tr_V"]).groupby(level="seed").mean()
        found[m] = _interval(ratio.dropna() - 1)
    if any(f[3] < 2 for f in found.values()):
        return Verdict(claim, OPEN, "One seed: no interval.", 1)
    worst = max(found, key=lambda m: abs(found[m][0]))
    outside = any(f[1] > RATIO or f[2] < -RATIO for f in found.values())
    inside = all(f[1] > -RATIO and f[2] < RATIO for f in found.values())
    mean, low, high, n, _ = found[worst]
    why = f"Ratio at m = {worst}, the farthest from 1 of m = {sizes[0]} to {sizes[-1]}."
    verdict = SUPPORTED if inside else REFUTED if outside else OPEN
    why += " It checks how the noise scales with m, not the drift itself."
    return Verdict(claim, verdict, why, n, 1 + mean, 1 + low, 1 + high, "ratio")


_RULES: dict[str, Callable[[Cells, Claim], Verdict]] = {
    **{q: (lambda cells, claim, q=q: _slope(cells, claim, q, 1)) for q in ("tr_H", "lam_max", "tr_V")},  # type: ignore[misc]
    "accuracy": lambda cells, claim: _slope(cells, claim, "test_acc", -1),
    "nsam": _nsam, "order": _order,
    "rw_accuracy": lambda cells, claim: _reweighted(cells, claim, "test_acc", 1),
    "rw_flat": lambda cells, claim: _reweighted(cells, claim, "tr_H", -1),
    "rw_equal": _equal, "drift": _drift,
}  # fmt: skip


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p."""
    out: dict[str, float] = {}
    reached = 0.0
    for i, key in enumerate(sorted(p, key=p.__getitem__)):
        reached = max(reached, min(1.0, (len(p) - i) * p[key]))
        out[key] = reached
    return out


def _number(value: float) -> str:
    return words.number(value, keep=True)
