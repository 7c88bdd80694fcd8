"""Verdicts on made-up numbers, rule by rule, and on the example that ships with the project."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.claims import claim as claims
from sam_dash.results.claims import rule, verdicts
from sam_dash.results.claims.claim import CLAIMS
from sam_dash.results.claims.rule import OPEN, REFUTED, SUPPORTED, UNTESTED
from sam_dash.results.numbers import collapse, tables
from sam_dash.results.numbers import study as studies
from tests.results import frames

SEEDS = range(6)


def cell(variant: str, m: float | None, quantity: str, mean: float, spread: float = 0.0, **knobs: Any) -> list[dict]:
    """Six seeds round a mean; `spread` is what a seed's difference to another cell varies by."""
    known = dict.fromkeys(tables.knob_names()) | knobs
    noise = np.random.default_rng(zlib.crc32(f"{variant}{m}{mean}".encode())).uniform(-0.5, 0.5, len(SEEDS))
    noise -= noise.mean()
    return [
        {
            "run": f"{variant}{m}{knobs}{s}", "variant": variant, "m": m, **known, "seed": s, "quantity": quantity,
            "value": mean + spread * noise[s], "stderr": 0.0, "method": "by hand", "converged": True,
        }
        for s in SEEDS
    ]  # fmt: skip


def judged(*cells: list[dict], batch: int = 4) -> dict[str, claims.Verdict]:
    finals = pd.DataFrame([row for rows in cells for row in rows])
    return {v.claim.key: v for v in verdicts.judge(finals, batch)}


def sam(quantity: str, by_m: dict[int, float], spread: float = 0.1) -> list[dict]:
    return [row for m, mean in by_m.items() for row in cell("sam", m, quantity, mean, spread, rho=0.1)]


def reweighted(quantity: str, by_lam: dict[float, float], spread: float = 0.001, **knobs: Any) -> list[dict]:
    knobs = {"rho": 0.1, "normalised": True} | knobs
    return [row for lam, y in by_lam.items() for row in cell("rwsam", 4, quantity, y, spread, lam=lam, **knobs)]


@pytest.mark.parametrize(("values", "verdict"), [((1, 2, 3), SUPPORTED), ((3, 2, 1), REFUTED), ((2, 2.02, 2.01), OPEN)])
def test_a_slope_is_supported_reversed_or_a_tie(values: tuple[float, ...], verdict: str) -> None:
    found = judged(sam("tr_H", dict(zip((1, 2, 4), values, strict=True))))["tr_H"]
    assert (found.verdict, found.effect.n) == (verdict, 6)


def test_the_effect_is_the_change_per_halving_with_its_t_interval_over_seeds() -> None:
    found = judged(rows := sam("tr_H", {1: 1.0, 2: 2.0, 4: 3.5}, 0.3))["tr_H"]
    wide = pd.DataFrame(rows).pivot(index="seed", columns="m", values="value")
    slopes = (wide[1] - wide[4]) / 2
    half = stats.t.ppf(0.975, 5) * slopes.std(ddof=1) / np.sqrt(6)
    assert found.effect[:3] == pytest.approx((slopes.mean(), slopes.mean() - half, slopes.mean() + half), rel=1e-12)
    assert found.ruling.p == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue, rel=1e-9)
    assert claims.effect(found) == "−1.25 per halving of m"


def test_accuracy_that_is_best_before_the_smallest_m_is_said_not_to_be_monotone() -> None:
    assert judged(sam("test_acc", {1: 0.86, 2: 0.8, 4: 0.7, 16: 0.6}))["accuracy"].why == "Over m = 1 to 16."
    found = judged(sam("test_acc", {1: 0.84, 2: 0.86, 4: 0.76}, 0.001))["accuracy"]
    assert found.verdict == SUPPORTED
    assert "The mean is best at m = 2, not at m = 1" in found.why
    assert claims.effect(found) == "+4.0 points per halving of m", "smaller m is more accurate: the sign says so"


def test_sharpness_that_is_lowest_before_the_smallest_m_is_said_too() -> None:
    assert "best" not in judged(sam("tr_H", {1: 1, 2: 2, 4: 3}))["tr_H"].why
    assert "The mean is best at m = 2, not at m = 1" in judged(sam("tr_H", {1: 2, 2: 1, 4: 4}))["tr_H"].why


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [(0.001, 0.001, SUPPORTED), (0.05, 0.001, REFUTED), (0.005, 0.2, OPEN), (-0.05, 0.001, REFUTED)],
)
def test_no_gain_takes_an_interval_inside_one_point_a_tie_alone_is_not_enough(
    gain: float, spread: float, verdict: str
) -> None:
    found = judged(cell("sgd", None, "test_acc", 0.7), cell("nsam", 4, "test_acc", 0.7 + gain, spread))["nsam"]
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((3.0, 2.0, 1.0), SUPPORTED), ((3.0, 1.0, 2.0), REFUTED), ((2.0, 2.0001, 1.0), OPEN)],
)
def test_the_order_of_noise_takes_both_differences(values: tuple[float, float, float], verdict: str) -> None:
    sgd, plain, weighted = values
    found = judged(
        cell("sgd", None, "tr_V", sgd, 0.1), sam("tr_V", {4: plain}), reweighted("tr_V", {0.5: weighted}, 0.1)
    )
    assert found["order"].verdict == verdict


def test_rw_sam_is_judged_at_its_best_lambda_with_an_interval_widened_for_the_choice() -> None:
    base = sam("test_acc", {4: 0.76}, 0.01)
    one = judged(base, reweighted("test_acc", {0.5: 0.766}, 0.02))["rw_accuracy"]
    three = judged(base, reweighted("test_acc", {0.25: 0.7, 0.5: 0.766, 1.0: 0.7}, 0.02))["rw_accuracy"]
    assert one.effect.mean == pytest.approx(three.effect.mean)
    ratio = stats.t.ppf(1 - 0.025 / 3, 5) / stats.t.ppf(0.975, 5)
    assert three.effect.high - three.effect.low == pytest.approx(ratio * (one.effect.high - one.effect.low))
    assert three.ruling.p == pytest.approx(3 * one.ruling.p)
    assert "λ = 0.5" in three.why


@pytest.mark.parametrize(("best", "verdict"), [(0.8, SUPPORTED), (0.7, REFUTED), (0.7601, OPEN)])
def test_rw_sam_against_sam(best: float, verdict: str) -> None:
    rows = sam("test_acc", {4: 0.76}, 0.01), reweighted("test_acc", {0.5: best, 1.0: best - 0.05}, 0.01)
    assert judged(*rows)["rw_accuracy"].verdict == verdict


def test_flatter_is_a_smaller_trace() -> None:
    assert judged(sam("tr_H", {4: 70}), reweighted("tr_H", {0.5: 60}))["rw_flat"].verdict == SUPPORTED
    assert judged(sam("tr_H", {4: 70}), reweighted("tr_H", {0.5: 80}))["rw_flat"].verdict == REFUTED


def test_rw_sam_without_normalisation_is_another_length_and_is_not_judged() -> None:
    rows = sam("test_acc", {4: 0.76}), reweighted("test_acc", {0.5: 0.9}, normalised=False)
    found = judged(*rows)["rw_accuracy"]
    assert found.verdict == UNTESTED
    assert found.why.startswith("Not tested")


def apart(
    quantity: str, variant: str, base: dict[int, float], difference: float, half: float, **knobs: Any
) -> list[dict]:
    """A cell whose paired difference from `base` (by seed) has this mean and half 95 % interval."""
    pattern = np.array([-1.0, 0.5, 2.0, -0.25, 1.5, -2.75])
    unit = pattern / (stats.t.ppf(0.975, 5) * stats.sem(pattern))
    rows = cell(variant, 4, quantity, 0.0, **knobs)
    for row in rows:
        row["value"] = base[row["seed"]] + difference + half * unit[row["seed"]]
    return rows


def by_seed(rows: list[dict], **where: Any) -> dict[int, float]:
    return {r["seed"]: r["value"] for r in rows if all(r[k] == v for k, v in where.items())}


def scipys(a: list[dict], b: list[dict], at: float = 0.0, way: str = "two-sided") -> float:
    """The p of the paired difference a - b."""
    return float(stats.ttest_1samp([by_seed(a)[s] - by_seed(b)[s] for s in SEEDS], at, alternative=way).pvalue)


def test_an_order_refuted_by_sgd_below_sam_has_the_p_of_that_difference() -> None:
    sgd, plain = cell("sgd", None, "tr_V", 1.0, 0.1), sam("tr_V", {4: 2.0}, 0.1)
    weighted = reweighted("tr_V", {0.25: 1.5, 0.5: 1.9999}, 0.5)
    found = judged(sgd, plain, weighted)["order"]
    assert found.verdict == REFUTED
    assert found.of == "(SGD − SAM)"
    assert found.effect.mean == pytest.approx(-1.0)
    assert found.ruling.p == pytest.approx(scipys(sgd, plain), rel=1e-9)


def test_an_order_refuted_by_rw_sam_has_the_p_of_that_difference_widened_for_lambda() -> None:
    sgd, plain = cell("sgd", None, "tr_V", 3.0, 0.1), sam("tr_V", {4: 2.0}, 0.1)
    weighted = reweighted("tr_V", {0.25: 2.5}, 0.3)
    found = judged(sgd, plain, weighted, reweighted("tr_V", {0.5: 9.0}))["order"]
    assert (found.verdict, found.of) == (REFUTED, "(SAM − RW-SAM)")
    assert found.ruling.p == pytest.approx(2 * scipys(plain, weighted), rel=1e-9)
    half = stats.t.ppf(1 - 0.025 / 2, 5) * stats.sem([by_seed(plain)[s] - by_seed(weighted)[s] for s in SEEDS])
    assert found.effect.high - found.effect.mean == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize(("half", "verdict"), [(0.0099999, SUPPORTED), (0.0100001, OPEN)])
def test_an_order_is_supported_by_its_less_sure_difference_on_both_sides_of_its_edge(half: float, verdict: str) -> None:
    plain = sam("tr_V", {4: 2.0}, 0.0)
    weighted = reweighted("tr_V", {0.5: 1.0}, 0.001)
    sgd = apart("tr_V", "sgd", by_seed(plain), 0.01, half)
    found = judged([r | {"m": None} for r in sgd], plain, weighted)["order"]
    assert found.verdict == verdict
    assert found.of == "(SGD − SAM)", "the interval that decides"
    assert found.ruling.p == pytest.approx(scipys(sgd, plain), rel=1e-6)
    other = apart("tr_V", "rwsam", by_seed(plain), -0.01, half, lam=0.5, rho=0.1, normalised=True)
    found = judged(cell("sgd", None, "tr_V", 9.0, 0.001), plain, other)["order"]
    assert (found.verdict, found.of) == (verdict, "(SAM − RW-SAM)")


def test_an_order_widens_the_second_difference_for_the_choice_of_lambda() -> None:
    plain = sam("tr_V", {4: 2.0}, 0.0)
    close = apart("tr_V", "rwsam", by_seed(plain), -0.01, 0.0099, lam=0.5, rho=0.1, normalised=True)
    sgd = cell("sgd", None, "tr_V", 9.0, 0.001)
    assert judged(sgd, plain, close)["order"].verdict == SUPPORTED
    assert judged(sgd, plain, close, reweighted("tr_V", {0.25: 5.0}))["order"].verdict == OPEN


def test_no_gain_of_an_inconclusive_interval_shows_the_p_of_its_own_rule() -> None:
    """On the scale of two sides: an interval that reaches beyond a point has no p below .05."""
    sgd = cell("sgd", None, "test_acc", 0.7)
    for half, verdict in ((0.0079999, SUPPORTED), (0.0080001, OPEN)):
        nsam = apart("test_acc", "nsam", by_seed(sgd), 0.002, half)
        found = judged(sgd, nsam)["nsam"]
        assert found.verdict == verdict
        tost = max(scipys(nsam, sgd, -0.01, "greater"), scipys(nsam, sgd, 0.01, "less"))
        assert found.ruling.p == pytest.approx(min(2 * tost, 2 * tost if half < 0.008 else scipys(nsam, sgd)))
        assert (found.ruling.p < 0.05) == (verdict == SUPPORTED)


def test_as_accurate_takes_the_interval_above_minus_one_point_widened_for_both_choices() -> None:
    base = sam("test_acc", {2: 0.8}, 0.0)
    for choices, others in ((1, {}), (2, {0.25: 0.5}), (3, {0.25: 0.5, 1.0: 0.5})):
        wide = stats.t.ppf(1 - 0.025 / choices, 5) / stats.t.ppf(0.975, 5)
        for end, verdict in ((-0.0099999, SUPPORTED), (-0.0100001, OPEN)):
            weighted = apart("test_acc", "rwsam", by_seed(base), -0.001, (-0.001 - end) / wide, lam=0.5, rho=0.1,
                             normalised=True)  # fmt: skip
            found = judged(base, weighted, reweighted("test_acc", others) if others else [])["rw_equal"]
            assert found.verdict == verdict, (choices, end)
            assert found.effect.low == pytest.approx(end)
            nearest = scipys(weighted, base, -0.01, "greater")
            assert found.ruling.p == pytest.approx(2 * choices * nearest, rel=1e-6)


def test_less_accurate_takes_every_m_and_shows_the_largest_p() -> None:
    base = sam("test_acc", {1: 0.84, 2: 0.80}, 0.0)
    first, second = (by_seed(base, m=m) for m in (1, 2))
    assert first != second
    for half, verdict in ((0.0199999, REFUTED), (0.0200001, OPEN)):
        weighted = apart("test_acc", "rwsam", second, -0.02, half, lam=0.5, rho=0.1, normalised=True)
        found = judged(base, weighted)["rw_equal"]
        assert found.verdict == verdict
        if verdict == REFUTED:
            assert "m-SAM at m = 2, the m < B where it is the least sure" in found.why
            assert found.ruling.p == pytest.approx(scipys(weighted, [r for r in base if r["m"] == 2]), rel=1e-6)
            assert found.effect.mean == pytest.approx(-0.02)


def test_as_accurate_is_shown_at_the_m_below_the_batch_that_comes_nearest() -> None:
    base, weighted = sam("test_acc", {1: 0.84, 2: 0.80, 4: 0.70}, 0.001), reweighted("test_acc", {0.5: 0.801}, 0.001)
    found = judged(base, weighted)["rw_equal"]
    assert "m-SAM at m = 2, the m < B that it comes nearest to; widened for 2 choices" in found.why
    assert found.effect.mean == pytest.approx(0.001)
    whole = judged([r for r in base if r["m"] == 4], weighted)["rw_equal"]
    assert (whole.verdict, whole.why) == (
        UNTESTED, "Not tested: it takes normalised RW-SAM at λ > 0, and m-SAM at some m < B.",
    )  # fmt: skip


@pytest.mark.parametrize(("y", "verdict"), [(0.801, SUPPORTED), (0.7, REFUTED), (0.9, SUPPORTED)])
def test_rw_sam_as_accurate_as_a_small_m(y: float, verdict: str) -> None:
    rows = sam("test_acc", {1: 0.84, 2: 0.8, 4: 0.76}, 0.001), reweighted("test_acc", {0.5: y}, 0.001)
    assert judged(*rows)["rw_equal"].verdict == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.02, SUPPORTED), (1.5, REFUTED)])
def test_the_noise_of_means_is_that_of_samples_over_m(factor: float, verdict: str) -> None:
    rows = [cell("sgd", None, "tr_V", 50, 0.01)]
    rows += [cell("sgd", None, f"tr_V@{m}", factor * 50 / m, 0.001) for m in (2, 4, 8)]
    found = judged(*rows)["drift"]
    assert found.verdict == verdict
    assert "of m = 2 to 8." in found.why
    assert found.effect.mean == pytest.approx(factor, rel=1e-3)


@pytest.mark.parametrize(
    ("at", "half", "verdict"),
    [
        (0.02, 0.0799999, SUPPORTED), (0.02, 0.0800001, OPEN), (-0.02, 0.0800001, OPEN), (0.2, 0.1 / 1.23, OPEN),
        (0.2, 0.1 / 1.24, REFUTED), (-0.2, 0.1 / 1.24, REFUTED), (-0.2, 0.1 / 1.23, OPEN),
    ],
)  # fmt: skip
def test_the_law_holds_within_a_tenth_at_every_m_and_fails_where_one_widened_for_the_m_is_out(
    at: float, half: float, verdict: str
) -> None:
    """Two m: the one is exact, the other's ratio has its mean at 1 + `at`; t is 1.235 times as wide for two."""
    assert 1.23 < stats.t.ppf(1 - 0.025 / 2, 5) / stats.t.ppf(0.975, 5) < 1.24
    ones = cell("sgd", None, "tr_V", 1.0)
    exact = cell("sgd", None, "tr_V@2", 0.5)
    off = [r | {"m": None, "run": o["run"]} for r, o in
           zip(apart("tr_V@4", "sgd", by_seed(ones), at, half), ones, strict=True)]  # fmt: skip
    found = judged(ones, exact, [r | {"value": r["value"] / 4} for r in off])["drift"]
    assert found.verdict == verdict
    assert found.effect.mean == pytest.approx(1 + at)
    if verdict != REFUTED:
        tost = max(scipys(off, ones, -0.1, "greater"), scipys(off, ones, 0.1, "less"))
        out = min(scipys(off, ones, 0.1, "greater"), scipys(off, ones, -0.1, "less"))
        assert found.ruling.p == pytest.approx(min(1, 2 * tost) if verdict == SUPPORTED else min(1, 2 * tost, 4 * out))


def test_without_the_runs_that_it_takes_a_claim_is_not_tested_and_says_what_is_missing() -> None:
    found = judged(cell("sgd", None, "test_acc", 0.7))
    assert {v.verdict for v in found.values()} == {UNTESTED}
    assert all(v.why.startswith("Not tested: it takes") for v in found.values())
    assert claims.correction(list(found.values())) == "Nothing could be tested."
    assert claims.table(list(found.values()))["Effect"].eq("–").all()


def test_one_seed_tests_nothing_and_two_do() -> None:
    everything = [
        *sam("tr_H", {1: 1, 2: 2, 4: 3}), *sam("tr_V", {1: 1, 4: 3}), *sam("test_acc", {1: 0.8, 4: 0.7}),
        *cell("sgd", None, "tr_V", 4.0), *cell("sgd", None, "tr_V@2", 2.0), *cell("sgd", None, "test_acc", 0.7),
        *cell("nsam", 4, "test_acc", 0.7), *reweighted("test_acc", {0.5: 0.7}), *reweighted("tr_V", {0.5: 1.0}),
        *reweighted("tr_H", {0.5: 1.0}),
    ]  # fmt: skip
    found = judged([r for r in everything if r["seed"] == 0])
    assert {v.verdict for v in found.values()} == {UNTESTED}
    assert {v.effect.n for v in found.values()} <= {0, 1}
    assert found["tr_H"].effect.n == found["nsam"].effect.n == found["rw_flat"].effect.n == 1
    two = judged([r for r in everything if r["seed"] < 2])
    for tested in (two, judged(everything)):
        assert UNTESTED not in {v.verdict for k, v in tested.items() if k != "lam_max"}


def test_a_difference_of_one_common_seed_leaves_the_order_untested() -> None:
    sgd, plain, weighted = (
        cell("sgd", None, "tr_V", 3.0, 0.1),
        sam("tr_V", {4: 2.0}),
        reweighted("tr_V", {0.5: 1.0}, 0.1),
    )
    for few in range(3):
        cells = [[r for r in rows if i != few or r["seed"] == 0] for i, rows in enumerate((sgd, plain, weighted))]
        found = judged(*cells)["order"]
        assert (found.verdict, found.why) == (UNTESTED, "Not tested: one common seed: no interval.")
        assert found.effect.n == 1
        assert claims.interval(found) == "–"
    assert judged(sgd, plain, weighted)["order"].verdict == SUPPORTED


def test_an_m_of_one_seed_is_not_among_the_choices_for_as_accurate() -> None:
    base, weighted = sam("test_acc", {1: 0.8, 2: 0.8}, 0.0), reweighted("test_acc", {0.5: 0.797}, 0.01)
    fewer = [r for r in base if r["m"] == 1 or r["seed"] == 0]
    both, one = (judged(rows, weighted)["rw_equal"] for rows in (base, fewer))
    assert both.ruling.p == pytest.approx(2 * one.ruling.p)
    assert "m-SAM at m = 1, the m < B that it comes nearest to; widened for 1 choices" in one.why
    none = judged([r for r in base if r["seed"] == 0], weighted)["rw_equal"]
    assert none.why == "Not tested: one common seed: no interval."


@pytest.mark.parametrize(("p", "verdict"), [(0.0249, SUPPORTED), (0.0251, OPEN)])
def test_a_claim_that_falls_with_the_correction_is_inconclusive_and_named(p: float, verdict: str) -> None:
    """Two claims are tested, so that the smaller p counts twice."""
    tests = rule.decide([rule.Sides(p, 1.0), rule.Sides(0.9, 1.0)])
    found = [claims.Verdict(CLAIMS[k], r, "") for k, r in zip(("tr_H", "accuracy"), tests, strict=True)]
    assert found[0].verdict == verdict
    fallen = f"Inconclusive for the correction alone: “{CLAIMS['tr_H'].says}” (p = 0.05)" in claims.correction(found)
    assert fallen == (verdict == OPEN)
    assert claims.correction(found).startswith("2 claims are tested at once")
    assert ("No verdict falls" in claims.correction(found)) == (verdict == SUPPORTED)


def test_a_badge_and_its_p_agree_on_every_card() -> None:
    """Whatever the numbers, a decided claim has a corrected p below 5 %, and only one that is tested has a p."""
    rng = np.random.default_rng(0)
    seen = set()
    for k in range(40):
        gap = rng.choice([0.0, 0.003, 0.02])
        rows = sam("test_acc", {1: 0.8 + gap, 4: 0.8}, 0.02), sam("tr_H", {1: 2 - 50 * gap, 4: 2.0}, 0.5 + k / 10)
        more = reweighted("test_acc", {0.5: 0.8 - gap}, 0.02), cell("sgd", None, "test_acc", 0.801 - gap, 0.01)
        for v in judged(*rows, *more, cell("nsam", 4, "test_acc", 0.8 + k / 1e5, 0.02)).values():
            seen.add(v.verdict)
            assert (v.verdict in (SUPPORTED, REFUTED)) == (v.ruling.holm < 0.05)
            assert (v.verdict == UNTESTED) == np.isnan(v.ruling.p)
    assert seen == {SUPPORTED, REFUTED, OPEN, UNTESTED}


def test_what_the_verdicts_do_not_rest_on_is_counted_among_the_runs_judged() -> None:
    runs = frames.study("diverged").runs
    sgd = set(runs.loc[runs["variant"] == "sgd", "run"])
    assert claims.left_out(runs, sgd, 2) == "Left out: 1 diverged, 2 of settings that collapsed, 2 hidden by you."
    done = runs[runs["status"] == "done"]
    assert claims.left_out(done, set()) == "All 5 runs are judged; none is left out."


def test_every_claim_has_a_rule_that_names_all_three_verdicts() -> None:
    for claim in CLAIMS.values():
        assert all(word in f"{claim.rule} {rule.DECIDES}".lower() for word in (SUPPORTED, REFUTED, OPEN)), claim.key


def test_the_margins_of_the_rules_are_those_of_the_code() -> None:
    assert "± 1 percentage point" in CLAIMS["nsam"].rule
    assert "above −1 percentage point" in CLAIMS["rw_equal"].rule
    assert "1 ± 0.1" in CLAIMS["drift"].rule
    assert (claims.POINTS, claims.RATIO, rule.LEVEL) == (0.01, 0.1, 0.05)
    assert "below 0.05" in rule.DECIDES


def test_the_example_supports_what_the_log_says_and_no_more() -> None:
    study = studies.from_folder(studies.EXAMPLE)
    assert study is not None
    assert not collapse.runs(study.finals, study.runs, study.spec)
    found = {v.claim.key: v.verdict for v in verdicts.judge(study.finals, study.spec.training.batch)}
    assert {found[k] for k in ("tr_H", "lam_max", "tr_V", "accuracy", "drift")} == {SUPPORTED}
    assert {found[k] for k in ("nsam", "order", "rw_accuracy", "rw_flat", "rw_equal")} == {REFUTED}


def test_the_table_reads_well_and_the_csv_has_all_digits() -> None:
    found = list(judged(sam("test_acc", {1: 0.84, 2: 0.8, 4: 0.76}, 0.003)).values())
    row = claims.table(found).set_index("Claim").loc["Smaller m is more accurate"]
    assert row["Verdict"] == "✓ supported"
    assert row["Effect"] == "+4.0 points per halving of m"
    assert row["Interval"].endswith("points")
    numbers = claims.numbers(found).set_index("claim")
    assert numbers.loc["accuracy", "effect"] == next(v.effect.mean for v in found if v.claim.key == "accuracy")
    assert "Supported: Smaller m is more accurate" in claims.alt(found)
    of = [v.verdict for v in found]
    assert claims.headline(found) == (
        f"1 of {len(of)} claims of Luo et al. (arXiv:2509.18001) are supported by these runs; "
        f"{of.count(UNTESTED)} not tested."
    )
