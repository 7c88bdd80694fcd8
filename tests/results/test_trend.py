"""Trend statistics against scipy, gaps and collapse by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.numbers import collapse, derived, tables, trend
from tests.results import frames

RISING = {0: {1.0: 1.0, 4.0: 2.0, 16.0: 3.0}, 1: {1.0: 1.5, 4.0: 2.5, 16.0: 9.0}, 2: {1.0: 0.0, 4.0: 5.0, 16.0: 4.0}}


def test_pages_test_is_scipys_in_the_better_direction_twice() -> None:
    found = trend.trend(RISING)
    table = np.array([[row[m] for m in (1, 4, 16)] for row in RISING.values()])
    assert found.page == stats.page_trend_test(table).statistic
    assert found.page_p == pytest.approx(2 * stats.page_trend_test(table).pvalue)
    falling = trend.trend({s: {m: -y for m, y in row.items()} for s, row in RISING.items()})
    assert falling.page_p == pytest.approx(found.page_p)
    assert falling.page < found.page


def test_spearman_is_scipys_over_all_runs() -> None:
    found = trend.trend(RISING)
    pairs = [(m, y) for row in RISING.values() for m, y in row.items()]
    truth = stats.spearmanr(*zip(*pairs, strict=True))
    assert (found.spearman, found.spearman_p) == pytest.approx((truth.statistic, truth.pvalue))
    assert (found.n, found.levels, found.runs) == (3, 3, 9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "k"), [(2, 3), (3, 5), (12, 7), (20, 3), (21, 3), (13, 4), (2, 8), (3, 9), (30, 7)])
def test_page_and_spearman_are_scipys_exact_normal_and_with_ties(n: int, k: int, ties: bool) -> None:
    rng = np.random.default_rng([n, k])
    table = rng.standard_normal((n, k)) + 0.1 * np.arange(k)
    table = np.round(table) if ties else table
    found = trend.trend({s: {2**j: y for j, y in enumerate(row)} for s, row in enumerate(table)})
    directions = [stats.page_trend_test(t) for t in (table, table[:, ::-1])]
    assert found.page == directions[0].statistic
    assert found.page_p == pytest.approx(min(1, 2 * min(d.pvalue for d in directions)), rel=1e-9)
    x, y = np.tile(np.arange(k), n), table.ravel()
    truth = stats.spearmanr(x, y)
    if n * k <= 7:
        orders = stats.permutation_test(
            (x,), lambda of: stats.spearmanr(of, y).statistic, permutation_type="pairings", n_resamples=np.inf
        )
        truth = orders
    assert (found.spearman, found.spearman_p) == pytest.approx((truth.statistic, truth.pvalue), rel=1e-9)


def test_few_runs_have_spearmans_p_over_all_orders() -> None:
    perfect = trend.trend({0: {1: 3.0, 2: 2.0, 4: 1.0, 8: 0.0}})
    assert (perfect.spearman, perfect.spearman_p) == (-1, pytest.approx(2 / 24))
    two = trend.trend({0: {1: 1.0, 2: 3.0}, 1: {1: 2.0, 2: 4.0}})
    assert two.spearman_p == pytest.approx(1 / 3), "two of the six ways to share four ranks between two m"


def test_spearmans_p_is_over_all_orders_up_to_seven_runs_and_students_from_eight() -> None:
    seven, eight = (trend.trend({0: {2**j: float(j) for j in range(n)}}) for n in (7, 8))
    assert seven.spearman_p == pytest.approx(2 / math.factorial(7))
    assert (eight.spearman, eight.spearman_p) == (1, 0)


@pytest.mark.parametrize(
    ("values", "page", "spearman"),
    [
        ([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], True, True), ([[1.0, 2.0, 3.0]], False, True),
        ([[1.0], [2.0], [3.0]], False, False),
        ([[1.0, 2.0], [1.0]], False, True), ([[1.0, 2.0]], False, False), ([[1.0, 1.0], [1.0, 1.0]], False, False),
    ],
)  # fmt: skip
def test_page_takes_three_m_and_two_seeds_and_spearman_two_m_three_runs_and_two_values(
    values: list[list[float]], page: bool, spearman: bool
) -> None:
    found = trend.trend({seed: {2.0**j: y for j, y in enumerate(row)} for seed, row in enumerate(values)})
    assert math.isfinite(found.page_p) == math.isfinite(found.page) == page
    assert math.isfinite(found.spearman_p) == math.isfinite(found.spearman) == spearman


def test_a_seed_with_a_hole_is_not_pages_and_two_m_are_no_trend() -> None:
    holed = RISING | {3: {1.0: 1.0, 4.0: float("nan"), 16.0: 2.0}}
    assert trend.trend(holed).page == trend.trend(RISING).page
    two = trend.trend({s: {m: row[m] for m in (1.0, 4.0)} for s, row in RISING.items()})
    assert math.isnan(two.page_p)
    assert two.levels == 2


def test_where_there_is_no_p_the_table_has_none() -> None:
    table = trend.table(trend.trends(frames.study().finals, ("tr_H",)))
    assert table["p (Page, two-sided)"].isna().all()
    assert list(table["Variant"]) == ["SAM"]


def test_gaps_are_differences_run_by_run() -> None:
    rows = [("a", "train_acc", 0.9), ("a", "test_acc", 0.7), ("a", "train_loss", 0.5), ("a", "test_loss", 1.25)]
    rows += [("b", "train_acc", 0.8)]
    finals = pd.DataFrame(rows, columns=["run", "quantity", "value"]).assign(stderr=0.0, method="exact")
    found = derived.with_gaps(finals)
    gaps = found[found["quantity"].isin(derived.GAPS)]
    assert dict(zip(gaps["quantity"], gaps["value"], strict=True)) == pytest.approx({"gap_acc": 0.2, "gap_loss": 0.75})
    assert set(gaps["run"]) == {"a"}
    assert len(found) == len(finals) + 2


@pytest.mark.parametrize(
    ("accuracies", "diverged", "expected"),
    [
        ([0.10, 0.11, 0.09], 0, True),  # chance
        ([0.16, 0.08, 0.19], 0, True),  # two classes learnt by some seeds; the interval reaches 1/10
        ([0.70, 0.90], 0, False),  # two seeds: a wide interval that reaches 1/10 is no collapse
        ([0.10, 0.50], 0, False),  # the best seed counts, not the worst
        ([0.16, 0.08, 0.1999], 0, True),
        ([0.16, 0.08, 0.2001], 0, False),  # on either side of 2/C
        ([0.18, 0.14], 0, True),  # two seeds too
        ([0.12], 0, True),  # one seed inside the interval of guessing
        ([0.13], 0, False),
        ([0.8], 1, True),
        ([0.8, 0.8], 1, False),
        ([], 0, False),
        ([], 2, True),
    ],
)
def test_a_collapsed_cell_is_told_from_a_bad_one(accuracies: list[float], diverged: int, expected: bool) -> None:
    guess = collapse.chance(frames.SWEEP)
    assert guess is not None
    assert guess.high == pytest.approx(0.1 + stats.norm.ppf(0.975) * math.sqrt(0.09 / 797))
    assert collapse.is_collapsed(accuracies, diverged, guess) is expected


@pytest.mark.parametrize(
    ("accuracies", "guess", "expected"),
    [
        ([0.125], collapse.Chance(0.1, 0.125, 0.2), True), ([0.1251], collapse.Chance(0.1, 0.125, 0.2), False),
        ([0.5, 0.5], collapse.Chance(0.5, 0.25, 0.5), True), ([0.5, 0.5], collapse.Chance(0.4999, 0.25, 0.5), False),
        ([0.5, 0.5], collapse.Chance(0.5, 0.25, 0.4999), False), ([0.0], None, False),
    ],
)  # fmt: skip
def test_the_edges_of_collapse_belong_to_it(
    accuracies: list[float], guess: collapse.Chance | None, expected: bool
) -> None:
    assert collapse.is_collapsed(accuracies, 0, guess) is expected


def test_half_way_up_from_two_classes_is_three_quarters() -> None:
    two: Any = SimpleNamespace(problem=SimpleNamespace(data=SimpleNamespace(classes=2, n_test=100)))
    assert collapse.chance(two) == pytest.approx((0.5, 0.5 + stats.norm.ppf(0.975) * 0.05, 0.75))


def test_the_runs_of_a_collapsed_cell_leave_the_trend() -> None:
    study = frames.study()
    finals = study.finals.copy()
    finals.loc[(finals["quantity"] == "test_acc") & (finals["m"] == 1), "value"] = 0.1
    gone = collapse.runs(finals, study.runs, study.spec)
    assert gone == set(study.runs.loc[study.runs["m"] == 1, "run"])
    assert set(collapse.without(finals, gone)["m"].dropna()) == {4.0}
    assert tables.slopes(collapse.without(finals, gone), ("tr_H",)).empty
