"""Verdicts on made-up numbers, rule by rule, and on the example that ships with the project."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.claims import claim as claims
from sam_dash.results.claims import verdicts
from sam_dash.results.claims.claim import CLAIMS, OPEN, REFUTED, SUPPORTED
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
    assert (found.verdict, found.n) == (verdict, 6)


def test_the_slope_and_its_interval_are_the_t_interval_over_seeds() -> None:
    found = judged(rows := sam("tr_H", {1: 1.0, 2: 2.0, 4: 3.5}, 0.3))["tr_H"]
    wide = pd.DataFrame(rows).pivot(index="seed", columns="m", values="value")
    slopes = (wide[4] - wide[1]) / 2
    half = stats.t.ppf(0.975, 5) * slopes.std(ddof=1) / np.sqrt(6)
    assert found.effect == pytest.approx(slopes.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((slopes.mean() - half, slopes.mean() + half), rel=1e-12)
    assert found.p == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue, rel=1e-9)


def test_accuracy_that_is_best_before_the_smallest_m_is_said_not_to_be_monotone() -> None:
    found = judged(sam("test_acc", {1: 0.84, 2: 0.86, 4: 0.76}, 0.001))["accuracy"]
    assert found.verdict == SUPPORTED
    assert "not monotone: the mean is best at m = 2, not at m = 1" in found.why


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
    assert one.effect == pytest.approx(three.effect)
    assert three.high - three.low > one.high - one.low
    assert three.p == pytest.approx(3 * one.p)
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
    assert found.verdict == OPEN
    assert found.why.startswith("Not tested")


@pytest.mark.parametrize(("y", "verdict"), [(0.801, SUPPORTED), (0.7, REFUTED), (0.9, SUPPORTED)])
def test_rw_sam_as_accurate_as_a_small_m(y: float, verdict: str) -> None:
    rows = sam("test_acc", {1: 0.84, 2: 0.8, 4: 0.76}, 0.001), reweighted("test_acc", {0.5: y}, 0.001)
    assert judged(*rows)["rw_equal"].verdict == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.02, SUPPORTED), (1.5, REFUTED)])
def test_the_noise_of_means_is_that_of_samples_over_m(factor: float, verdict: str) -> None:
    rows = [cell("sgd", None, "tr_V", 50, 0.01)]
    rows += [cell("sgd", None, f"tr_V@{m}", factor * 50 / m, 0.001) for m in (2, 4)]
    found = judged(*rows)["drift"]
    assert found.verdict == verdict
    assert found.effect == pytest.approx(factor, rel=1e-3)


def test_without_the_runs_that_it_takes_a_claim_is_inconclusive_and_says_what_is_missing() -> None:
    found = judged(cell("sgd", None, "test_acc", 0.7))
    assert {v.verdict for v in found.values()} == {OPEN}
    assert all(v.why.startswith("Not tested: it takes") for v in found.values())


def test_one_seed_decides_nothing() -> None:
    rows = [r for r in sam("tr_H", {1: 1, 2: 2, 4: 3}) if r["seed"] == 0]
    found = judged(rows)["tr_H"]
    assert (found.verdict, found.n) == (OPEN, 1)


def test_holm_is_the_step_down_procedure() -> None:
    assert verdicts.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_a_verdict_that_falls_with_the_correction_is_named() -> None:
    verdict = claims.Verdict(CLAIMS["tr_H"], SUPPORTED, "", 5, 1.0, 0.1, 1.9, "tr_H", 0.03, 0.2)
    assert f"no longer stand at 5 %: {CLAIMS['tr_H'].says}" in claims.correction([verdict])


def test_what_the_verdicts_do_not_rest_on_is_counted_among_the_runs_judged() -> None:
    runs = frames.study("diverged").runs
    sgd = set(runs.loc[runs["variant"] == "sgd", "run"])
    assert claims.left_out(runs, sgd, 2) == "Left out: 1 diverged, 2 of settings that collapsed, 2 hidden by you."
    done = runs[runs["status"] == "done"]
    assert claims.left_out(done, set()) == "All 5 runs are judged; none is left out."


def test_every_claim_has_a_rule_that_names_all_three_verdicts() -> None:
    for claim in CLAIMS.values():
        assert all(word in claim.rule.lower() for word in (SUPPORTED, REFUTED, OPEN)), claim.key


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
    assert row["Effect"] == "−4.0 points"
    assert row["Interval"].endswith("points")
    numbers = claims.numbers(found).set_index("claim")
    assert numbers.loc["accuracy", "effect"] == next(v.effect for v in found if v.claim.key == "accuracy")
    assert "Supported: Smaller m is more accurate" in claims.alt(found)
