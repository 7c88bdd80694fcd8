"""The law of tr(V) over m, noise scales, tail indices, on rows made by hand, each rule on both sides of its edge."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.drawing import cells
from sam_dash.results.numbers import tables
from sam_dash.results.views import noise_law

BATCH = 8


def rows(variant: str, m: float | None, values: dict[str, list[float]], **known: Any) -> list[dict[str, Any]]:
    """A row a quantity and seed."""
    knobs = {name: None for name in tables.knob_names()}
    plain = {"variant": variant, "m": m, **knobs, "stderr": 0.0, "budget": 100}
    return [
        plain | {"run": f"{variant} {m} {s}", "seed": s, "quantity": q, "value": v} | known
        for q, by_seed in values.items() for s, v in enumerate(by_seed)
    ]  # fmt: skip


def looks(frame: pd.DataFrame) -> cells.Looks:
    return cells.Looks(frame, BATCH)


def test_sgd_and_the_two_ends_of_sam_are_shown_where_nothing_is_chosen() -> None:
    finals = pd.DataFrame(
        [r for m in (1, 2, 8) for r in rows("sam", m, {"tr_V": [1.0]})]
        + rows("sgd", None, {"tr_V": [1.0]}) + rows("usam", 16, {"tr_V": [1.0]})
    )  # fmt: skip
    assert list(noise_law.plain(finals)["run"]) == ["sam 1 0", "sam 8 0", "sgd None 0"]
    at = SimpleNamespace(options={}, kept=finals, look=looks(finals))
    assert list(noise_law.chosen(at)["run"]) == ["sam 1 0", "sam 8 0", "sgd None 0"]  # type: ignore[arg-type]
    at.options["settings"] = ["SAM, m = 2", "SGD"]
    assert list(noise_law.chosen(at)["run"]) == ["sam 2 0", "sgd None 0"]  # type: ignore[arg-type]


def test_the_ratio_is_paired_by_run_and_the_laws_are_of_the_mean_over_runs() -> None:
    finals = pd.DataFrame(rows("sgd", None, {"tr_V": [10.0, 20.0], "tr_V@4": [3.0, 4.0], "tr_H": [5.0, 5.0]}))
    more = pd.DataFrame(rows("sam", 8, {"tr_V@4": [3.0]}))  # without tr(V)
    frame = noise_law.frame(pd.concat([finals, more]), looks(pd.concat([finals, more])))
    assert set(frame["variant"]) == {"sgd"}
    seeds = frame[frame["kind"] == "seed"]
    assert set(seeds["panel"]) == {"ratio"}
    assert {(r["x"], r["seed"]): r["y"] for r in tables.records(seeds)} == pytest.approx(
        {(1.0, 0): 1.0, (1.0, 1): 1.0, (4.0, 0): 1.2, (4.0, 1): 0.8}
    )
    means = frame[frame["kind"] == "mean"].set_index(["panel", "x"])
    assert dict(means["y"]) == pytest.approx(
        {("law", 1.0): 15.0, ("law", 4.0): 3.5, ("ratio", 1.0): 1.0, ("ratio", 4.0): 1.0}
    )
    low, high = stats.t.interval(0.95, 1, loc=3.5, scale=stats.sem([3, 4]))
    assert tuple(means.loc[("law", 4.0), ["low", "high"]]) == pytest.approx((low, high))
    laws = frame[frame["kind"] == "reference"].set_index(["line", "x"])["y"]
    assert dict(laws) == pytest.approx(
        {(noise_law.LAW, 1.0): 15, (noise_law.LAW, 4.0): 15 / 4, (noise_law.FACTOR, 1.0): 15 * 7 / 8,
         (noise_law.FACTOR, 4.0): 15 / 4 / 2}
    )  # fmt: skip


def ratios(*points: tuple[float, float, float, int]) -> pd.DataFrame:
    """One line's ratios to the law: m, the ends of the interval, seeds."""
    return pd.DataFrame(
        [{"panel": "ratio", "kind": "mean", "line": "SGD", "x": x, "y": (a + b) / 2, "low": a, "high": b, "n": n}
         for x, a, b, n in points]
    )  # fmt: skip


def judged(*points: tuple[float, float, float, int]) -> list[str]:
    """What is found of them."""
    return noise_law.findings(ratios(*points))


def test_the_headline_says_what_room_agreement_leaves_or_how_many_miss_and_by_how_much() -> None:
    fine = (2, 0.95, 1.2, 3), (4, 0.9, 1.1, 3)
    assert noise_law.headline(ratios((1, 0.1, 0.2, 3), *fine)) == (
        "Gradient noise follows tr(V)/m as far as can be seen, at all of 2 settings and sizes: their 95 % intervals "
        "leave room for −10.0 to +20.0 %, no more."
    )
    told = noise_law.headline(ratios(*fine, (8, 1.3, 1.5, 3), (16, 0.7, 0.9, 3)))
    assert told.startswith("2 of 4 intervals miss tr(V)/m, where one in 20 would by chance")
    assert told.endswith("farthest off is SGD at m = 8, 1.400 times the law.")
    assert noise_law.headline(ratios((2, math.nan, math.nan, 1))) == ""


@pytest.mark.parametrize(
    ("low", "high", "off"),
    [(1.0, 1.2, False), (1.001, 1.2, True), (0.8, 1.0, False), (0.8, 0.999, True), (1.3, 1.4, True)],
)
def test_a_size_is_off_the_law_where_its_interval_leaves_out_1(low: float, high: float, off: bool) -> None:
    (told,) = judged((1, 0.5, 0.6, 3), (2, low, high, 3), (4, 0.9, 1.1, 2))
    assert (f"is off tr(V)/m at m = 2 ({(low + high) / 2:.4g}" in told) == off
    assert ("no deviation from tr(V)/m is seen at any of 2 sizes" in told) != off
    assert "(n = 2)" in told or off


def test_a_size_of_one_seed_is_not_judged_and_m_1_is_no_size() -> None:
    assert judged((2, math.nan, math.nan, 1)) == ["SGD: one seed, so the 1/m law cannot be judged."]
    assert "any of 1 sizes" in judged((2, 0.9, 1.1, 2), (4, math.nan, math.nan, 1))[0]
    assert judged((1, 0.9, 1.1, 3))[0].startswith("tr(V) was measured at m = 1 alone")


def test_the_room_that_is_left_is_that_of_all_sizes_in_per_cent() -> None:
    (told,) = judged((2, 0.95, 1.2, 3), (4, 0.9, 1.1, 3))
    assert "leave room for −10.0 to +20.0 %, no more" in told


def scales(signals: list[float], variant: str = "sgd", m: float | None = None) -> pd.DataFrame:
    return noise_law.scales(
        pd.DataFrame(
            rows(variant, m, {"tr_V": [12.0] * len(signals), "grad_sq": signals}) + rows("usam", 8, {"tr_V": [1.0]})
        )
    )


def test_the_noise_scale_of_a_signal_of_0_or_less_is_not_a_number() -> None:
    found = scales([0.4, 0.0, -0.12, -0.13])  # the training set's own is larger by 12 / 100
    assert list(found["g_sq"]) == pytest.approx([0.52, 0.12, 0.0, -0.01])
    assert list(found["unbiased"]) == pytest.approx([30.0, math.nan, math.nan, math.nan], nan_ok=True)
    assert list(found["on_training_set"])[:2] == pytest.approx([12 / 0.52, 100.0])
    assert math.isnan(found["on_training_set"][3])
    exact = noise_law.scales(pd.DataFrame(rows("sgd", None, {"tr_V": [0.5], "grad_sq": [-0.5]}, budget=1)))
    assert list(exact["g_sq"]) == [0.0]
    assert math.isnan(exact["on_training_set"][0])


def test_the_table_of_scales_has_the_mean_of_those_there_are_and_counts_the_rest() -> None:
    found = scales([0.4, 0.6, -0.1])
    (row,) = tables.records(noise_law.scale_table(found, looks(found)))
    low, high = stats.t.interval(0.95, 1, loc=25, scale=stats.sem([30, 20]))
    assert (row["Seeds"], row["Seeds with ‖G‖² ≤ 0"]) == (3, 1)
    name = "tr(V)/‖G‖², unbiased"
    assert [row[name], row[f"{name}, 95 % low"], row[f"{name}, 95 % high"]] == pytest.approx([25, low, high])
    assert row["tr(V)/‖∇f‖²"] == pytest.approx(np.mean([12 / 0.52, 12 / 0.72, 12 / 0.02]))


@pytest.mark.parametrize(
    ("signals", "said"), [([-0.1, -0.101], True), ([-0.1, 0.05], False), ([-0.1], False), ([0.1, 0.101], False)]
)
def test_a_squared_norm_below_0_by_its_interval_is_said(signals: list[float], said: bool) -> None:
    found = scales(signals)
    assert bool(noise_law.scale_findings(found, looks(found))) == said


@pytest.mark.parametrize(
    ("below", "names"), [(2, "SAM, m = 1 (−0.101) and SAM, m = 2 (−0.101)"), (4, "4 of 5 settings")]
)
def test_up_to_three_settings_are_named_and_more_are_counted(below: int, names: str) -> None:
    parts = [scales([-0.1, -0.1 - 0.002], "sam", m) for m in (1, 2, 4, 8)[:below]]
    found = pd.concat([*parts, scales([1.0, 1.1])], ignore_index=True)
    (told,) = noise_law.scale_findings(found, looks(found))
    assert told.startswith(f"‖G‖² is below 0 for {names}, by 101 standard errors over seeds.")
    three = pd.concat(parts[:1] + [scales([-0.2, -0.22], "sam", m) for m in (2, 4)], ignore_index=True)
    (told,) = noise_law.scale_findings(three, looks(three))
    assert "SAM, m = 1 (−0.101); SAM, m = 2 (−0.21); and SAM, m = 4 (−0.21), by 21 to 101 standard errors" in told


def test_a_tail_index_is_the_mean_over_seeds_beside_the_error_of_one_run() -> None:
    finals = pd.DataFrame(rows("sgd", None, {"tail": [2.0, 3.0], "tr_V": [9.0, 9.0]}))
    finals.loc[finals["quantity"] == "tail", "stderr"] = [0.3, 0.4]
    (row,) = tables.records(noise_law.tail_table(finals, looks(finals)))
    low, high = stats.t.interval(0.95, 1, loc=2.5, scale=0.5)
    assert (row["Setting"], row["Seeds"]) == ("SGD", 2)
    assert [row["Tail index α"], row["95 % low"], row["95 % high"]] == pytest.approx([2.5, low, high])
    assert row["Standard error of one run"] == pytest.approx(math.sqrt((0.09 + 0.16) / 2))
