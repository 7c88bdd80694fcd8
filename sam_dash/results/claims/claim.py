"""The claims of the paper, judged on the runs of a study by the rule of `sam_dash.results.claims.rule`.

What is tested for each claim is carried out in `sam_dash.results.claims.verdicts`. The unit of replication is the seed:
every difference, slope and ratio is taken within a seed first, then gets a t-interval over seeds. Runs without a final
value (diverged, failed, stopped) and collapsed ones are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.claims.rule import DECIDES, ICONS, OPEN, REFUTED, SUPPORTED, UNTESTED, Ruling
from sam_dash.results.numbers.statistics import LEVEL, NOTHING, Mean

PAPER = "Luo et al. (arXiv:2509.18001)"
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
    """What the runs say of a claim: the ruling, why, and the effect that it rests on with interval, n and unit.

    `quantity`: what the effect is a difference in, or "ratio"; `of`: "per halving of m", "(RW-SAM − SAM)".
    """

    claim: Claim
    ruling: Ruling
    why: str
    effect: Mean = NOTHING
    quantity: str = ""
    of: str = ""

    @property
    def verdict(self) -> str:
        """Supported, not supported, inconclusive or not tested."""
        return self.ruling.verdict


SLOPE = (
    "The change per halving of m: the least-squares slope on log₂ m within each seed, its sign turned, then its mean "
    "over seeds. Supported if the 95 % interval lies wholly {good} 0, not supported if wholly {bad}."
)
BEST = (
    "RW-SAM (normalised) at its best λ > 0 against SAM at m = B, paired by seed; interval and p are widened for the "
    "choice among the k values of λ (level 1 − 0.05/k). Supported if the interval lies wholly {good} 0, not supported "
    "if wholly {bad}: even the best λ is worse."
)
_POINT = f"{100 * POINTS:g} percentage point"
_NSAM = (
    f"Difference n-SAM − SGD, paired by seed. Supported if the 95 % interval lies within ± {_POINT} (p: twice that of "
    f"two one-sided tests), not supported if it excludes 0 and reaches beyond {_POINT}. A tie does not show "
    "that there is no gain."
)
_ORDER = (
    "Differences SGD − SAM and SAM − RW-SAM (m = B, the λ > 0 with the smallest tr(V), widened for that "
    "choice), paired by seed. Supported if both intervals lie above 0 (p: the larger), not supported if one lies "
    "wholly below (p: that of the one that does)."
)
_EQUAL = (
    "RW-SAM at its most accurate λ > 0 against m-SAM at each m < B, paired by seed. Supported if at some such m the "
    f"interval lies wholly above −{_POINT}, widened for the choice of λ and of m; not supported if the 95 % "
    "interval lies wholly below 0 at every one (p: the largest)."
)
_DRIFT = (
    "Ratio m · tr(V of means of m) / tr(V), averaged over the runs of a seed, for every m > 1. Supported if every 95 % "
    f"interval lies within 1 ± {RATIO:g} (p: the largest of two one-sided tests, doubled), not supported if one, "
    "widened for the number of m, lies wholly outside."
)
_RISES, _FALLS = SLOPE.format(good="above", bad="below"), SLOPE.format(good="below", bad="above")
_MORE, _LESS = BEST.format(good="above", bad="below"), BEST.format(good="below", bad="above")
_RW = ("ess", "eps_norm")
CLAIMS = {
    c.key: c
    for c in (
        Claim("tr_H", "Smaller m ends in a smaller tr(H)", _FALLS, "sharpness", ("tr_H", "train_loss")),
        Claim("lam_max", "Smaller m ends in a smaller λ_max", _FALLS, "sharpness", ("lam_max", "train_loss")),
        Claim("tr_V", "Smaller m ends in a smaller tr(V)", _FALLS, "sharpness", ("tr_V", "train_loss")),
        Claim("accuracy", "Smaller m is more accurate", _RISES, "sharpness", ("test_acc", "train_loss")),
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


def effect(verdict: Verdict) -> str:
    """An effect with its unit and what it is of: "+1.7 points per halving of m"."""
    if not verdict.effect.n:
        return "–"
    return f"{value(verdict, verdict.effect.mean)} {verdict.of}"


def interval(verdict: Verdict) -> str:
    """The interval of an effect, its unit once."""
    if verdict.effect.n < 2:
        return "–"
    low, high = value(verdict, verdict.effect.low), value(verdict, verdict.effect.high)
    return f"{low.removesuffix(' points')} … {high}"


def table(verdicts: list[Verdict]) -> pd.DataFrame:
    """The verdicts for people, one row a claim."""
    rows = [
        {
            "Verdict": rule.marked(v.verdict), "Claim": v.claim.says, "Effect": effect(v), "Interval": interval(v),
            "Seeds": v.effect.n, "p": v.ruling.p, "p, Holm": v.ruling.holm,
        }
        for v in verdicts
    ]  # fmt: skip
    return pd.DataFrame(rows)


def numbers(verdicts: list[Verdict]) -> pd.DataFrame:
    """The verdicts with all digits, for the CSV; accuracies as fractions."""
    return pd.DataFrame([
        {
            "claim": v.claim.key, "says": v.claim.says, "verdict": v.verdict, "n": v.effect.n, "effect": v.effect.mean,
            "low": v.effect.low, "high": v.effect.high, "quantity": v.quantity, "of": v.of, "p": v.ruling.p,
            "holm": v.ruling.holm, "why": v.why, "rule": f"{v.claim.rule} {DECIDES}",
        }
        for v in verdicts
    ])  # fmt: skip


def correction(verdicts: list[Verdict]) -> str:
    """How many claims were tested at once, and which do not stand against that."""
    tested = [v for v in verdicts if v.verdict != UNTESTED]
    if not tested:
        return "Nothing could be tested."
    fallen = [f"“{v.claim.says}” ({rule.p_equals(v.ruling.holm)})" for v in tested if v.verdict != v.ruling.side]
    text = (
        f"{len(tested)} claims are tested at once; “p, Holm” is corrected for that, and a verdict other than "
        f"{OPEN} takes one below {LEVEL:g}."
    )
    if fallen:
        return f"{text} Inconclusive for the correction alone: {'; '.join(fallen)}."
    return f"{text} No verdict falls with the correction."


def headline(verdicts: list[Verdict]) -> str:
    """How many claims of the paper these runs support, and how many not."""
    counts = {word: sum(v.verdict == word for v in verdicts) for word in (REFUTED, OPEN, UNTESTED)}
    supported = sum(v.verdict == SUPPORTED for v in verdicts)
    rest = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    text = f"{supported} of {len(verdicts)} claims of {PAPER} are supported by these runs"
    return f"{text}; {rest}." if rest else f"{text}."


def alt(verdicts: list[Verdict]) -> str:
    """The verdicts in a sentence."""
    by: Mapping[str, list[str]] = {word: [v.claim.says for v in verdicts if v.verdict == word] for word in ICONS}
    return ". ".join(f"{word.capitalize()}: {'; '.join(says)}" for word, says in by.items() if says) + "."
