"""The answer of a decision in words."""

from __future__ import annotations

import math

from sam_dash.decide.record import Effort
from sam_dash.decide.rule import NO, YES, Answer, Pair
from sam_dash.results import words


def scale(score: str) -> tuple[float, str]:
    """What a score's difference is multiplied by to be shown, and the unit."""
    return (100.0, " points") if words.is_fraction(f"test_{score}") else (1.0, "")


def interval(p: Pair, score: str) -> str:
    """The difference and its interval: "+0.8 points [0.3, 1.3]"."""
    by, unit = scale(score)
    if not math.isfinite(p.half):
        return "no interval"
    places = min(9, max(0, 1 - math.floor(math.log10(by * p.half)))) if p.half > 0 else 3
    return f"{by * p.mean:+.{places}f}{unit} [{by * p.low:.{places}f}, {by * p.high:.{places}f}]"


def sentence(answer: Answer, score: str, margin: float, ratio: Effort, edges: str = "", of: str = "SAM") -> str:
    """The answer in a few sentences.

    Args:
        answer: of the rule.
        score: the key of the score.
        margin: in units of the score.
        ratio: what a SAM run takes in base runs, of the leading pair.
        of: the variants that were raced.
        edges: which of the leading arms' values are the outermost that were tried, in words.
    """
    return _verdict(answer, score, margin, ratio, of) + (f" At the edge of what was tried: {edges}." if edges else "")


def _verdict(answer: Answer, score: str, margin: float, ratio: Effort, of: str) -> str:
    by, unit = scale(score)
    told = f"{by * margin:g}{unit}"
    p = answer.leading
    if answer.verdict == YES and p is not None:
        base = len(answer.plan.base) if answer.plan else 1
        less = ", by less than the margin" if p.high < margin else ""
        return (
            f"Yes{less}: {p.sam} gains {interval(p, score)} over {p.base}, the closest of {base} tuned settings of the "
            f"base; {p.n} fresh seeds, {_price(ratio)}, {p.collapsed} of {p.n} collapsed."
        )
    if answer.verdict == NO:
        if p is None:
            return f"No: {answer.why}."
        out = next((why for look in reversed(answer.looks) for s, why in look.out.items() if s == p.sam), "")
        if "collapsed" in out:
            return f"No: the best settings of {of} {out}; {p.sam}: {interval(p, score)}."
        better = " It is better, but by less than matters." if p.low > 0 else ""
        return (
            f"No: no setting of {of} that was tried gains {told}: the best, {p.sam}, {interval(p, score)} against "
            f"{p.base}; {p.n} fresh seeds.{better}"
        )
    known = f"{interval(p, score)} for {p.sam} against {p.base}, {p.n} fresh seeds; " if p else ""
    more = f"; about {answer.more} more runs" if answer.more else ""
    return f"Cannot be told within this budget: {known}{answer.why}{more}."


def _price(ratio: Effort) -> str:
    """Gradients, and seconds where they are known: as runs were made here, several at a time."""
    seconds = f" and {ratio.seconds:.2g} times its seconds" if math.isfinite(ratio.seconds) else ""
    return f"{ratio.gradients:.2g} times its gradients{seconds}"
