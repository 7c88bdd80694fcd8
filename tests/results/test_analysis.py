"""The analysis frames on numbers made by hand: matched, correlations, the map, the noise law, equal length, curves."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.drawing import cells, lines
from sam_dash.results.numbers import recorded, statistics, tables
from sam_dash.results.numbers import study as studies
from sam_dash.results.views import dynamics, equal_length, m_eval, matched, matched_figure, noise_law, rho_map, simpson
from sam_dash.runs.spec import Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from tests import synthetic
from tests.results import frames

SWEEP = SweepSpec(
    variants=("sgd", "sam", "rwsam"), m=(4, 1), knobs={"rho": (0.1, 0.2), "lam": (0.0, 1.0)}, seeds=(0, 1),
    problem=Problem(network="mlp:8", label_noise=0.4), training=Training(batch=4, epochs=4),
)  # fmt: skip


def study(values) -> studies.Study:
    """All runs of SWEEP done, with the final values that `values(run)` gives by quantity."""
    runs, rows = [], []
    for r in SWEEP.runs():
        runs.append({"key": r.key, "spec": r.to_dict(), "status": "done", "seconds": 99.0})
        base = {"step": 10, "epoch": 4.0, "stderr": 0.0, "method": "by hand", "budget": 100, "converged": True}
        rows += [base | {"run": r.key, "quantity": q, "value": v} for q, v in values(r).items()]
    table = tables.runs_frame(runs)
    return studies.Study("0123456789ab", SWEEP, table, tables.finals(table, tables.curves_frame(rows)))


def simple(r) -> dict[str, float]:
    m, rho, lam = r.m or 8, r.knobs.get("rho", 0.0), r.knobs.get("lam", 0.0)
    return {
        "test_acc": 0.5 + rho + 0.01 * r.seed - 0.02 * math.log2(m) + 0.05 * lam,
        "tr_H": 10.0 * m + r.seed, "train_loss": 0.5 + rho, "eps_norm": rho * (1 + lam),
        "tr_V": 12.0, "tr_V@2": 6.0 + 0.1 * r.seed, "tr_V@4": 3.0, "grad_sq": -0.1 if r.seed else 0.4,
        "m_sharp@1": 0.4 * m, "m_sharp@2": 0.2 * m + 0.001 * r.seed,
        "train_seconds": 8.0 if r.variant == "sgd" else 20.0,
    }  # fmt: skip


def sgd_curves(s: studies.Study) -> pd.DataFrame:
    """SGD comes down from a train loss of 2 to 0.4 in four epochs; its accuracy is loss-free to compute by hand."""
    rows = []
    for run in s.runs.loc[s.runs["variant"] == "sgd", "run"]:
        for epoch, (loss, acc) in enumerate([(2.0, 0.1), (1.0, 0.6), (0.6, 0.9), (0.5, 0.7), (0.4, 0.5)]):
            for q, v in (("train_loss", loss), ("test_acc", acc)):
                rows.append({"run": run, "step": 10.0 * epoch, "epoch": float(epoch), "quantity": q, "value": v})
    return tables.curves_frame(rows)


def test_the_trajectory_is_met_where_it_first_has_the_loss() -> None:
    loss, value = np.array([2.0, 1.0, 0.5, 0.7, 0.3]), np.array([0.0, 1.0, 3.0, 9.0, 5.0])
    assert matched.crossing(loss, value, 1.5) == 0.5
    assert matched.crossing(loss, value, 0.6) == pytest.approx(2.6)
    assert matched.crossing(loss, value, 0.2) is None
    assert matched.crossing(loss, value, 3.0) is None


def test_at_the_same_loss_a_cell_is_compared_with_sgd_of_its_own_seed() -> None:
    s = study(simple)
    wide = matched.wide(s, s.finals)
    rows = {r.line: r for r in matched.at_same_loss(wide, sgd_curves(s), "test_acc", cells.of(s))}
    found = rows["SAM, m = 1, ρ = 0.1"]  # its train loss is 0.6: SGD has an accuracy of 0.9 there
    assert found.sgd.mean == pytest.approx(0.9)
    assert found.cell.mean == pytest.approx(0.605)
    assert found.difference.mean == pytest.approx(-0.295)
    assert (found.difference.n, found.outside) == (2, 0)
    table = matched.matched_table(list(rows.values()), "test_acc")
    assert set(table["Reading"]) == {"worse than SGD stopped early"}
    assert "worse than SGD stopped early: " in matched.findings(list(rows.values()), "test_acc")[0]


def test_where_sgd_is_best_is_said_and_compared() -> None:
    s = study(simple)
    found = matched.stop(matched.wide(s, s.finals), sgd_curves(s), "test_acc", cells.of(s))
    assert found is not None
    assert (found.epoch, found.stopped.mean, found.difference.n) == (2, pytest.approx(0.9), 2)
    assert found.best.mean == pytest.approx(0.715)
    frame = matched.frame(s, matched.wide(s, s.finals), "train_loss", "test_acc", sgd_curves(s))
    assert [(r["kind"], r["epoch"]) for r in tables.records(frame[frame["best"]])] == [("sgd", 2)]


@pytest.mark.parametrize(
    ("d", "says"),
    [
        ((0.1, 0.001, 0.199), "m-SAM is best: test accuracy 80.0 %, 10.0 points [0.1, 19.9] above SGD stopped after 6"),
        ((0.1, -0.001, 0.201), "SGD stopped after 6 epochs (test accuracy 90.0 %) ties with the best setting, m-SAM"),
        ((-0.1, -0.201, 0.001), "SGD stopped after 6 epochs (test accuracy 90.0 %) ties with the best setting, m-SAM"),
        ((-0.1, -0.199, -0.001), "SGD stopped after 6 epochs beats every setting here: test accuracy 90.0 %, 10.0 "
         "points [0.1, 19.9] above the best of them, m-SAM (80.0 %; paired, n = 10"),
    ],
)  # fmt: skip
def test_a_stop_and_a_setting_tie_where_the_interval_holds_0(d: tuple[float, float, float], says: str) -> None:
    of = [statistics.Mean(y, y, y, 10) for y in (0.9, 0.8)]
    found = matched.Stop(6.0, of[0], "m-SAM", of[1], statistics.Mean(*d, 10))
    assert matched.best_stop(found, "test_acc").startswith(says)
    less = matched.best_stop(found._replace(difference=-found.difference), "test_loss")
    assert less.startswith(says.split("test accuracy")[0]), "of a loss less is better"


def test_what_is_compared_with_a_stop_is_chosen_on_the_other_seeds() -> None:
    """Seed 0 alone would stop after 1 epoch and seed 1 after 3: each is judged where the other is best."""
    s = study(simple)
    curves = sgd_curves(s)
    runs = s.runs.set_index("run")["seed"]
    of = curves["quantity"] == "test_acc"
    seed = curves["run"].map(runs)
    peak = curves["epoch"].eq(seed.map({0: 1.0, 1: 3.0}))
    curves = curves.assign(value=curves["value"].where(~of, 0.5 + 0.4 * peak))
    found = matched.stop(matched.wide(s, s.finals), curves, "test_acc", cells.of(s))
    assert found is not None
    ends = found.best.mean
    assert found.stopped.mean == pytest.approx(0.7)
    assert found.difference.mean == pytest.approx(ends - 0.5), "not 0.7, which was chosen on these seeds"


def test_costs_are_steps_times_gradients() -> None:
    s = study(simple)
    wide = matched.wide(s, s.finals).set_index("run")
    steps = 4 * (1000 // 4)
    assert set(wide.loc[wide["variant"] == "sgd", "gradients"]) == {steps}
    assert set(wide.loc[wide["variant"] == "sam", "gradients"]) == {2 * steps}
    assert set(wide.loc[wide["variant"] == "sgd", "seconds"]) == {8.0}, "of training, not of the run with its looks"
    untimed = replace(s, finals=s.finals[s.finals["quantity"] != "train_seconds"])
    assert matched.wide(untimed, s.finals)["seconds"].isna().all()


def test_the_pareto_front_is_what_nothing_beats_in_both() -> None:
    means = pd.DataFrame({"kind": "mean", "x": [1.0, 2.0, 3.0, 2.0], "y": [0.5, 0.7, 0.6, 0.7]})
    assert list(matched.pareto(means, "test_acc")) == [True, True, False, True]
    assert list(matched.pareto(means, "tr_H")) == [True, False, False, False]


def test_the_matched_figure_draws_its_frame() -> None:
    s = study(simple)
    frame = matched.frame(s, matched.wide(s, s.finals), "train_loss", "test_acc", sgd_curves(s))
    fig = matched_figure.figure(frame, "train_loss", "test_acc")
    track = next(t for t in fig.data if t.name == "SGD, stopped early")
    assert list(track.x) == [2.0, 1.0, 0.6, 0.5, 0.4]
    assert max(fig.layout.xaxis.range) < 1.2, "the first epoch does not squeeze the rest"
    means = [t for t in fig.data if t.mode == "markers" and t.error_x.array is not None]
    assert [t.y[0] for t in means] == list(frame.loc[frame["kind"] == "mean", "y"])
    assert "learning rate had not been annealed" in matched.caption(s, frame, "train_loss")


def test_the_axes_of_the_matched_figure_hold_every_interval() -> None:
    s = study(simple)
    frame = matched.frame(s, matched.wide(s, s.finals), "train_loss", "test_acc", sgd_curves(s))
    layout = matched_figure.figure(frame, "train_loss", "test_acc").layout
    means = frame[frame["kind"] == "mean"]
    for axis, low, high in ((layout.xaxis, "x_low", "x_high"), (layout.yaxis, "low", "high")):
        assert axis.range[0] < means[low].min() < means[high].max() < axis.range[1]


def test_fishers_interval_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    found = statistics.correlation(x, y)
    truth = stats.pearsonr(x, y)
    low, high = truth.confidence_interval(0.95)
    assert found == pytest.approx((truth.statistic, low, high, 20))


def test_within_groups_the_means_are_taken_out_and_cost_freedom() -> None:
    x, y = [0.0, 1, 2, 10, 11, 12], [5.0, 4, 3.5, 25, 24, 23.5]
    groups = ["a"] * 3 + ["b"] * 3
    assert statistics.correlation(x, y).r > 0.9
    within = statistics.correlation(x, y, groups)
    assert within.r == pytest.approx(float(np.corrcoef([-1, 0, 1, -1, 0, 1], [5 / 6, -1 / 6, -4 / 6] * 2)[0, 1]))
    half = 1.959964 / math.sqrt(6 - 2 - 2)
    assert within.high == pytest.approx(math.tanh(math.atanh(within.r) + half))
    assert math.isnan(statistics.correlation([1.0, 1, 1], [1.0, 2, 3]).r)
    assert math.isnan(statistics.correlation([1.0, 2, 3], [1.0, 2, 3.5]).low)


def test_simpsons_paradox_is_named() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for variant, centre in (("sgd", 0.0), ("nsam", 10.0)):
        for seed in range(12):
            x = rng.normal()
            rows.append(
                {
                    "variant": variant,
                    "seed": seed,
                    "tr_H": centre + x,
                    "test_acc": centre - x + 0.1 * rng.normal(),
                    "m": None,
                }
            )
    table = pd.DataFrame(rows).assign(**{k: None for k in tables.knob_names()})
    found = simpson.correlations(table, "tr_H", "test_acc")
    assert list(found["group"]) == ["All runs pooled", "Within SGD", "Within n-SAM", "Within settings (seeds only)"]
    assert list(found["r"] > 0) == [True, False, False, False]
    assert "(Simpson's paradox)" in simpson.reading(found, "tr_H", "test_acc")
    assert simpson.shown(found, "test_acc")["Reading"].iloc[0] == "sharper is more accurate"


def test_the_map_outlines_the_best_rho_by_accuracy_and_greys_the_collapsed() -> None:
    s = study(simple)
    sam = s.finals[s.finals["variant"] == "sam"]
    runs = s.runs[s.runs["variant"] == "sam"]
    gone = set(runs.loc[(runs["m"] == 1) & (runs["rho"] == 0.2), "run"])
    frame = rho_map.frame(sam, runs, "tr_H", gone)
    best = {(r["m"], r["rho"]) for r in tables.records(frame[frame["best"]])}
    assert best == {(1.0, 0.1), (4.0, 0.2)}
    assert list(frame["y"]) == [10.5, 10.5, 40.5, 40.5]
    fig = rho_map.figure(frame)
    grey, live = fig.data
    assert [list(row) for row in grey.text] == [["", ""], ["collapsed", ""]]
    assert [list(row) for row in live.text] == [["★ 10.5", "40.5"], ["", "★ 40.5"]]
    assert len(fig.layout.shapes) == 2
    text = rho_map.findings(frame, sam)
    assert (
        text[0] == "m = 1: test accuracy is highest at ρ = 0.1 (60.5 %, n = 2); that is the smallest ρ tried, so that "
        "the best may lie beyond."
    )
    assert "; that is the largest ρ tried" in text[1]
    assert text[2].startswith("Each m at the best ρ tried: Test accuracy")
    assert text[2].endswith("At 2 of 2 m that ρ is at the edge of the grid.")


def test_a_best_rho_inside_the_grid_is_not_called_an_edge() -> None:
    s = study(simple)
    sam, runs = (f[f["variant"] == "sam"] for f in (s.finals, s.runs))
    third = [f[f["rho"] == 0.1].assign(rho=0.4, run=lambda f: f["run"] + "x") for f in (sam, runs)]
    sam, runs = (pd.concat([f, more], ignore_index=True) for f, more in zip((sam, runs), third, strict=True))
    text = rho_map.findings(rho_map.frame(sam, runs, "tr_H", set()), sam)
    assert text[0].startswith("m = 1: test accuracy is highest at ρ = 0.2")
    assert not any("edge" in line or "tried, so" in line for line in text)


def test_the_map_compares_the_two_ends_of_m_and_calls_neither_a_highest() -> None:
    s = study(lambda r: {"test_acc": 0.5 + 0.01 * r.seed * (r.m == 4), "tr_H": 10.0 * (r.m or 1)})
    sam = s.finals[s.finals["variant"] == "sam"]
    text = rho_map.findings(rho_map.frame(sam, s.runs[s.runs["variant"] == "sam"], "tr_H", set()), sam)
    assert "Each m at the best ρ tried: Test accuracy: a tie between 50.5 % at m = 4 and 50.0 % at m = 1" in text[2]
    assert text[3].startswith("Each m at the best ρ tried: tr(H) falls from 40.0 at m = 4 to 10.0 at m = 1: −30.0 [")
    assert not any("lowest" in line for line in text)


def test_a_rho_without_two_common_seeds_is_no_tie() -> None:
    s = study(simple)
    sam = s.finals[(s.finals["variant"] == "sam") & ~((s.finals["rho"] == 0.1) & (s.finals["seed"] == 1))]
    text = rho_map.findings(rho_map.frame(sam, s.runs[s.runs["variant"] == "sam"], "tr_H", set()), sam)
    assert text[0].endswith(
        " ρ = 0.2 (70.5 %, n = 2); no interval against ρ = 0.1 (too few common seeds); that is the largest "
        "ρ tried, so that the best may lie beyond."
    )


def test_the_noise_law_is_drawn_with_both_formulas() -> None:
    s = study(simple)
    of = s.finals[(s.finals["variant"] == "sam") & (s.finals["m"] == 4) & (s.finals["rho"] == 0.1)]
    frame = noise_law.frame(of, cells.Looks(of, 4))
    law = frame[(frame["panel"] == "law") & (frame["kind"] == "reference")]
    total = law[law["line"] == noise_law.LAW].set_index("x")["y"]
    inside = law[law["line"] == noise_law.FACTOR].set_index("x")["y"]
    assert dict(total) == {1.0: 12.0, 2.0: 6.0, 4.0: 3.0}
    assert dict(inside) == {1.0: 12 * 3 / 4, 2.0: 6 * 2 / 4}, "nothing is left at m = B"
    ratio = frame[(frame["panel"] == "ratio") & (frame["kind"] == "mean")].set_index("x")["y"]
    assert dict(ratio) == pytest.approx({1.0: 1.0, 2.0: 2 * 6.05 / 12, 4.0: 1.0})
    assert "no deviation from tr(V)/m is seen at any of 2 sizes" in noise_law.findings(frame)[0]
    assert len(lines.figure(frame, noise_law.AXES, noise_law.TITLES, columns=2).data) > 4


def test_the_finite_population_factor_is_that_of_sampling_without_replacement() -> None:
    """Numbers in place of gradients: groups of 2 cut from batches of 8, around their batch's mean."""
    rng = np.random.default_rng(0)
    population = rng.normal(size=4000)
    spread = []
    for _ in range(4000):
        batch = rng.choice(population, 8, replace=False)
        spread.append(((batch.reshape(4, 2).mean(1) - batch.mean()) ** 2).mean())
    assert np.mean(spread) == pytest.approx(population.var(ddof=1) / 2 * (8 - 2) / 8, rel=0.03)


def test_a_noise_scale_without_signal_is_not_a_number_and_is_counted() -> None:
    s = study(simple)
    of = s.finals[s.finals["variant"] == "sgd"]
    rows = noise_law.scales(of).set_index("seed")
    assert rows.loc[0, "unbiased"] == pytest.approx(12 / 0.4)
    assert math.isnan(rows.loc[1, "unbiased"])
    assert rows.loc[1, "on_training_set"] == pytest.approx(12 / (-0.1 + 12 / 100))
    table = noise_law.scale_table(rows.reset_index(), cells.of(s))
    assert list(table["Seeds with ‖G‖² ≤ 0"]) == [1]


def test_m_train_and_m_eval_are_kept_apart() -> None:
    s = study(simple)
    sam = s.finals[(s.finals["variant"] == "sam") & (s.finals["rho"] == 0.1)]
    frame = m_eval.frame(sam, s.runs[s.runs["rho"] == 0.1], cells.of(s))
    means = frame[frame["kind"] == "mean"].set_index(["m_train", "x"])["y"]
    assert dict(means) == pytest.approx({(4, 1): 1.6, (1, 1): 0.4, (4, 2): 0.8005, (1, 2): 0.2005})
    assert m_eval.findings(frame)[1] == (
        "Measured at m = 2, the m-sharpness is lowest for SAM, m = 1, ρ = 0.1 (0.201) and highest for "
        "SAM, m = B = 4, ρ = 0.1 (0.800; paired, n = 2)."
    )


def test_rw_sam_is_compared_with_sam_of_its_own_length_and_seed() -> None:
    s = study(simple)
    per_run = equal_length.per_run(s.finals, "test_acc")
    found = {e.line: e for e in equal_length.compare(per_run, per_run, "test_acc", cells.of(s))}
    at = found["RW-SAM, ρ = 0.1, λ = 1"]  # its mean ||eps|| is 0.2: SAM at rho = 0.2
    assert at.length == pytest.approx(0.2)
    assert at.difference.mean == pytest.approx((0.5 + 0.1 + 0.05) - (0.5 + 0.2))
    far = found["RW-SAM, ρ = 0.2, λ = 1"]  # 0.4: no SAM run is that long
    assert (far.difference.n, far.outside) == (0, 2)
    assert equal_length.lengths_missing(list(found.values())) == (0.36, 0.44)
    assert list(equal_length.shown(list(found.values()), "test_acc")["Reading"]) == [
        "RW-SAM is lower", "no SAM run of this length",
    ]  # fmt: skip


def test_an_equivalent_m_has_an_interval_over_seeds_or_says_where_it_is() -> None:
    def values(r) -> dict[str, float]:
        m = r.m or 8
        return {"tr_H": 25.0 + r.seed if r.variant == "rwsam" else 10.0 * m, "eps_norm": 0.1, "test_acc": 0.5}

    s = study(values)
    rw = equal_length.per_run(s.finals[s.finals["rho"] == 0.1], "tr_H")
    found = equal_length.equivalent(rw, rw, "tr_H", cells.Looks(rw, 4))
    expected = statistics.mean([2 * 15 / 30, 2 * 16 / 30])
    assert found[0].log2_m == pytest.approx(expected)
    table = equal_length.equivalents_shown(found, "tr_H", [1.0, 4.0])
    assert table["Equivalent m"][0] == 2**expected.mean
    assert table["95 % high"][0] == 2**expected.high
    high = rw.assign(tr_H=rw["tr_H"].where(rw["variant"] != "rwsam", 99.0))
    table = equal_length.equivalents_shown(
        equal_length.equivalent(high, high, "tr_H", cells.Looks(high, 4)), "tr_H", [1.0, 4.0]
    )
    assert math.isnan(table["Equivalent m"][0])
    assert table["Reading"][0] == "outside the range: 2 of 2 seeds above m = 4"


def test_a_debiased_average_of_a_constant_is_the_constant() -> None:
    assert list(dynamics.ema(np.full(5, 3.0), 0.9)) == pytest.approx([3.0] * 5)
    assert list(dynamics.ema(np.array([1.0, 0.0]), 0.5)) == pytest.approx([1.0, 1 / 3])


def test_windows_are_means_and_say_where_they_end() -> None:
    frame = recorded.windowed(np.array([1.0, 3.0, 5.0, 7.0, 10.0]), 2.0, points=3)
    assert list(frame["value"]) == [2.0, 6.0, 10.0]
    assert list(frame["step"]) == [2.0, 4.0, 5.0]
    assert list(frame["epoch"]) == [1.0, 2.0, 2.5]


@pytest.mark.parametrize(("steps", "points"), [(400, 400), (401, 201)])
def test_a_curve_has_four_hundred_points_at_most(steps: int, points: int) -> None:
    assert len(recorded.windowed(np.zeros(steps), 1.0)) == points


def test_curves_of_a_store_are_what_was_measured_and_windows_of_what_was_recorded(tmp_path: Path) -> None:
    one = replace(SWEEP, variants=("sam",), m=(4,), knobs={"rho": (0.1,)}, seeds=(0,))  # of 1000 steps
    with closing(Store(tmp_path / "store.db")) as store:
        synthetic.fill(store, one)
        found = recorded.stored(store, [one.runs()[0].key], ("test_acc", "eps_norm", "ess"), 250.0, 4)
    rows = found.groupby("quantity")
    assert {q: list(r["step"]) for q, r in rows} == {
        "eps_norm": [250, 500, 750, 1000],
        "test_acc": [*range(0, 1001, 250)],
    }
    assert {q: list(r["epoch"]) for q, r in rows} == {"eps_norm": [1, 2, 3, 4], "test_acc": [0, 1, 2, 3, 4]}
    assert list(rows.get_group("eps_norm")["value"]) == pytest.approx([0.1] * 4)
    assert found.index.is_unique


@pytest.mark.parametrize(("points", "wide"), [(1000, 1), (999, 2), (500, 2), (499, 3)])
def test_a_point_is_said_to_stand_for_the_steps_that_it_is_the_mean_of(points: int, wide: int) -> None:
    one = replace(study(simple), spec=replace(SWEEP, variants=("sgd",), knobs={}, seeds=(0,)))  # one run
    rate = recorded.steps_per_epoch(one)
    assert rate == 1000 // 4
    assert recorded.widths(one, ("eps_norm", "test_acc"), points) == {"eps_norm": wide}
    drawn = recorded.windowed(np.arange(1.0, 1001.0), rate, points)
    assert (drawn["step"][0], drawn["value"][0]) == (wide, (1 + wide) / 2)
    bundled = replace(one, id="example")
    assert recorded.widths(bundled, ("eps_norm", "test_acc"), points) == {"eps_norm": 250}


def test_of_a_data_set_that_is_gone_no_width_is_said() -> None:
    gone = replace(SWEEP, problem=Problem(dataset="npz:/nowhere.npz", network="mlp:8", data_hash="0" * 64))
    s = replace(study(simple), spec=gone)
    assert math.isnan(recorded.steps_per_epoch(s))
    assert recorded.widths(s, ("eps_norm",)) == {}


@pytest.mark.parametrize(
    ("clock", "last"), [("Epoch", 4.0), ("Step", 40.0), ("Seconds", 8.0), ("Gradient evaluations", 1000.0)]
)
def test_every_clock_ends_where_it_should(clock: str, last: float) -> None:
    s = study(simple)
    frame = dynamics.frame(s, sgd_curves(s), ["test_acc"], clock)
    assert max(frame["x"]) == last
    assert list(frame.sort_values("x")["y"]) == [0.1, 0.6, 0.9, 0.7, 0.5]
    assert (frame["n"] == 2).all()


def test_the_band_of_a_curve_is_scipys_t_interval_over_seeds() -> None:
    s = study(simple)
    curves = sgd_curves(s)
    curves["value"] += curves["run"].map({run: 0.1 * i for i, run in enumerate(dict.fromkeys(curves["run"]))})
    frame = dynamics.frame(s, curves, ["test_acc"])
    start = frame[frame["x"] == 0].iloc[0]
    truth = stats.t.interval(0.95, 1, loc=0.15, scale=0.05)
    assert (start["low"], start["high"]) == pytest.approx(truth)


def test_smoothing_keeps_the_raw_line(monkeypatch) -> None:
    monkeypatch.setattr(dynamics, "FEW", 5)
    s = study(simple)
    frame = dynamics.frame(s, sgd_curves(s), ["test_acc"], beta=0.5)
    assert list(frame[frame["kind"] == "raw"].sort_values("x")["y"]) == [0.1, 0.6, 0.9, 0.7, 0.5]
    smooth = frame[frame["kind"] == "mean"].sort_values("x")["y"]
    assert list(smooth) == pytest.approx(list(dynamics.ema(np.array([0.1, 0.6, 0.9, 0.7, 0.5]), 0.5)))
    fig = lines.figure(frame, dynamics.axes(frame, "Epoch"), dynamics.titles(["test_acc"]))
    assert [t.opacity for t in fig.data if not t.showlegend] == [0.3]


def test_extremes_call_a_difference_inside_its_interval_a_tie() -> None:
    told = statistics.extremes({"a": {0: 1.0, 1: 2.0}, "b": {0: 2.0, 1: 3.01}}, "It is")
    assert told == "It is lowest for a (1.5) and highest for b (2.5; paired, n = 2)."
    assert "in a tie" in statistics.extremes({"a": {0: 1.0, 1: 5.0}, "b": {0: 2.0, 1: 4.5}}, "It is")
    assert "no interval" in statistics.extremes({"a": {0: 1.0}, "b": {0: 2.0}}, "It is")
    assert statistics.extremes({"a": {0: 0.5}, "b": {0: 0.5}}, "It ends") == "It ends at 0.5 for all."


def test_a_study_without_the_quantity_has_an_empty_frame() -> None:
    s = frames.study()
    assert m_eval.frame(s.finals, s.runs, cells.of(s)).empty
    assert noise_law.scales(s.finals).empty


def noise(ratio: dict[int, float], n: int = 3) -> pd.DataFrame:
    """A frame of the noise law with this ratio at m = 4 in each seed, and 1 at m = 2."""
    rows = [("ratio", x, "SGD", "mean", statistics.mean(v)) for x, v in ((2.0, [1.0] * n), (4.0, ratio.values()))]
    return pd.DataFrame(
        [
            {"panel": p, "x": x, "line": line, "kind": k, "y": m.mean, "low": m.low, "high": m.high, "n": m.n}
            for p, x, line, k, m in rows
        ]
    )


def test_no_deviation_from_the_law_says_how_large_a_one_the_intervals_leave_room_for() -> None:
    values = {0: 0.9, 1: 1.0, 2: 1.12}
    ends = statistics.mean(values.values())
    (told,) = noise_law.findings(noise(values))
    assert "no deviation from tr(V)/m is seen at any of 2 sizes; their intervals (n = 3)" in told
    low, high = (f"{100 * (e - 1):+.1f}".replace("-", "−") for e in (ends.low, ends.high))
    assert f"leave room for {low} to {high} %, no more" in told
    assert "is off tr(V)/m at m = 4" in noise_law.findings(noise({0: 1.1, 1: 1.11, 2: 1.12}))[0]


def test_a_squared_norm_below_0_is_remarked_and_one_that_may_be_0_is_not() -> None:
    s = study(lambda r: simple(r) | {"grad_sq": -0.1 - 0.001 * r.seed if r.variant == "sgd" else r.seed - 0.5})
    (told,) = noise_law.scale_findings(noise_law.scales(s.finals), cells.of(s))
    assert told.startswith("‖G‖² is below 0 for SGD (−0.101), by 201 standard errors over seeds. No squared norm is")
    s = study(lambda r: simple(r) | {"grad_sq": r.seed - 0.5})
    assert noise_law.scale_findings(noise_law.scales(s.finals), cells.of(s)) == []
