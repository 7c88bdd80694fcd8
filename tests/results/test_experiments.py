"""The experiments: their frames against plain pandas, their verdicts by the rule, their data complete."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

from sam_dash.maths import tail
from sam_dash.results.claims import rule as claims
from sam_dash.results.experiments import (
    EXPERIMENTS,
    dots,
    fine_tuning,
    frames,
    heavy_tails,
    long_tail,
    reweighting,
    which_sharpness,
)  # fmt: skip
from sam_dash.results.numbers import parts
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.statistics import Mean
from sam_dash.results.numbers.study import Study
from sam_dash.runs import presets


def bundled(name: str) -> Study:
    found = [studies.from_folder(folder) for folder in parts.folders(EXPERIMENTS[name].data)]
    assert None not in found
    return parts.together([study for study in found if study])


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
    seeds = frames.seeds(
        frame, long_tail.ACCURACY, long_tail.TAIL, frame.loc[frame["variant"] == "sam", "line"].iloc[0]
    )
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


def test_the_dotted_line_is_hills_index_of_many_gaussians() -> None:
    z = np.sort(np.abs(np.random.default_rng(0).standard_normal(4_000_000)))[::-1]
    k = round(heavy_tails.TOP * len(z))
    assert heavy_tails.gaussian() == pytest.approx(1 / np.log(z[:k] / z[k]).mean(), rel=0.01)
    assert heavy_tails.TOP == tail.TOP


def test_heavy_tails_are_those_of_the_tables_of_all_parts() -> None:
    experiment = EXPERIMENTS["heavy-tails"]
    tables = []
    for folder in parts.folders(experiment.data):
        setting = json.loads((folder / "config.json").read_text())["training"]
        runs = pd.read_csv(folder / "runs.csv", dtype={"run": str})[["run", "variant", "m", "seed"]]
        curves = pd.read_csv(folder / "curves.csv.gz", dtype={"run": str})
        found = curves[curves["quantity"] == "w_tail"].merge(runs, on="run")
        tables.append(found.assign(lr=setting["lr"], batch=setting["batch"]))
    table = pd.concat(tables)
    frame = experiment.frame(bundled("heavy-tails"))
    cell = table[(table["lr"] == 0.4) & (table["batch"] == 16) & (table["variant"] == "sam") & (table["m"] == 16)]
    expected = dict(zip(cell["seed"], cell["value"], strict=True))
    assert len(expected) == 5
    for panel, x in (("Learning rate, at B = 16", "0.4"), ("Batch size, at lr = 0.4", "16")):
        assert frames.seeds(frame, panel, x, "SAM") == pytest.approx(expected)
    assert len(presets.get("heavy-tails").sweeps) == len(tables)


def indices(slope: float, at: float = 4.0, panel: str = "Learning rate, at B = 16") -> pd.DataFrame:
    """SGD with an index that changes by `slope` per doubling from `at`, over four seeds."""
    rows = [
        frames.rows(panel, f"{x:g}", "SGD", "sgd", {s: at + slope * np.log2(x / 0.1) + 0.01 * s for s in range(4)})
        for x in (0.1, 0.2, 0.4)
    ]
    return frames.frame(rows)


@pytest.mark.parametrize(
    ("slope", "at", "panel", "verdict"),
    [
        (-0.5, 4.0, "Learning rate, at B = 16", claims.SUPPORTED),
        (0.5, 4.0, "Learning rate, at B = 16", claims.REFUTED),
        (0.5, 4.0, "Batch size, at lr = 0.4", claims.SUPPORTED),
        (-0.5, 4.0, "Batch size, at lr = 0.4", claims.REFUTED),
        (0.0, 4.0, "Batch size, at lr = 0.4", claims.OPEN),
        (-0.5, 9.0, "Learning rate, at B = 16", claims.OPEN),  # all lighter than a Gaussian: nothing is seen
    ],
)
def test_a_trend_of_the_index_is_judged_where_a_tail_is_seen(slope: float, at: float, panel: str, verdict: str) -> None:
    (found,) = heavy_tails.judge(indices(slope, at, panel))
    assert found.verdict == verdict
    assert ("no tail is seen" in found.why) == (at == 9.0)


def test_the_caption_counts_runs_that_drift_where_that_is_known() -> None:
    study = bundled("heavy-tails")
    experiment, frame = EXPERIMENTS["heavy-tails"], heavy_tails.frame(study)
    unknown = study.finals.assign(converged=np.nan)
    assert "drifted" not in experiment.caption(replace(study, finals=unknown), frame)
    tails = study.finals["quantity"] == "w_tail"
    known = study.finals.assign(converged=np.where(study.finals["run"] == study.finals["run"].iloc[0], 0, 1))
    assert f"In 1 of {tails.sum()} runs" in experiment.caption(replace(study, finals=known), frame)


def test_a_single_setting_has_no_trend() -> None:
    study = bundled("heavy-tails")
    one = study.finals[(study.finals["lr"] == 0.1) & (study.finals["batch"] == 16)]
    assert heavy_tails.frame(replace(study, finals=one)).empty


def test_fine_tuning_is_the_accuracy_of_the_table_at_twice_the_active_share() -> None:
    experiment = EXPERIMENTS["fine-tuning"]
    table = pd.read_csv(experiment.data / "runs.csv", dtype={"run": str})
    curves = pd.read_csv(experiment.data / "curves.csv.gz", dtype={"run": str})
    half = table[(table["variant"] == "slsam") & (table["keep"] == 0.5)]
    frame = experiment.frame(bundled("fine-tuning"))
    row = frame[(frame["line"] == "SL-SAM, s_P = 0.5") & (frame["kind"] == "mean")].iloc[0]
    assert row["y"] == pytest.approx(half["test_acc"].mean())
    active = curves[(curves["quantity"] == "active") & curves["run"].isin(half["run"])]
    assert row["x"] == pytest.approx(2 * active.groupby("run")["value"].mean().mean())
    assert set(frame.loc[frame["variant"].isin(["sgd", "sam"]), "x"]) == {1.0, 2.0}


def tuned(less: float, spread: float) -> pd.DataFrame:
    """SL-SAM that much less accurate than SAM, with differences that spread over four seeds."""
    sam = {s: 0.9 + 0.01 * s for s in range(4)}
    slsam = {s: y - less + spread * (s - 1.5) for s, y in sam.items()}
    sgd = {s: y - 0.1 for s, y in sam.items()}
    points = [(1.0, "SGD", "sgd", sgd), (2.0, "SAM", "sam", sam), (0.5, "SL-SAM", "slsam", slsam)]
    return frames.frame(frames.rows(fine_tuning.PANEL, x, line, variant, y) for x, line, variant, y in points)


@pytest.mark.parametrize(
    ("less", "spread", "verdict"),
    [
        (0.0, 0.001, claims.SUPPORTED), (0.005, 0.001, claims.SUPPORTED), (-0.05, 0.001, claims.SUPPORTED),
        (0.05, 0.001, claims.REFUTED), (0.0, 0.02, claims.OPEN), (0.008, 0.002, claims.REFUTED),
    ],
)  # fmt: skip
def test_accuracy_is_kept_if_at_most_a_point_can_be_lost(less: float, spread: float, verdict: str) -> None:
    better, kept, than_sgd = fine_tuning.judge(tuned(less, spread))
    assert kept.verdict == verdict
    assert "with 25 % of its layer gradients" in kept.says
    assert (better.verdict, than_sgd.verdict) == (claims.SUPPORTED, claims.SUPPORTED)


def test_reweighting_takes_runs_of_sams_length_and_of_sams_price_and_pairs_them_by_seed() -> None:
    folder = EXPERIMENTS["reweighting"].data
    tables = {n: pd.read_csv(folder / str(n) / "runs.csv").set_index("seed") for n in (1, 2, 3, 4)}
    epochs = {n: json.loads((folder / str(n) / "config.json").read_text())["training"]["epochs"] for n in tables}
    frame = reweighting.frame(bundled("reweighting"))

    def accuracy(n: int, variant: str) -> pd.Series:
        of = tables[n][tables[n]["variant"] == variant]
        return of.loc[of["rho"].isna() | (of["rho"] == 0.1), "test_acc"]

    for variant, n, passes, panel in (
        ("rwsam", 2, 7 / 3, reweighting.PRICE), ("deltasam", 3, 8 / 3, reweighting.PRICE),
        ("saner", 1, 2, reweighting.PRICE),
        ("rwsam", 1, None, reweighting.LENGTH), ("saner", 1, None, reweighting.LENGTH),
    ):  # fmt: skip
        assert passes is None or epochs[n] * passes == pytest.approx(2 * epochs[1], rel=0.02)
        at = (
            (frame["panel"] == panel)
            & (frame["variant"] == variant)
            & (frame["x"] == "0.1")
            & (frame["kind"] == "mean")
        )
        assert frame.loc[at, "y"].item() == pytest.approx((accuracy(n, variant) - accuracy(1, "sam")).mean())
    sgd = frame[(frame["variant"] == "sgd") & (frame["kind"] == "mean")]
    assert (epochs[4], sgd["x"].item()) == (2 * epochs[1], reweighting.NONE)
    assert sgd["y"].item() == pytest.approx(accuracy(4, "sgd").mean())


@pytest.mark.parametrize(("epochs", "there"), [(42, False), (43, True), (44, False)])
def test_a_price_within_two_per_cent_of_sams_is_equal(epochs: int, there: bool) -> None:
    study = bundled("reweighting")
    finals = study.finals[(study.finals["epochs"] != 43) & (study.finals["quantity"] == "test_acc")]
    moved = finals["variant"].eq("rwsam")
    finals = finals.assign(epochs=finals["epochs"].where(~moved, epochs))
    priced = reweighting.cells(replace(study, finals=finals)).priced
    assert (("rwsam", "0.1") in priced) == there
    assert ("sam", "0.1") in priced


def test_where_sam_is_at_chance_no_difference_from_it_is_drawn_and_it_is_said() -> None:
    study = bundled("reweighting")
    frame, table = reweighting.frame(study), pd.read_csv(EXPERIMENTS["reweighting"].data / "1" / "runs.csv")
    sam = table[(table["variant"] == "sam") & (table["rho"] == 0.8)]["test_acc"]
    chance = 0.1 + 1.96 * math.sqrt(0.1 * 0.9 / 797)
    assert f"At ρ = 0.8 SAM is at chance in {(sam <= chance).sum()} seeds" in EXPERIMENTS["reweighting"].caption(
        study, frame
    )
    drawn = {panel: set(of["x"]) for panel, of in frame.groupby("panel")}
    assert drawn[reweighting.LENGTH] == drawn[reweighting.PRICE] == {"0.05", "0.1", "0.2", "0.4"}
    assert "0.8" in drawn[reweighting.ACCURACY]
    collapsed = table[(table["variant"] == "saner") & (table["rho"] == 0.8)]["test_acc"]
    assert collapsed.mean() < chance
    assert not ((frame["variant"] == "saner") & (frame["x"] == "0.8")).any()


def weighted(more: dict[str, float], other: float = 0.0) -> pd.DataFrame:
    """Differences from SAM of RW-SAM by ρ, and accuracies with SANER `other` above it, over four seeds."""
    noise = {s: 0.001 * (s - 1.5) for s in range(4)}
    points = [
        frames.rows(reweighting.LENGTH, rho, "RW-SAM", "rwsam", {s: d + e for s, e in noise.items()})
        for rho, d in more.items()
    ]
    for v, y in (("rwsam", 0.8), ("saner", 0.8 + other)):
        by_seed = {s: y + (e if v == "saner" else 0) for s, e in noise.items()}
        points.append(frames.rows(reweighting.ACCURACY, "0.1", v, v, by_seed))
    return frames.frame(points)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"0.1": 0.02, "0.2": 0.03}, claims.SUPPORTED), ({"0.1": 0.02, "0.2": 0.0}, claims.OPEN),
        ({"0.1": 0.02, "0.2": -0.03}, claims.REFUTED),
    ],
)  # fmt: skip
def test_more_accurate_at_every_radius_takes_each_and_falls_with_one(more: dict[str, float], verdict: str) -> None:
    assert reweighting.judge(weighted(more))[0].verdict == verdict


@pytest.mark.parametrize(("other", "verdict"), [(-0.02, claims.SUPPORTED), (0.02, claims.REFUTED), (0.0, claims.OPEN)])
def test_up_against_down_is_judged_at_the_best_radius_of_each(other: float, verdict: str) -> None:
    (found,) = [f for f in reweighting.judge(weighted({"0.1": 0.0}, other)) if "SANER" in f.says]
    assert found.verdict == verdict
    assert "RW-SAM at ρ = 0.1 less SANER at ρ = 0.1" in found.why


def test_on_a_telephone_the_panels_are_stacked_without_overlap() -> None:
    experiment = EXPERIMENTS["which-sharpness"]
    fig = dots.stacked(experiment.figure(experiment.frame(bundled("which-sharpness"))))
    a, b = fig.layout.yaxis.domain, fig.layout.yaxis2.domain
    assert a[1] > a[0] > b[1] > b[0] >= 0
    assert fig.layout.xaxis.domain == fig.layout.xaxis2.domain == (0, 1)
    height = fig.layout.height - fig.layout.margin.t - fig.layout.margin.b
    low, high = (math.log10(end) for end in (0.01, 3))
    a_decade = (a[1] - a[0]) * height / (high - low)
    assert min(math.log10(y / x) for x, y in itertools.pairwise(fig.layout.yaxis.tickvals)) * a_decade > 15


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_on_a_telephone_every_experiment_is_drawn_with_all_its_traces(name: str) -> None:
    experiment = EXPERIMENTS[name]
    wide = experiment.figure(experiment.frame(bundled(name)))
    panels = len(list(wide.select_yaxes()))
    fig = dots.stacked(go.Figure(wide))
    domains = [axis.domain or (0, 1) for axis in fig.select_yaxes()]
    assert all(upper[0] > lower[1] for upper, lower in itertools.pairwise(domains))
    assert len(fig.data) == len(wide.data)
    assert fig.layout.height >= 260 * panels
