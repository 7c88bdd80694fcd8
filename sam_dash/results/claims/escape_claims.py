"""What two papers claim of saddles, judged on the runs by rules that are stated."""

from __future__ import annotations

import pandas as pd

from sam_dash.results import words
from sam_dash.results.claims.claim import OPEN, REFUTED, SUPPORTED
from sam_dash.results.numbers import statistics

NEAR = (0.8, 1.25)  # shares of the critical radius between which the first claim is not judged
KIM, SDE = "Kim et al., arXiv:2301.06308", "Compagnoni et al., arXiv:2301.08203"
NOTE = (
    "One small network; a cell is a variant, radius, batch size and momentum. Verdicts over cells: supported where "
    "most cells say so and none the contrary, not supported where one says the contrary; cells are not corrected for "
    "their number. Noise vanishes at this saddle, as every sample's gradient does: batches multiply, they do not kick. "
    "So a smaller batch strengthens USAM's pull, E[H²] > (E[H])² (dotted line), which theories of additive noise miss."
)


def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Claim, source, verdict, what the runs show, rule; a row each. `runs` as from `escapes.runs`."""
    rows = [_critical(runs), *_slower(runs), _helps(runs, "momentum", up=True), _helps(runs, "batch", up=False)]
    return pd.DataFrame(rows, columns=["Claim", "Source", "Verdict", "These runs", "Rule"])


def _critical(runs: pd.DataFrame) -> tuple[str, ...]:
    of = runs[(runs["variant"] == "usam") & (runs["momentum"] == 0) & (runs["batch"] == runs["batch"].max())]
    shares = {s: statistics.proportion(int(g["step"].notna().sum()), len(g)) for s, g in of.groupby("share")}
    below = [p for s, p in shares.items() if s <= NEAR[0]]
    above = [p for s, p in shares.items() if s >= NEAR[1]]
    verdict, shown = OPEN, "Not tested: it takes USAM without momentum, at radii on both sides."
    if below and above:
        up_to, beyond = (words.span(p.mean for p in found) for found in (below, above))
        shown = f"{up_to} of {above[0].n} seeds escape up to {NEAR[0]} ρ_c, {beyond} from {NEAR[1]} ρ_c."
        if all(p.low > 0.5 for p in below) and all(p.high < 0.5 for p in above):
            verdict = SUPPORTED
        elif any(p.high < 0.5 for p in below) or any(p.low > 0.5 for p in above):
            verdict = REFUTED
    rule = (
        f"At the largest batch, without momentum: the interval above 50 % at every ρ ≤ {NEAR[0]} ρ_c, "
        f"below at ρ ≥ {NEAR[1]} ρ_c."
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
    found = [_sign(g["step"], g["step_sgd"]) for _, g in pairs.groupby(["batch", "momentum", "share"])]
    shown, verdict = _tally(found, f"{words.title(key)} is later than SGD", "earlier")
    rule = (
        "By cell, the share of seeds (paired) in which it leaves later, ties left out: its interval above 50 % in most."
    )
    return claim, source, verdict, shown, rule


def _helps(runs: pd.DataFrame, axis: str, up: bool) -> tuple[str, ...]:
    """Whether runs at the helpful end of an axis leave more often, for SAM and USAM."""
    values = sorted(runs[axis].unique())
    claim = "More momentum helps SAM to escape" if up else "A smaller batch helps SAM to escape"
    rule = "By cell, seeds (paired) that leave at one end only: the interval of the helped share above 50 % in most."
    if len(values) < 2:
        return claim, KIM, OPEN, f"Not tested: it takes two values of {axis}.", rule
    other = "batch" if axis == "momentum" else "momentum"
    of = runs[runs["variant"].isin(["sam", "usam"])]
    good, bad = (of[of[axis] == v] for v in (values[-1], values[0])[:: 1 if up else -1])
    pairs = bad.merge(good, on=["variant", "share", other, "seed"], suffixes=("", "_good"))
    found = []
    for _, g in pairs.groupby(["variant", "share", other]):
        left, left_good = g["step"].notna(), g["step_good"].notna()
        only = int((left_good & ~left).sum()), int((left & ~left_good).sum())
        found.append(statistics.proportion(only[0], sum(only)))
    shown, verdict = _tally(found, "it does", "it hinders")
    return claim, KIM, verdict, shown, rule


def _sign(later: pd.Series, than: pd.Series) -> statistics.Mean:
    """The share of pairs in which the first is later, those that are equal left out; never is later than any."""
    a, b = later.fillna(float("inf")), than.fillna(float("inf"))
    return statistics.proportion(int((a > b).sum()), int((a != b).sum()))


def _tally(found: list[statistics.Mean], yes: str, no: str) -> tuple[str, str]:
    """How many cells say so, and the verdict of the majority of those that say anything; one against: not supported."""
    n = len(found)
    for_, against = sum(p.low > 0.5 for p in found), sum(p.high < 0.5 for p in found)
    verdict = OPEN if for_ <= n / 2 and against == 0 else SUPPORTED if for_ > n / 2 and against == 0 else REFUTED
    return f"{yes} in {for_} of {n} cells, {no} in {against}, a tie in {n - for_ - against}.", verdict
