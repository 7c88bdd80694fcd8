"""The experiments: their frames against plain pandas, their verdicts by the rule, their data complete."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results import claims, paper
from sam_dash.results import study as studies
from sam_dash.results.experiments import EXPERIMENTS, frames, long_tail, which_sharpness
from sam_dash.results.statistics import Mean
from sam_dash.results.study import Study
from sam_dash.runs import presets


def bundled(name: str) -> Study:
    found = studies.from_folder(EXPERIMENTS[name].data)
    assert found is not None
    return found


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_ships_the_runs_of_its_preset_and_a_finding_with_numbers(name: str) -> None:
    experiment = EXPERIMENTS[name]
    study = bundled(name)
    assert study.spec.problem == presets.get(experiment.preset).sweep.problem
    assert (study.runs["status"] == "done").all()
    frame = experiment.frame(study)
    assert frame.loc[frame["kind"] == "mean", "n"].min() >= 5
    found = experiment.judge(frame)
    assert found
    assert all(f.verdict in (claims.SUPPORTED, claims.REFUTED, claims.OPEN) and "n = " in f.why for f in found)
    assert "95 %" in experiment.caption(study, frame)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_figure_draws_every_mean_with_its_interval(name: str) -> None:
    experiment = EXPERIMENTS[name]
    frame = experiment.frame(bundled(name))
    drawn = [t for t in experiment.figure(frame).data if t.error_y.array is not None]
    means = frame[frame["kind"] == "mean"]
    assert sorted(y for t in drawn for y in t.y) == sorted(means["y"])
    assert sum(up for t in drawn for up in t.error_y.array) == pytest.approx((means["high"] - means["y"]).sum())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_on_a_telephone_its_panels_stand_one_below_the_other_and_hold_the_same(name: str) -> None:
    wide = EXPERIMENTS[name].figure(EXPERIMENTS[name].frame(bundled(name)))
    narrow = paper.stacked(wide)
    axes = [k for k in narrow.layout if k.startswith("yaxis")]
    bottoms = sorted(narrow.layout[k].domain[0] for k in axes)
    tops = sorted(narrow.layout[k].domain[1] for k in axes)
    assert all(top < bottom for top, bottom in zip(tops, bottoms[1:], strict=False))
    assert all(narrow.layout[k.replace("y", "x", 1)].domain == (0, 1) for k in axes)
    assert [list(t.y) for t in narrow.data] == [list(t.y) for t in wide.data]
    assert narrow.layout.height > wide.layout.height


def test_which_sharpness_is_the_ratio_of_the_table_with_scipys_interval() -> None:
    study = bundled("which-sharpness")
    table = pd.read_csv(EXPERIMENTS["which-sharpness"].data / "runs.csv").set_index("seed")
    sgd = table[table["variant"] == "sgd"]["lam_max"]
    ratio = np.log(table[table["variant"] == "nsam"]["lam_max"] / sgd)
    low, high = stats.t.interval(0.95, len(ratio) - 1, ratio.mean(), stats.sem(ratio))
    frame = which_sharpness.frame(study)
    at = (frame["panel"] == which_sharpness.WORST) & (frame["x"] == which_sharpness.FULL) & (frame["kind"] == "mean")
    row = frame[at].iloc[0]
    expected = (math.exp(ratio.mean()), math.exp(low), math.exp(high))
    assert (row["y"], row["low"], row["high"]) == pytest.approx(expected, rel=1e-6)


def aligned(share: float) -> pd.DataFrame:
    """n-SAM's curvature along its gradient at `share` of λ_max, SGD's at half, over four seeds."""
    noise = {s: 1 + 0.01 * s for s in range(4)}
    full, sgd, panel = which_sharpness.FULL, which_sharpness.SGD, which_sharpness.SHARE
    points = [
        frames.rows(panel, sgd, sgd, "sgd", dict.fromkeys(noise, 0.5), ratio=True),
        frames.rows(panel, full, full, "nsam", {s: share * v for s, v in noise.items()}, ratio=True),
    ]
    return frames.frame(points)


@pytest.mark.parametrize(("share", "verdict"), [(0.9, claims.SUPPORTED), (0.2, claims.REFUTED), (0.4925, claims.OPEN)])
def test_alignment_is_judged_the_other_way_round(share: float, verdict: str) -> None:
    found = which_sharpness.judge(aligned(share))
    assert [f.verdict for f in found] == [verdict]
    assert "0.5 for SGD" in found[0].why


def test_the_share_of_the_sharpest_direction_is_at_most_one_and_every_sharpness_has_its_panel() -> None:
    frame = which_sharpness.frame(bundled("which-sharpness"))
    assert list(dict.fromkeys(frame["panel"])) == [*which_sharpness.PANELS, which_sharpness.SHARE]
    share = frame[(frame["panel"] == which_sharpness.SHARE) & (frame["kind"] == "seed")]
    assert len(share) == 4 * 10
    assert share["y"].between(0, 1.001).all()


def test_the_tail_is_the_mean_of_its_classes() -> None:
    study = bundled("long-tail")
    frame = long_tail.frame(study)
    key = study.runs[(study.runs["variant"] == "sam") & (study.runs["seed"] == 0)]["run"].iloc[0]
    last = study.finals[study.finals["run"] == key].set_index("quantity")["value"]
    seeds = frames.seeds(frame, long_tail.ACCURACY, long_tail.TAIL, "SAM")
    assert seeds[0] == pytest.approx(sum(last[f"test_acc@class={c}"] for c in (7, 8, 9)) / 3)


def lowered(factor: float) -> pd.DataFrame:
    """n-SAM with a worst direction at `factor` of SGD's and an untouched trace, over four seeds."""
    noise = {s: 1 + 0.01 * s for s in range(4)}
    line = which_sharpness.FULL
    worst = {s: factor * v for s, v in noise.items()}
    return frames.frame(
        [
            frames.rows(which_sharpness.WORST, line, line, "nsam", worst, ratio=True),
            frames.rows(which_sharpness.MEAN, line, line, "nsam", noise, ratio=True),
        ]
    )


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, claims.SUPPORTED), (2.0, claims.REFUTED), (0.985, claims.OPEN)])
def test_a_verdict_follows_the_interval(factor: float, verdict: str) -> None:
    assert which_sharpness.judge(lowered(factor))[0].verdict == verdict


def test_a_study_without_the_quantities_gives_an_empty_frame_and_no_verdict() -> None:
    study = bundled("which-sharpness")
    assert long_tail.frame(study).empty
    assert long_tail.judge(long_tail.frame(study)) == []
    assert frames.points(Mean(0.01, math.nan, math.nan, 1)) == "+1.0 points, n = 1: no interval"
