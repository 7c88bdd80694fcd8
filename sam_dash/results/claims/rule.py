"""The one rule of every verdict: a test of two sides, decided at 5 % after Holm's correction.

A statement is given two p: that at which it is supported, and that at which its contrary is. Both are on the scale of
two-sided tests: twice a one-sided p, so that p < .05 says that the 95 % interval lies wholly on a side. A side is
decided where its p is below .05 and stays there when corrected for all statements that are judged beside it. What could
not be tested, with no runs or one seed, is not tested; inconclusive is what was tested and decided nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sam_dash.results import words
from sam_dash.results.numbers.statistics import LEVEL, NAN, Mean, holm

SUPPORTED, REFUTED, OPEN, UNTESTED = "supported", "not supported", "inconclusive", "not tested"
ICONS = {SUPPORTED: "✓", REFUTED: "✕", OPEN: "?", UNTESTED: "–"}
DECIDES = (
    f"Either stands only where p, corrected by Holm for all that is judged beside it, is below {LEVEL:g}; else it is "
    "inconclusive."
)


class Sides(NamedTuple):
    """The two p of a statement, on the two-sided scale; nan where nothing could be tested."""

    supports: float = NAN
    refutes: float = NAN

    @property
    def side(self) -> str:
        """What it says by itself, before the correction; a statement that is supported is not looked at further."""
        if math.isnan(self.p):
            return UNTESTED
        return SUPPORTED if self.supports < LEVEL else REFUTED if self.refutes < LEVEL else OPEN

    @property
    def p(self) -> float:
        """The p of the side that decides; of none, the smaller."""
        return self.supports if self.supports < LEVEL else min(self.supports, self.refutes)


class Ruling(NamedTuple):
    """A verdict with its p, p after Holm's correction, and what it would be without one."""

    verdict: str
    p: float
    holm: float
    side: str

    @property
    def says(self) -> str:
        """For example "p = 0.031 (Holm: 0.062), which the correction leaves undecided"; "" where nothing was tested."""
        if math.isnan(self.p):
            return ""
        fallen = f": “{self.side}” does not stand against the correction" if self.verdict != self.side else ""
        return f"{p_equals(self.p)} (Holm: {words.p_text(self.holm)}){fallen}"


def decide(tests: Sequence[Sides]) -> list[Ruling]:
    """The verdicts of statements that are judged at once."""
    adjusted = holm([t.p for t in tests])
    return [
        Ruling(OPEN if t.side in (SUPPORTED, REFUTED) and p >= LEVEL else t.side, t.p, p, t.side)
        for t, p in zip(tests, adjusted, strict=True)
    ]


def positive(mean: Mean, choices: int = 1) -> Sides:
    """That a mean is above 0; the contrary: below. `choices`: among how many it was the best (Bonferroni)."""
    return Sides(_twice(mean.p_above(), choices), _twice(mean.p_below(), choices))


def above(mean: Mean, margin: float, choices: int = 1) -> Sides:
    """That nothing of more than `margin` is lost: mean > -margin; the contrary: below 0. `choices` as in `positive`,
    of the support alone: where the best is worse, all are."""
    return Sides(_twice(mean.p_above(-margin), choices), _twice(mean.p_below()))


def none(mean: Mean, margin: float) -> Sides:
    """That there is no difference of `margin` or more, by two one-sided tests; the contrary: that there is one."""
    return Sides(_twice(mean.p_within(margin)), mean.p())


def within(mean: Mean, margin: float) -> Sides:
    """That a mean is within `margin` of 0; the contrary: that it is farther than that."""
    return Sides(_twice(mean.p_within(margin)), _twice(min(mean.p_above(margin), mean.p_below(-margin))))


def every(tests: Iterable[Sides], choices: int = 1) -> Sides:
    """That all hold, so that the largest p counts; the contrary: that of one, of so many, does."""
    found = list(tests)
    return Sides(max(t.supports for t in found), min(1.0, choices * min(t.refutes for t in found)))


def some(tests: Iterable[Sides]) -> Sides:
    """That one holds; the contrary: that of all does, so that there the largest p counts."""
    found = list(tests)
    return Sides(min(t.supports for t in found), max(t.refutes for t in found))


def given(test: Sides, p: float) -> Sides:
    """A test that says something only where another does, of this p: the larger of both counts, on either side."""
    return Sides(*(math.nan if math.isnan(side) else min(1.0, max(side, p)) for side in test))


def _twice(p: float, choices: int = 1) -> float:
    return p if math.isnan(p) else min(1.0, 2 * choices * p)


def p_equals(p: float) -> str:
    """For example "p = 0.031", "p < 0.0001"."""
    return f"p = {words.p_text(p)}".replace("= <", "<")


def marked(verdict: str) -> str:
    """For a table: "✓ supported"."""
    return f"{ICONS[verdict]} {verdict}"
