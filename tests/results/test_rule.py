"""The one rule of every verdict: against scipy, and on both sides of every edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.claims.rule import OPEN, REFUTED, SUPPORTED, UNTESTED, Sides
from sam_dash.results.numbers import statistics

SAMPLE = np.array([-1.0, 0.5, 2.0, -0.25, 1.5, -2.75])  # mean 0
HALF = stats.t.ppf(0.975, 5) * stats.sem(SAMPLE)  # of its 95 % interval
NUDGE = 1e-6


def reaching(low: float, half: float = 1.0) -> statistics.Mean:
    """Six seeds whose 95 % interval begins at `low` and is twice `half` wide."""
    found = statistics.mean(low + half + half / HALF * SAMPLE)
    assert (found.low, found.high) == pytest.approx((low, low + 2 * half))
    return found


@pytest.mark.parametrize(
    ("low", "side"), [(NUDGE, SUPPORTED), (-NUDGE, OPEN), (-2 + NUDGE, OPEN), (-2 - NUDGE, REFUTED)]
)
def test_a_mean_is_positive_where_its_interval_is(low: float, side: str) -> None:
    assert rule.positive(reaching(low)).side == side


@pytest.mark.parametrize(
    ("low", "half", "side"),
    [
        (-1 + NUDGE, 1 - 2 * NUDGE, SUPPORTED), (-1 - NUDGE, 0.9, OPEN), (-0.8, 0.9 + NUDGE, OPEN),
        (-0.8, 0.9 - NUDGE, SUPPORTED), (NUDGE, 0.6, REFUTED), (-NUDGE, 0.6, OPEN), (0.1, 0.1, SUPPORTED),
        (-1.2, 0.6 - NUDGE, REFUTED), (-1.2, 0.6 + NUDGE, OPEN),
    ],
)  # fmt: skip
def test_no_difference_is_an_interval_inside_the_margin_and_a_difference_one_without_0(
    low: float, half: float, side: str
) -> None:
    assert rule.none(reaching(low, half), 1.0).side == side


@pytest.mark.parametrize(
    ("low", "half", "side"),
    [
        (-1 + NUDGE, 9, SUPPORTED), (-1 - NUDGE, 9, OPEN), (-3, 1.5 - NUDGE, REFUTED), (-3, 1.5 + NUDGE, OPEN),
        (-0.5, 0.1, SUPPORTED),
    ],
)  # fmt: skip
def test_nothing_is_lost_where_the_interval_is_above_minus_the_margin(low: float, half: float, side: str) -> None:
    assert rule.above(reaching(low, half), 1.0).side == side


@pytest.mark.parametrize(
    ("low", "half", "side"),
    [
        (-1 + NUDGE, 1 - 2 * NUDGE, SUPPORTED), (-1 - NUDGE, 0.5, OPEN), (1 - NUDGE, 0.5, OPEN),
        (1 + NUDGE, 0.5, REFUTED), (-2, 0.5 - NUDGE, REFUTED), (-2, 0.5 + NUDGE, OPEN),
    ],
)  # fmt: skip
def test_a_mean_is_within_a_margin_or_wholly_out_of_it(low: float, half: float, side: str) -> None:
    assert rule.within(reaching(low, half), 1.0).side == side


def test_the_p_of_each_test_is_scipys_on_the_scale_of_two_sides() -> None:
    x = 0.7 + SAMPLE
    mean = statistics.mean(x)

    def one_sided(value: float, way: str) -> float:
        return float(stats.ttest_1samp(x, value, alternative=way).pvalue)

    two = float(stats.ttest_1samp(x, 0).pvalue)
    up, down = one_sided(0, "greater"), one_sided(0, "less")
    tost = max(one_sided(-3, "greater"), one_sided(3, "less"))
    assert rule.positive(mean) == pytest.approx((min(1, 2 * up), min(1, 2 * down)))
    assert rule.positive(mean).p == pytest.approx(two)
    assert rule.positive(mean, 3) == pytest.approx((min(1, 6 * up), 1))
    assert rule.none(mean, 3) == pytest.approx((2 * tost, two))
    assert rule.within(mean, 0.1) == pytest.approx(
        (min(1, 2 * max(one_sided(-0.1, "greater"), one_sided(0.1, "less"))), 2 * one_sided(0.1, "greater"))
    )
    assert rule.above(mean, 3, 2) == pytest.approx((4 * one_sided(-3, "greater"), min(1, 2 * down)))


def test_a_margin_is_no_longer_widened_where_even_the_best_is_worse() -> None:
    assert rule.above(reaching(-2 - NUDGE), 1.0, 20).side == REFUTED


def test_all_take_the_largest_p_and_one_against_is_enough() -> None:
    tests = [Sides(0.01, 0.9), Sides(0.04, 0.2), Sides(0.03, 0.3)]
    assert rule.every(tests) == (0.04, 0.2)
    assert rule.every(tests, 3) == pytest.approx((0.04, 0.6))
    assert rule.every(tests, 6) == (0.04, 1)
    assert rule.every([*tests, Sides(0.06, 0.5)]).side == OPEN
    assert rule.every([*tests, Sides(1.0, 0.001)]).side == REFUTED


def test_one_is_enough_and_against_takes_all() -> None:
    assert rule.some([Sides(0.8, 0.01), Sides(0.7, 0.049)]).side == REFUTED
    assert rule.some([Sides(0.8, 0.01), Sides(0.7, 0.051)]).side == OPEN
    assert rule.some([Sides(0.8, 0.01), Sides(0.04, 0.9)]) == (0.04, 0.9)


def test_a_test_that_needs_another_has_the_larger_p_on_either_side() -> None:
    assert rule.given(Sides(0.01, 0.9), 0.04) == (0.04, 0.9)
    assert rule.given(Sides(0.9, 0.01), 0.06).side == OPEN
    assert rule.given(Sides(0.01, 0.9), 1.4) == (1, 1)
    assert rule.given(Sides(), 0.04).side == UNTESTED


@pytest.mark.parametrize(
    ("test", "side", "p"),
    [
        (Sides(0.04, 0.001), SUPPORTED, 0.04), (Sides(0.06, 0.001), REFUTED, 0.001), (Sides(0.06, 0.07), OPEN, 0.06),
        (Sides(0.05, 1.0), OPEN, 0.05), (Sides(0.0499, 1.0), SUPPORTED, 0.0499), (Sides(1.0, 0.05), OPEN, 0.05),
        (Sides(1.0, 0.0499), REFUTED, 0.0499),
    ],
)  # fmt: skip
def test_the_p_is_that_of_the_side_that_decides(test: Sides, side: str, p: float) -> None:
    assert (test.side, test.p) == (side, p)


@pytest.mark.parametrize(("p", "verdict"), [(0.0166, SUPPORTED), (0.0167, OPEN)])
def test_the_verdict_is_that_of_the_corrected_p_on_both_sides_of_the_edge(p: float, verdict: str) -> None:
    first, *_ = rule.decide([Sides(p, 1.0), Sides(0.5, 1.0), Sides(1.0, 0.4), Sides()])
    assert (first.verdict, first.side) == (verdict, SUPPORTED)
    assert first.holm == pytest.approx(3 * p), "what could not be tested does not count"
    assert ("“supported” does not stand against the correction" in first.says) == (verdict == OPEN)


def test_a_refuted_statement_falls_with_the_correction_too() -> None:
    found = rule.decide([Sides(1.0, 0.03), Sides(0.4, 1.0)])
    assert [r.verdict for r in found] == [OPEN, OPEN]
    assert "“not supported” does not stand" in found[0].says


def test_what_was_not_tested_is_not_inconclusive() -> None:
    (found,) = rule.decide([rule.positive(statistics.mean([1.0]))])
    assert (found.verdict, found.says) == (UNTESTED, "")
    assert math.isnan(found.p)
    assert rule.decide([rule.none(statistics.mean([]), 1)])[0].verdict == UNTESTED


def test_seeds_that_agree_to_the_last_digit_decide_by_their_mean() -> None:
    same = statistics.mean([0.5] * 4)
    assert rule.positive(same) == (0, 1)
    assert rule.positive(-same) == (1, 0)
    assert rule.none(same, 1) == (0, 0)
    assert rule.none(same, 0.5).side == REFUTED
    assert rule.positive(statistics.mean([0.0] * 4)).side == OPEN


@pytest.mark.parametrize(
    ("p", "text"), [(math.nan, "–"), (0.00009, "< 0.0001"), (0.00011, "0.00011"), (0.123, "0.12"), (1.0, "1")]
)
def test_a_p_has_two_digits_and_is_never_0(p: float, text: str) -> None:
    assert words.p_text(p) == text
    assert rule.p_equals(0.00009) == "p < 0.0001"
    assert rule.p_equals(0.5) == "p = 0.5"
