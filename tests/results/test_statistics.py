"""The statistics against scipy and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sam_dash.results.numbers import statistics

VALUES = [1.0, 2.0, 4.0]  # mean 7/3, sd sqrt(7/3)


def test_the_t_interval_is_scipys() -> None:
    found = statistics.mean(VALUES)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert found == pytest.approx((7 / 3, low, high, 3, stats.sem(VALUES)), rel=1e-12)


def test_standard_error_and_deviation_by_hand() -> None:
    se = statistics.mean(VALUES, "se")
    sd = statistics.mean(VALUES, "sd")
    assert se.high - se.mean == pytest.approx(math.sqrt(7 / 9))
    assert sd.mean - sd.low == pytest.approx(math.sqrt(7 / 3))


def test_missing_values_do_not_count_as_seeds() -> None:
    assert statistics.mean([1.0, float("nan"), 3.0, float("inf")]).n == 2


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = statistics.mean([5.0])
    assert (found.mean, found.n) == (5.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.excludes(0)


def test_no_seed_has_nothing() -> None:
    assert statistics.mean([]).n == 0


def test_an_unknown_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of ci, se, sd"):
        statistics.mean(VALUES, "iqr")


def test_a_paired_difference_uses_the_seeds_that_both_have() -> None:
    found = statistics.paired({0: 3.0, 1: 5.0, 2: 100.0}, {0: 1.0, 1: 2.0, 7: 0.0})
    assert found.n == 2
    assert found.mean == 2.5
    assert found.high - found.mean == pytest.approx(float(stats.t.ppf(0.975, 1)) * 0.5)


def test_pairing_removes_what_seeds_have_in_common() -> None:
    a = {s: 100.0 * s + 1 + 0.01 * s for s in range(5)}
    b = {s: 100.0 * s for s in range(5)}
    assert statistics.paired(a, b).excludes(0)
    assert not statistics.mean(list(a.values())).excludes(float(np.mean(list(b.values()))))


def test_the_slope_is_per_doubling_and_paired_by_seed() -> None:
    line = {s: {m: 10 * s + 3 * math.log2(m) for m in (1, 2, 4, 16)} for s in range(3)}
    found = statistics.slope(line)
    assert found.slope.mean == pytest.approx(3)
    assert found.slope.low == pytest.approx(3)
    assert (found.slope.n, found.monotone, found.levels) == (3, 3, (1, 2, 4, 16))
    assert found.means == pytest.approx((10, 13, 16, 22))


def test_the_slope_is_least_squares_on_log2_m() -> None:
    row = {1: 1.0, 2: 5.0, 4: 2.0, 8: 7.0}
    assert statistics.slope({0: row}).slope.mean == pytest.approx(np.polyfit(range(4), list(row.values()), 1)[0])
    assert statistics.slope({0: row}).monotone == 0


def test_a_seed_with_a_missing_cell_does_not_tilt_the_slope() -> None:
    found = statistics.slope({0: {1: 0.0, 2: 1.0, 4: 2.0}, 1: {1: 50.0, 4: 0.0}})
    assert (found.slope.mean, found.slope.n) == (1.0, 1)


def test_one_m_has_no_slope() -> None:
    assert statistics.slope({0: {4: 1.0}, 1: {4: 2.0}}).slope.n == 0


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (10, 20), (20, 20), (1, 2)])
def test_the_interval_of_a_proportion_is_scipys_exact_one(k, n) -> None:
    from scipy.stats import binomtest

    expected = binomtest(k, n).proportion_ci(0.95, "exact")
    assert statistics.proportion(k, n)[:4] == pytest.approx((k / n, expected.low, expected.high, n))
    widened = binomtest(k, n).proportion_ci(1 - 0.05 / 7, "exact")
    assert statistics.proportion(k, n, 7)[:4] == pytest.approx((k / n, widened.low, widened.high, n))


@pytest.mark.parametrize("value", [-3.0, 0.0, 2.0, 2.5, 9.0])
def test_the_p_of_a_mean_are_scipys(value: float) -> None:
    found = statistics.mean(VALUES)
    for ours, way in ((found.p_above, "greater"), (found.p_below, "less"), (found.p, "two-sided")):
        assert ours(value) == pytest.approx(stats.ttest_1samp(VALUES, value, alternative=way).pvalue, rel=1e-9)
    margin = 1 + abs(value)
    sides = (stats.ttest_1samp(VALUES, s * margin, alternative=w).pvalue for s, w in ((-1, "greater"), (1, "less")))
    assert found.p_within(margin) == pytest.approx(max(sides), rel=1e-9)


@pytest.mark.parametrize("interval", statistics.INTERVALS)
def test_a_p_is_below_5_percent_where_the_interval_is_off_and_whatever_interval_is_drawn(interval: str) -> None:
    ends = statistics.mean(VALUES)
    found = statistics.mean(VALUES, interval)
    for end, way in ((ends.low, -1), (ends.high, 1)):
        assert found.p(end + way * 1e-6) < 0.05 < found.p(end - way * 1e-6)
        assert ends.excludes(end + way * 1e-6)
        assert not ends.excludes(end - way * 1e-6)


def test_one_seed_and_none_have_no_p() -> None:
    for values in ([], [5.0]):
        found = statistics.mean(values)
        assert all(math.isnan(p) for p in (found.p(), found.p_above(), found.p_below(), found.p_within(1)))


def test_the_negative_of_a_mean_is_the_mean_of_the_negatives() -> None:
    assert -statistics.mean(VALUES) == pytest.approx(statistics.mean([-x for x in VALUES]))


def test_an_interval_is_widened_by_bonferroni() -> None:
    found = statistics.mean(VALUES).widened(3)
    low, high = stats.t.interval(1 - 0.05 / 3, 2, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert statistics.mean(VALUES).widened(1) == pytest.approx(statistics.mean(VALUES))


def test_half_an_interval_is_the_same_for_arrays_and_for_numbers() -> None:
    se, n = np.array([0.5, 2.0, np.nan]), np.array([3, 10, 1])
    found = statistics.half_width(se, n)
    assert found[:2] == pytest.approx(stats.t.ppf(0.975, n[:2] - 1) * se[:2], rel=1e-9)
    assert math.isnan(found[2])


def test_a_geometric_mean_is_that_of_the_positive_values_with_the_interval_of_their_logarithms() -> None:
    found = statistics.geometric([0.5, 1.0, 4.0, -1.0, 0.0])
    logs = np.log([0.5, 1, 4])
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    assert found[:4] == pytest.approx((stats.gmean([0.5, 1, 4]), math.exp(low), math.exp(high), 3))
    assert statistics.logarithms([0.5, 1.0, 4.0, -1.0]).p() == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)


def test_holm_is_the_step_down_procedure_and_what_is_not_tested_does_not_count() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    found = statistics.holm([float("nan"), 0.02, 0.5, 0.4])
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([0.06, 0.8, 0.8])
    assert statistics.holm([0.6, 0.9]) == [1, 1]
    assert statistics.holm([]) == []


@pytest.mark.parametrize(("n", "left_out"), [(5, None), (6, 0), (8, 0), (9, 1), (20, 5), (60, 21)])
def test_the_interval_of_a_median_is_the_narrowest_that_the_binomial_law_allows(n: int, left_out: int | None) -> None:
    found = statistics.median(range(n))
    if left_out is None:
        assert (found.low, found.high) == (-math.inf, math.inf)
        return
    assert (found.low, found.high) == (left_out, n - 1 - left_out)
    assert stats.binom.cdf(left_out, n, 0.5) <= 0.025 < stats.binom.cdf(left_out + 1, n, 0.5)


@pytest.mark.parametrize(("low", "high", "told"), [(0.1, 1, True), (-1, -0.1, True), (-1, 1, False), (0, 1, False)])
def test_an_interval_excludes_what_is_beyond_its_ends(low: float, high: float, told: bool) -> None:
    assert statistics.excludes(low, high) is told
    assert not statistics.excludes(float("nan"), high)


@pytest.mark.parametrize(("n", "r"), [(4, 0.5), (30, -0.3)])
def test_the_interval_of_a_correlation_is_fishers(n: int, r: float) -> None:
    rng = np.random.default_rng(n)
    x = rng.standard_normal(n)
    y = r * x + rng.standard_normal(n)
    truth = stats.pearsonr(x, y)
    ends = truth.confidence_interval(0.95)
    found = statistics.correlation(x, y)
    assert found == pytest.approx((truth.statistic, ends.low, ends.high, n), rel=1e-9)
    assert found.excludes(ends.high + 1e-6)
    assert not found.excludes(ends.high - 1e-6)


@pytest.mark.parametrize("unit", [1.0, 1e-100, 1e100])
def test_a_correlation_has_no_unit_and_takes_what_differs_by_more_than_rounding(unit: float) -> None:
    x, y = unit * np.array([1.0, 2.0, 4.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert statistics.correlation(x, y) == pytest.approx(statistics.correlation(x / unit, y))
    for size, told in ((1.0e-12, False), (1.6e-12, True)):  # the norm of the deviations is sqrt(2/3) of it
        apart = unit * np.array([1.0, 1.0, 1 + size])
        assert math.isfinite(statistics.correlation(apart, y[:3]).r) == told
        assert math.isfinite(statistics.correlation(y[:3], apart).r) == told


def test_what_is_the_same_in_all_correlates_with_nothing() -> None:
    rng = np.random.default_rng(0)
    for n in range(3, 9):
        for value in (0.0, *rng.uniform(1e5, 1e7, 20)):
            found = statistics.correlation([value] * n, rng.standard_normal(n))
            assert (math.isnan(found.r), found.n) == (True, n)
    assert math.isnan(statistics.correlation([], []).r)


@pytest.mark.parametrize("sign", [1, -1])
def test_points_on_a_line_have_a_correlation_of_1_and_no_interval(sign: int) -> None:
    found = statistics.correlation([-1.0, -1.0, 1.0, 1.0, math.nan], [-sign, -sign, sign, sign, 5.0])
    assert (found.r, found.n) == (sign, 4)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_interval_of_a_median_holds_it_in_95_of_100_samples_and_takes_what_was_not_reached() -> None:
    generator = np.random.default_rng(0)
    found = [statistics.median(generator.exponential(1, 20)) for _ in range(2000)]
    covered = np.mean([m.low <= np.log(2) <= m.high for m in found])
    assert 0.95 <= covered < 0.975  # 0.9586 by the binomial law
    some = statistics.median([*range(1, 12), *[np.inf] * 9])
    assert some.mean == 10.5
    assert (some.low, some.high) == (6, np.inf)
    assert not np.isfinite(statistics.median([1.0, 2.0, 3.0]).high)
