"""The sentences under a figure: what they must not leave out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from sam_dash.results import words
from sam_dash.results.drawing import cells, sentences
from sam_dash.results.numbers import statistics, tables, trend
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import sharpness
from sam_dash.results.views.view import Selection


@pytest.fixture(scope="module")
def example() -> Study:
    found = studies.from_folder(studies.EXAMPLE)
    assert found is not None
    return found


def over_m(study: Study) -> dict[str, str]:
    finals, runs = tables.without_swept(study.finals, study.runs, "lam")
    quantities = ("tr_H", "test_acc")
    found = sentences.findings(tables.summary(finals, runs, quantities), "m", cells.of(study))
    return dict(zip(quantities, found, strict=True))


def by_seed(study: Study, variant: str, m: float | None, quantity: str = "test_acc") -> dict[int, float]:
    of = study.finals[(study.finals["variant"] == variant) & (study.finals["quantity"] == quantity)]
    of = of if m is None else of[of["m"] == m]
    return dict(zip(of["seed"], of["value"], strict=True))


def test_a_best_that_is_at_neither_end_is_said_with_its_interval_against_the_nearer_end(example: Study) -> None:
    told = over_m(example)
    d = statistics.paired(by_seed(example, "sam", 2), by_seed(example, "sam", 1))
    low, high = (f"{100 * end:.1f}".replace("-", "\N{MINUS SIGN}") for end in (d.low, d.high))
    tie = "" if d.excludes(0) else ", a tie with"
    assert f"Highest at m = 2, 86.0 %: {100 * d.mean:.1f} points [{low}, {high}] above{tie} m = 1." in told["test_acc"]
    assert "est at" not in told["tr_H"], "monotone in the mean"


def test_every_horizontal_line_is_compared_with_the_start_of_the_axis(example: Study) -> None:
    told = over_m(example)
    for variant, title in (("sgd", "SGD"), ("nsam", "n-SAM")):
        d = statistics.paired(by_seed(example, variant, None), by_seed(example, "sam", 64))
        assert d.high < 0
        ends = f"{-100 * d.mean:.1f} points [{-100 * d.high:.1f}, {-100 * d.low:.1f}] below m = 64 (SAM)"
        assert (
            f"{title} {100 * statistics.mean(by_seed(example, variant, None).values()).mean:.1f} %, {ends}"
            in (told["test_acc"])
        )
        assert f"{title} " in told["tr_H"]


def test_where_nothing_beats_lambda_0_that_is_the_first_sentence(example: Study) -> None:
    finals, runs = (tables.at_full_batch(f, 64) for f in (example.finals, example.runs))
    frame = tables.summary(finals, runs, words.RW_SAM)
    first = sentences.findings(frame, "lam", cells.of(example))[0]
    assert first.startswith("Here λ = 0, which is SAM, is best in each of tr(H), λ_max, tr(V) and Test accuracy")
    better = frame["variant"].eq("rwsam") & frame["lam"].eq(0.5) & frame["quantity"].eq("test_acc")
    frame.loc[better, "y"] += 0.2
    found = sentences.findings(frame, "lam", cells.of(example))
    assert not any(line.startswith("Here") for line in found)
    assert any("Highest at λ = 0.5, 92.4 %" in line for line in found)


def headline(study: Study, x: str, change: float = 0.0, at: float = 2) -> str:
    """Of the digits preset, with `change` added to the accuracies at one place of the axis."""
    finals, runs = (
        tables.without_swept(study.finals, study.runs, "lam")
        if x == "m" else (tables.at_full_batch(f, 64) for f in (study.finals, study.runs))
    )  # fmt: skip
    value = finals["value"].where((finals[x] != at) | (finals["quantity"] != "test_acc"), finals["value"] + change)
    frame = tables.summary(finals.assign(value=value), runs, ("tr_H", "test_acc"))
    return sentences.headline(frame, x, cells.of(study))


def test_the_headline_is_the_trend_and_the_best_place_with_the_interval_of_a_best_of_six(example: Study) -> None:
    d = statistics.paired(by_seed(example, "sam", 2), by_seed(example, "sam", 64))
    half = stats.t.ppf(1 - 0.05 / 6 / 2, d.n - 1) * d.se
    assert headline(example, "m") == (
        "At ρ = 0.1: tr(H) falls from 71.7 at m = 64 (SAM) to 23.4 at m = 1; test accuracy is best at m = 2, 86.0 %: "
        f"{100 * d.mean:.1f} points [{100 * (d.mean - half):.1f}, {100 * (d.mean + half):.1f}] above m = 64 (SAM)."
    )


def test_a_best_whose_interval_holds_0_is_a_tie_and_one_that_just_does_not_is_none(example: Study) -> None:
    near = example.finals[~((example.finals["variant"] == "sam") & ~example.finals["m"].isin([2, 64]))]
    of = replace(example, finals=near)  # one rival: an interval of 95 %
    d = statistics.paired(by_seed(example, "sam", 2), by_seed(example, "sam", 64))
    assert "test accuracy is best at m = 2" in headline(of, "m", -0.98 * d.low)
    assert "beyond the error: the best, m = 2, ties" in headline(of, "m", -1.02 * d.low)


def test_the_start_of_the_axis_may_be_best_and_one_seed_has_no_interval(example: Study) -> None:
    assert headline(example, "m", 0.3, 64).endswith(
        "test accuracy is best at m = 64 (SAM), 106.1 %: no smaller m does better in the mean."
    )
    assert "here λ = 0, which is SAM, has the best test accuracy, 76.1 %: no larger λ does" in headline(example, "lam")
    one = replace(example, finals=example.finals[example.finals["seed"] == 0])
    assert headline(one, "m").count("(one seed: no interval)") == 2


def test_what_is_ringed_is_the_best_mean_of_each_score(example: Study) -> None:
    at = Selection(example, example.finals, example.runs, lambda *_: example.finals[:0])
    frame = sharpness.VIEW.frame(at)
    best = frame[frame["best"]]
    means = frame[(frame["quantity"] == "test_acc") & (frame["kind"] == "mean") & (frame["variant"] == "sam")]
    assert list(best["m"]) == [means.loc[means["y"].idxmax(), "m"]] == [2]
    rings = [t for t in sharpness.VIEW.figure(frame, at, 6).data if t.marker.symbol == "circle-open"]
    assert [(list(t.x), list(t.y)) for t in rings] == [([2], list(best["y"]))]
    other = at.but(against={"variant": "sgd"}, name="SGD")
    assert "best" not in sharpness.VIEW.frame(other)


def test_the_trend_table_says_in_how_many_seeds_every_step_goes_one_way(example: Study) -> None:
    table = trend.table(trend.trends(example.finals, ("test_acc", "tr_V"))).set_index("Quantity")
    assert table.loc["tr(V)", "Of these monotone"] == 10
    accuracy = tables.over_m(example.finals, ("test_acc",))["test_acc", "sam"]
    steps = [[row[m] for m in sorted(row)] for row in accuracy.values()]
    monotone = sum(y == sorted(y) or y == sorted(y)[::-1] for y in steps)
    assert table.loc["Test accuracy", "Of these monotone"] == monotone == 3
    assert table.loc["Test accuracy", "p (Page, two-sided)"] < 0.001
