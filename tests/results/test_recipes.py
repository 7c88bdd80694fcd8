"""The recipes of the seed paper: frames against plain pandas, verdicts on both sides, published numbers apart."""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from sam_dash import cli, papering
from sam_dash.results.claims import rule
from sam_dash.results.experiments import frames, published, recipe
from sam_dash.results.experiments.paper import RECIPES
from sam_dash.results.numbers import parts
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs import recipes
from sam_dash.runs.store import Store
from tests.synthetic import fill


@pytest.fixture(scope="module")
def bundled() -> dict[str, Study]:
    found = {}
    for key, of in RECIPES.items():
        each = [studies.from_folder(folder) for folder in parts.folders(of.data)]
        assert None not in each
        found[key] = parts.together([study for study in each if study])
    return found


@pytest.mark.parametrize("key", RECIPES)
def test_each_ships_ten_seeds_of_its_sweeps_and_judges_them(bundled: dict[str, Study], key: str) -> None:
    of, study = RECIPES[key], bundled[key]
    assert len(study.runs) == sum(len(sweep.runs()) for sweep in of.sweeps)
    assert of.sweeps == recipes.RECIPES[of.preset].sweeps
    frame = of.frame(study)
    assert set(frame.loc[frame["kind"] == "mean", "n"]) == {10}
    found = of.judge(frame)
    assert found
    assert all("n = 10" in f.why and f.verdict != rule.UNTESTED for f in found)
    assert "10 seeds" in of.caption(study, frame)
    assert len(of.table(frame)) == (frame["kind"] == "mean").sum()


@pytest.mark.parametrize("key", [key for key, of in RECIPES.items() if of.numbers])
def test_the_papers_own_numbers_are_drawn_apart_and_take_no_part_in_a_verdict(
    bundled: dict[str, Study], key: str
) -> None:
    of = RECIPES[key]
    frame = of.frame(bundled[key])
    theirs = frame["kind"] == "published"
    assert theirs.any()
    assert not set(frame.loc[theirs, "panel"]) & set(frame.loc[~theirs, "panel"])
    other = frame.assign(y=frame["y"].where(~theirs, 17.0))
    assert of.judge(other) == of.judge(frame)
    hollow = [t for t in of.figure(frame).data if "as published" in (t.hovertemplate or "")]
    assert all(t.marker.symbol.endswith("-open") and t.error_y.array is None for t in hollow)
    assert sum(len(t.y) for t in hollow) == theirs.sum() == 2 * len(of.said())


def test_published_differences_are_those_of_the_published_values(bundled: dict[str, Study]) -> None:
    frame = RECIPES["paper-noise"].frame(bundled["paper-noise"])
    at = (frame["kind"] == "published") & (frame["x"] == "80 % label noise")
    assert dict(zip(frame.loc[at, "line"], frame.loc[at, "y"], strict=True)) == {
        "SGD": pytest.approx(0.0884), "RW-SAM": pytest.approx(0.1548),
    }  # fmt: skip
    ratios = RECIPES["paper-trace"].frame(bundled["paper-trace"])
    theirs = ratios[ratios["kind"] == "published"].set_index("line")["y"]
    assert theirs["RW-SAM"] == pytest.approx(177.79 / 198.40)
    assert all({n.method for n in published.of(t)} == {"sgd", "sam", "rwsam"} for t in (1, 2, 4, 6))


def test_differences_are_paired_by_seed_and_those_of_equal_gradients_train_six_sevenths(
    bundled: dict[str, Study],
) -> None:
    of = RECIPES["paper-noise"]
    tables = {}
    for folder in parts.folders(of.data):
        spec = json.loads((folder / "config.json").read_text())
        tables[spec["problem"]["label_noise"], spec["training"]["epochs"]] = pd.read_csv(folder / "runs.csv").set_index(
            "seed"
        )
    assert {epochs for _, epochs in tables} == {43, 50}
    frame = of.frame(bundled["paper-noise"])
    for share in recipes.NOISE:
        long, short = tables[share, 50], tables[share, 43]
        sam = long[long["variant"] == "sam"]["test_acc"]
        for line, other in (("RW-SAM", long[long["variant"] == "rwsam"]), (recipe.PRICED, short)):
            d = other["test_acc"] - sam
            low, _ = stats.t.interval(0.95, 9, d.mean(), stats.sem(d))
            at = (frame["panel"] == recipe.LESS) & (frame["line"] == line) & (frame["kind"] == "mean")
            row = frame[at & (frame["x"] == f"{100 * share:g} % label noise")].iloc[0]
            assert (row["y"], row["low"]) == (pytest.approx(d.mean()), pytest.approx(low))


NOISE = {s: 0.001 * (s - 1.5) for s in range(4)}


@pytest.mark.parametrize(("d", "verdict"), [(0.01, rule.SUPPORTED), (-0.01, rule.REFUTED), (0.0, rule.OPEN)])
def test_a_method_is_better_on_one_side_of_nought_and_sgd_the_other_way_round(d: float, verdict: str) -> None:
    points = [frames.rows(recipe.LESS, "x", "RW-SAM", "rwsam", {s: d + e for s, e in NOISE.items()})]
    assert [f.verdict for f in recipe.judge_methods(frames.frame(points), False)] == [verdict]
    points = [frames.rows(recipe.LESS, "x", "SGD", "sgd", {s: e - d for s, e in NOISE.items()})]
    (found,) = recipe.judge_methods(frames.frame(points), False)
    assert (found.verdict, found.says.startswith("SAM has a higher")) == (verdict, True)


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, rule.SUPPORTED), (1.1, rule.REFUTED), (1.0, rule.OPEN)])
def test_a_trace_is_smaller_where_its_ratio_is_below_one_and_sams_where_sgds_is_above(
    ratio: float, verdict: str
) -> None:
    points = [frames.rows(recipe.OVER, "x", "RW-SAM", "rwsam", {s: ratio * (1 + e) for s, e in NOISE.items()}, True)]
    (found,) = recipe.judge_methods(frames.frame(points), True)
    assert (found.verdict, found.says) == (verdict, "RW-SAM has a smaller tr(V) than SAM, x")
    points = [frames.rows(recipe.OVER, "x", "SGD", "sgd", {s: (1 + e) / ratio for s, e in NOISE.items()}, True)]
    assert [f.verdict for f in recipe.judge_methods(frames.frame(points), True)] == [verdict]


@pytest.mark.parametrize(
    ("apart", "spread", "verdict"),
    [(0.005, 1, rule.SUPPORTED), (-0.005, 1, rule.SUPPORTED), (0.02, 1, rule.REFUTED), (0.009, 5, rule.OPEN)],
)
def test_lambda_does_not_matter_where_all_are_within_a_point(apart: float, spread: float, verdict: str) -> None:
    def row(x: str, line: str, y: float, by: float = 0.0) -> list[dict[str, object]]:
        return frames.rows(recipe.HERE, x, line, "rwsam", {s: y + by * e for s, e in NOISE.items()})

    points = [row("λ = 0.5", "RW-SAM", 0.8), row("λ = 1", "RW-SAM", 0.8 + apart, spread), row("m = 64", "m-SAM", 0.7)]
    first, second = recipe.judge_strengths(frames.frame(points))
    assert first.verdict == verdict
    assert (second.verdict, second.says) == (rule.SUPPORTED, "RW-SAM at its best λ is as accurate as SAM at m = 64")
    far = [*points[:2], row("m = 1", "m-SAM", 0.9)]
    assert recipe.judge_strengths(frames.frame(far))[1].verdict == rule.REFUTED


@pytest.mark.parametrize("sign", [1, -1])
def test_escape_is_faster_where_accuracy_rises_and_the_trace_falls_as_m_is_halved(sign: int) -> None:
    points = [
        frames.rows(
            panel, f"m = {m}", "m-SAM", "rwsam", {s: turn * sign * 0.02 * math.log2(m) + e for s, e in NOISE.items()}
        )
        for panel, turn in zip(recipe.QUANTITIES, (-1, 1), strict=True)
        for m in (64, 16, 4)
    ]
    found = recipe.judge_slopes(frames.frame(points))
    assert [f.verdict for f in found] == [rule.SUPPORTED if sign > 0 else rule.REFUTED] * 2
    assert f"{'+' if sign > 0 else '−'}2.0 points" in found[0].why


def test_a_study_of_something_else_gives_an_empty_frame(bundled: dict[str, Study]) -> None:
    study = bundled["paper-noise"]
    for key in ("paper-trace", "paper-lambda"):
        bare = replace(study, finals=study.finals[study.finals["quantity"] == "train_loss"])
        assert RECIPES[key].frame(bare).empty
        assert RECIPES[key].judge(RECIPES[key].frame(bare)) == []


def test_the_report_has_every_claim_verdict_and_published_number(bundled: dict[str, Study]) -> None:
    found = [(of, bundled[key]) for key, of in RECIPES.items()]
    text = "\n".join(line for each in found for line in papering.report(*each))
    page = papering.html(found)
    for of, study in found:
        for f in of.judge(of.frame(study)):
            assert f"- **{f.says}: {f.verdict}.**" in text
        for n in of.numbers:
            assert f"{n.value:.2f}" in text
            assert f"{n.value:.2f}" in page
    assert page.count('class="plotly-graph-div"') == len(RECIPES)
    assert page.count("re-run</title>") == 1


def test_the_command_judges_what_the_store_has_and_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "store.db")
    with closing(Store(url)) as store:
        for sweep in RECIPES["paper-escape"].sweeps:
            fill(store, sweep)
    monkeypatch.setattr(papering.headless, "work", lambda *_: pytest.fail("everything was there"))
    out = tmp_path / "report.html"
    assert cli.main(["paper", "--only", "paper-escape", "--store", url, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "## Figures 1, 2: escape" in said.out
    assert "Smaller m has a smaller tr(V) then: supported" in said.out
    assert "0 of 50 runs to do" in said.err
    assert "plotly-graph-div" in out.read_text()


def test_the_papers_scale_is_said_and_not_run(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(papering, "Store", lambda *_: pytest.fail("no store is asked for"))
    assert cli.main(["paper", "--scale", "paper"]) == 0
    said = capsys.readouterr().out
    assert all(r.at_scale in said for r in RECIPES.values())
    assert "which is not run" in said
