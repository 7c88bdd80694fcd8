"""What two papers claim of saddles, judged on the runs by rules that are stated."""

from __future__ import annotations

import pandas as pd

from sam_dash.results import words
from sam_dash.results.claims.rule import OPEN, REFUTED, SUPPORTED, UNTESTED
from sam_dash.results.numbers import statistics
from sam_dash.results.numbers.statistics import LEVEL

NEAR = (0.8, 1.25)  # shares of the critical radius between which the first claim is not judged
KIM, SDE = "Kim et al., arXiv:2301.06308", "Compagnoni et al., arXiv:2301.08203"
NOTE = (
    "One small network; a cell is a variant, radius, batch size and momentum. Verdicts over cells: supported where "
    "most cells say so and none the contrary, not supported where one says the contrary, each by an exact interval of "
    f"level 1 − {LEVEL:g}/k, as k cells are looked at. Noise vanishes at this saddle, as every sample's gradient does: "
    "batches multiply, they do not kick. So a smaller batch strengthens USAM's pull, E[H²] > (E[H])² (dotted line), "
    "which theories of additive noise miss."
)


def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Claim, source, verdict, what the runs show, rule; a row each. `runs` as from `escapes.runs`."""
    rows = [_critical(runs), *_slower(runs), _helps(runs, "momentum", up=True), _helps(runs, "batch", up=False)]
    return pd.DataFrame(rows, columns=["Claim", "Source", "Verdict", "These runs", "Rule"])


def _critical(runs: pd.DataFrame) -> tuple[str, ...]:
    of = runs[(runs["variant"] == "usam") & (runs["momentum"] == 0) & (runs["batch"] == runs["batch"].max())]
    far = of[(of["share"] <= NEAR[0]) | (of["share"] >= NEAR[1])]
    shares = {s: _proportion(g["step"].notna(), far["share"].nunique()) for s, g in far.groupby("share")}
    below = [p for s, p in shares.items() if s <= NEAR[0]]
    above = [p for s, p in shares.items() if s >= NEAR[1]]
    verdict, shown = UNTESTED, "Not tested: it takes USAM without momentum, at radii on both sides."
    if below and above:
        up_to, beyond = (words.span(p.mean for p in found) for found in (below, above))
        shown = f"{up_to} of {above[0].n} seeds escape up to {NEAR[0]} ρ_c, {beyond} from {NEAR[1]} ρ_c."
        verdict = OPEN
        if all(p.low > 0.5 for p in below) and all(p.high < 0.5 for p in above):
            verdict = SUPPORTED
        elif any(p.high < 0.5 for p in below) or any(p.low > 0.5 for p in above):
            verdict = REFUTED
    rule = (
        "At the largest batch, without momentum: the interval, widened for the number of ρ, above 50 % at every "
        f"ρ ≤ {NEAR[0]} ρ_c, below at ρ ≥ {NEAR[1]} ρ_c."
    )
    return "For USAM the saddle turns from repelling to attracting at ρ = 1/|λ₁|", KIM, verdict, shown, rule


def _slower(runs: pd.DataFrame) -> list[tuple[str, ...]]:
    said = {
        "sam": ("SAM is attracted to saddles", SDE),
        "usam": ("USAM leaves later than SGD below ρ_c", f"{KIM}, there of SAM"),
    }
    return [_later(runs, key, *claim) for key, claim in said.items()]


def _later(runs: pd.DataFrame, key: str, claim: str, source: str) -> tuple[str, ...]:
    of = runs[(runs["variant"] == key) & ((runs["share"] < 1) | (key == "sam"))]
    pairs = of.merge(runs[runs["variant"] == "sgd"], on=["batch", "momentum", "seed"], suffixes=("", "_sgd"))
    found = [_later_than(g["step"], g["step_sgd"]) for _, g in pairs.groupby(["batch", "momentum", "share"])]
    shown, verdict = _tally(found, f"{words.title(key)} is later than SGD", "earlier")
    rule = (
        "By cell, the share of seeds (paired) in which it leaves later, ties left out: its interval, "
        "widened for the number of cells, above 50 % in most."
    )
    return claim, source, verdict, shown, rule


def _helps(runs: pd.DataFrame, axis: str, up: bool) -> tuple[str, ...]:
    """Whether runs at the helpful end of an axis leave more often, for SAM and USAM."""
    values = sorted(runs[axis].unique())
    claim = "More momentum helps SAM to escape" if up else "A smaller batch helps SAM to escape"
    rule = (
        "By cell, seeds (paired) that leave at one end only: the interval of the helped share, widened for the number "
        "of cells, above 50 % in most."
    )
    if len(values) < 2:
        return claim, KIM, UNTESTED, f"Not tested: it takes two values of {axis}.", rule
    other = "batch" if axis == "momentum" else "momentum"
    of = runs[runs["variant"].isin(["sam", "usam"])]
    good, bad = (of[of[axis] == v] for v in (values[-1], values[0])[:: 1 if up else -1])
    pairs = bad.merge(good, on=["variant", "share", other, "seed"], suffixes=("", "_good"))
    found: list[pd.Series[bool]] = []
    for _, g in pairs.groupby(["variant", "share", other]):
        left, left_good = g["step"].notna(), g["step_good"].notna()
        found.append(left_good[left_good != left])
    shown, verdict = _tally(found, "it does", "it hinders")
    return claim, KIM, verdict, shown, rule


def _later_than(later: pd.Series, than: pd.Series) -> pd.Series[bool]:
    """In which pairs the first is later, those that are equal left out; never is later than any."""
    a, b = later.fillna(float("inf")), than.fillna(float("inf"))
    return (a > b)[a != b]


def _proportion(hits: pd.Series[bool], cells: int) -> statistics.Mean:
    """The share of pairs that say so, its interval widened for the number of cells."""
    return statistics.proportion(int(hits.sum()), len(hits), cells)


def _tally(found: list[pd.Series[bool]], yes: str, no: str) -> tuple[str, str]:
    """How many cells say so, and the verdict of the majority of those that say anything; one against: not supported."""
    n = len(found)
    if not n:
        return "Not tested: no such runs.", UNTESTED
    shares = [_proportion(hits, n) for hits in found]
    for_, against = sum(p.low > 0.5 for p in shares), sum(p.high < 0.5 for p in shares)
    verdict = REFUTED if against else SUPPORTED if for_ > n / 2 else OPEN
    return f"{yes} in {for_} of {n} cells, {no} in {against}, a tie in {n - for_ - against}.", verdict
