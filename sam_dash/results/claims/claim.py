"""The claims of the paper, judged on the runs of a study: supported, not supported or inconclusive, by stated rules.

The rules are carried out in `sam_dash.results.claims.verdicts`. The unit of replication is the seed: every difference,
slope and ratio is taken within a seed first, then gets a t-interval over seeds. Runs without a final value (diverged,
failed, stopped) and collapsed ones are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from sam_dash.results import words

SUPPORTED, REFUTED, OPEN = "supported", "not supported", "inconclusive"
ICONS = {SUPPORTED: "✓", REFUTED: "✕", OPEN: "?"}


def marked(verdict: str) -> str:
    """For a table: "✓ supported"."""
    return f"{ICONS[verdict]} {verdict}"


POINTS = 0.01  # accuracies within one percentage point count as equal
RATIO = 0.1  # a ratio within 10 % of 1 counts as 1


class Claim(NamedTuple):
    """A claim, the rule by which it is judged, and the page and panels that show it."""

    key: str
    says: str
    rule: str
    page: str
    panels: tuple[str, ...]


class Verdict(NamedTuple):
    """What the runs say of a claim: effect with its interval and unit, seeds, p, why, and p after Holm's correction."""

    claim: Claim
    verdict: str
    why: str
    n: int = 0
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    quantity: str = ""
    p: float = math.nan
    holm: float = math.nan


SLOPE = (
    "Least-squares slope on log₂ m within each seed, then its mean over seeds. Supported if the 95 % interval lies "
    "wholly {good} 0, not supported if wholly {bad} 0, else a tie: inconclusive."
)
BEST = (
    "RW-SAM (normalised) at its best λ > 0 against SAM at m = B, paired by seed; the interval is widened for the "
    "choice among the k values of λ (level 1 − 0.05/k). Supported if it lies wholly {good} 0, not supported if wholly "
    "{bad}: even the best λ is worse. Else a tie: inconclusive."
)
_NSAM = (
    "Difference n-SAM − SGD, paired by seed. Supported if the 95 % interval lies within ± 1 percentage point, not "
    "supported if it excludes 0 and reaches beyond 1 point, else inconclusive: a tie does not show that there is "
    "no gain."
)
_ORDER = (
    "Differences SGD − SAM and SAM − RW-SAM (m = B, the λ > 0 with the smallest tr(V), widened for that "
    "choice), paired by seed. Supported if both intervals lie above 0, not supported if one lies wholly below 0, "
    "else inconclusive."
)
_EQUAL = (
    "RW-SAM at its most accurate λ > 0 against m-SAM at each m < B, paired by seed. Supported if at some such m the "
    "95 % interval lies within ± 1 percentage point (or above), not supported if at every one it lies wholly "
    "below 0, else inconclusive."
)
_DRIFT = (
    "Ratio m · tr(V of means of m) / tr(V), averaged over the runs of a seed, for every m > 1. Supported if every 95 % "
    "interval lies within 1 ± 0.1, not supported if one lies wholly outside, else inconclusive."
)
_RISES, _FALLS = SLOPE.format(good="above", bad="below"), SLOPE.format(good="below", bad="above")
_MORE, _LESS = BEST.format(good="above", bad="below"), BEST.format(good="below", bad="above")
_RW = ("ess", "eps_norm")
CLAIMS = {
    c.key: c
    for c in (
        Claim("tr_H", "Smaller m ends in a smaller tr(H)", _RISES, "sharpness", ("tr_H", "train_loss")),
        Claim("lam_max", "Smaller m ends in a smaller λ_max", _RISES, "sharpness", ("lam_max", "train_loss")),
        Claim("tr_V", "Smaller m ends in a smaller tr(V)", _RISES, "sharpness", ("tr_V", "train_loss")),
        Claim("accuracy", "Smaller m is more accurate", _FALLS, "sharpness", ("test_acc", "train_loss")),
        Claim("nsam", "n-SAM gives no gain in accuracy over SGD", _NSAM, "sharpness", ("test_acc",)),
        Claim("order", "tr(V): SGD > SAM > RW-SAM", _ORDER, "rw_sam", ("tr_V",)),
        Claim("rw_accuracy", "RW-SAM is more accurate than SAM", _MORE, "rw_sam", ("test_acc", *_RW)),
        Claim("rw_flat", "RW-SAM is flatter than SAM (tr(H))", _LESS, "rw_sam", ("tr_H", *_RW)),
        Claim("rw_equal", "RW-SAM is as accurate as m-SAM at a small m", _EQUAL, "sharpness", ("test_acc",)),
        Claim("drift", "The noise that m acts on is tr(V)/m", _DRIFT, "sharpness", ("tr_V",)),
    )
}


def left_out(runs: pd.DataFrame, gone: set[str], hidden: int = 0) -> str:
    """What the verdicts on `runs` do not rest on, in a sentence; `gone`: those of collapsed settings."""
    done = runs["status"] == "done"
    parts = [f"{n} {s}" for s, n in runs.loc[~done, "status"].value_counts().items()]
    flat = int((done & runs["run"].isin(gone)).sum())
    parts += [f"{flat} of settings that collapsed"] * bool(flat)
    parts += [f"{hidden} hidden by you"] * bool(hidden)
    if not parts:
        return f"All {len(runs)} runs are judged; none is left out."
    return f"Left out: {', '.join(parts)}."


def value(verdict: Verdict, number: float) -> str:
    """An effect, or an end of its interval, in its unit."""
    if verdict.quantity == "ratio":
        return words.number(number, keep=True)
    shown = words.show(verdict.quantity, number, difference=True) if verdict.quantity else "–"
    return f"+{shown}" if number > 0 else shown


def interval(verdict: Verdict) -> str:
    """The interval of an effect, its unit once."""
    low, high = value(verdict, verdict.low), value(verdict, verdict.high)
    return f"{low.removesuffix(' points')} … {high}"


def p_text(p: float) -> str:
    """Two digits, never "0"."""
    return "–" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def table(verdicts: list[Verdict]) -> pd.DataFrame:
    """The verdicts for people, one row a claim."""
    rows = [
        {
            "Verdict": marked(v.verdict), "Claim": v.claim.says,
            "Effect": value(v, v.effect) if v.n else "–",
            "Interval": interval(v) if v.n > 1 and v.low == v.low else "–",
            "Seeds": v.n, "p": p_text(v.p), "p, Holm": p_text(v.holm),
        }
        for v in verdicts
    ]  # fmt: skip
    return pd.DataFrame(rows)


def numbers(verdicts: list[Verdict]) -> pd.DataFrame:
    """The verdicts with all digits, for the CSV; accuracies as fractions."""
    columns = ("verdict", "n", "effect", "low", "high", "quantity", "p", "holm", "why")
    return pd.DataFrame([
        {"claim": v.claim.key, "says": v.claim.says, **{c: getattr(v, c) for c in columns}, "rule": v.claim.rule}
        for v in verdicts
    ])  # fmt: skip


def correction(verdicts: list[Verdict]) -> str:
    """How many claims were judged at once, and which do not stand against that."""
    judged = [v for v in verdicts if math.isfinite(v.p)]
    fallen = [v.claim.says for v in judged if v.p < 0.05 <= v.holm]
    text = (
        f"{len(judged)} claims are judged with a p at once. “p, Holm” is corrected for that; a verdict rests on the "
        "interval, which is not."
    )
    if fallen:
        return f"{text} After the correction these no longer stand at 5 %: {'; '.join(fallen)}."
    return f"{text} No verdict falls with the correction." if judged else "Nothing could be tested."


def alt(verdicts: list[Verdict]) -> str:
    """The verdicts in a sentence."""
    by: Mapping[str, list[str]] = {
        word: [v.claim.says for v in verdicts if v.verdict == word] for word in (SUPPORTED, REFUTED, OPEN)
    }
    return ". ".join(f"{word.capitalize()}: {'; '.join(says)}" for word, says in by.items() if says) + "."
