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
    assert found == pytest.approx((7 / 3, low, high, 3), rel=1e-12)


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
    assert (found.slope.n, found.monotone, found.levels) == (3, 3, 4)


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
    assert statistics.proportion(k, n) == pytest.approx((k / n, expected.low, expected.high, n))


def test_the_interval_of_a_median_holds_it_in_95_of_100_samples_and_takes_what_was_not_reached() -> None:
    generator = np.random.default_rng(0)
    found = [statistics.median(generator.exponential(1, 20)) for _ in range(2000)]
    covered = np.mean([m.low <= np.log(2) <= m.high for m in found])
    assert 0.95 <= covered < 0.975  # 0.9586 by the binomial law
    some = statistics.median([*range(1, 12), *[np.inf] * 9])
    assert some.mean == 10.5
    assert (some.low, some.high) == (6, np.inf)
    assert not np.isfinite(statistics.median([1.0, 2.0, 3.0]).high)
