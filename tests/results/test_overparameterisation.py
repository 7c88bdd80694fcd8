"""The width sweep: its frame against plain pandas, the choice of ρ, and verdicts on data whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.claims import rule as claims
from sam_dash.results.experiments import frames
from sam_dash.results.experiments import overparameterisation as over
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs import presets
from sam_dash.runs.spec import RunSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.train import train
from tests.synthetic import fill

SWEEP = replace(presets.get(over.EXPERIMENT.preset).sweep, m=(64,), seeds=(0, 1, 2, 3))
WIDTHS = [int(name.removeprefix("mlp:")) for name in SWEEP.networks]
RHOS = SWEEP.knobs["rho"]
Values = Callable[[RunSpec, int], dict[str, float]]


def made(values: Values) -> Study:
    """A finished study of the preset whose final values are `values(run, width)`."""
    runs, rows = [], []
    for run in SWEEP.runs():
        runs.append({"key": run.key, "spec": run.to_dict(), "status": "done", "step": 1, "steps": 1})
        for quantity, value in values(run, int(run.problem.network.removeprefix("mlp:"))).items():
            row = {"run": run.key, "step": 1, "epoch": 1.0, "quantity": quantity, "value": value, "stderr": 0.0}
            rows.append(row | {"method": "by hand", "budget": 1, "converged": True})
    frame = tables.runs_frame(runs)
    return Study("by hand", SWEEP, frame, tables.finals(frame, tables.curves_frame(rows)))


def gains(by_width: list[float], noise: float = 0.001, best: float = RHOS[2]) -> Study:
    """SGD at 60 %, SAM at the gain of its width when its ρ is `best`, 5 points less at another; tr(H) alike at all."""
    rng = np.random.default_rng(0)

    def values(run: RunSpec, width: int) -> dict[str, float]:
        gain = 0.0 if run.variant == "sgd" else by_width[WIDTHS.index(width)] - 0.05 * (run.knobs["rho"] != best)
        flat = 100 if run.variant == "sgd" else 50 * (1 + 0.1 * rng.standard_normal())
        return {"test_acc": 0.6 + gain + noise * rng.standard_normal(), "tr_H": flat}

    return made(values)


UP, DOWN = [0.01 * k for k in range(8)], [0.08 - 0.01 * k for k in range(8)]
HUMP = [-0.06, -0.03, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03]


@pytest.mark.parametrize(
    ("by_width", "whole", "above"),
    [
        (UP, claims.SUPPORTED, claims.SUPPORTED),
        (DOWN, claims.REFUTED, claims.REFUTED),
        (HUMP, claims.SUPPORTED, claims.REFUTED),  # why the second statement is there
        ([0.03] * 8, claims.OPEN, claims.OPEN),
    ],
)
def test_a_verdict_follows_the_rank_correlation_within_seeds(by_width: list[float], whole: str, above: str) -> None:
    frame = over.frame(gains(by_width))
    found = over.judge(frame)
    assert [f.verdict for f in found[:2]] == [whole, above]
    assert found[1].says.startswith("SAM, m = B = 64: gain grows where there are more parameters than samples")
    assert found[2].verdict == above, "at one ρ as at the best, 5 points lower"
    assert found[3].verdict == claims.OPEN, "tr(H) has no trend"
    assert all("n = 4" in f.why for f in found)
    if by_width is HUMP:
        assert "at d = 310 to +" in found[0].why
        assert "by way of +8." in found[0].why or "by way of +7.9" in found[0].why


def test_the_correlation_is_scipys_with_scipys_interval() -> None:
    frame = over.frame(gains(HUMP, noise=0.02))
    panel = f"{over.GAIN}, {over.OWN}"
    each = [
        stats.spearmanr(of["x"], of["y"]).statistic
        for _, of in frame[(frame["panel"] == panel) & (frame["kind"] == "seed")].groupby("seed")
    ]
    mean, d = over.ranks(frame, panel, "SAM, m = B = 64")
    low, high = stats.t.interval(0.95, 3, np.mean(each), stats.sem(each))
    assert (mean.mean, mean.low, mean.high) == pytest.approx((np.mean(each), low, high))
    assert d == [64 * w + w + 10 * w + 10 for w in WIDTHS]


def test_a_network_s_own_radius_is_chosen_on_the_other_seeds() -> None:
    """Seed 0 alone would choose 0.8; the others' mean, 0.2. Of equals it is the smallest."""
    accuracy = {0.2: {0: 0.5, 1: 0.7, 2: 0.7}, 0.8: {0: 0.9, 1: 0.6, 2: 0.6}}
    assert over.own(accuracy) == {0: 0.2, 1: 0.8, 2: 0.8}
    assert over.own({0.2: {0: 0.5, 1: 0.5}, 0.1: {0: 0.5, 1: 0.5}}) == {0: 0.1, 1: 0.1}
    assert over.own({0.2: {0: 0.9}, 0.1: {0: 0.5, 1: 0.5}}) == {0: 0.1, 1: 0.1}, "at 0.2 a seed diverged"
    assert over.own({0.1: {0: 0.5}}) == {}, "one seed has no others"


def test_choosing_the_radius_gives_no_gain_where_there_is_none() -> None:
    """Pure noise, five ρ: the best of five would gain 1.2 standard deviations; the choice on other seeds, none."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        accuracy = {r: dict(enumerate(0.01 * rng.standard_normal(5))) for r in (0.05, 0.1, 0.2, 0.4, 0.8)}
        found += [accuracy[r][s] for s, r in over.own(accuracy).items()]
    assert abs(np.mean(found)) < 4 * 0.01 / math.sqrt(len(found) / 5)


def test_collapsed_settings_are_left_out_and_said_to_be() -> None:
    def values(run: RunSpec, width: int) -> dict[str, float]:
        dead = run.variant == "sam" and (width == 4 or run.knobs["rho"] == RHOS[-1])
        return {"test_acc": 0.1 if dead else 0.6 + 0.001 * run.seed + 0.01 * (run.variant == "sam"), "tr_H": 10.0}

    study = made(values)
    frame = over.frame(study)
    sam = frame[frame["line"] == "SAM, m = B = 64"]
    assert sorted(sam["x"].unique()) == [75 * w + 10 for w in WIDTHS[1:]]
    assert list(frame.loc[frame["panel"] == f"{over.GAIN}, {over.OWN}", "y"]) == pytest.approx([0.01] * 35)
    assert f"{4 * (len(RHOS) + 7)} runs of collapsed settings are left out" in over.caption(study, frame)


def test_the_gain_is_that_of_the_table() -> None:
    found = studies.from_folder(over.EXPERIMENT.data)
    assert found is not None
    table = pd.read_csv(over.EXPERIMENT.data / "runs.csv")
    at = table[(table["network"] == "mlp:128")].set_index("seed")
    sam = at[(at["variant"] == "sam") & (at["m"] == 1) & (at["rho"] == 0.1)]
    sgd = at[at["variant"] == "sgd"]
    gain = frames.seeds(over.frame(found), f"{over.GAIN}, {over.FIXED}", 9610.0, "SAM, m = 1")
    assert gain == pytest.approx((sam["test_acc"] - sgd["test_acc"]).to_dict())


def test_the_preset_in_small_trains_and_is_judged(tmp_path: Path) -> None:
    """Three widths, one epoch: every cell trains, and the frame of what is stored has all of them."""
    from tests.runs.test_train import Recorder

    sweep = replace(SWEEP, networks=("mlp:4", "mlp:8", "mlp:16"), training=Training(epochs=1), seeds=(0, 1))
    record = Recorder()
    one = [r for r in sweep.runs() if r.problem.network == "mlp:8" and r.variant == "sam"]
    assert {o.status for o in train(one, record)} == {"done"}
    store = Store(str(tmp_path / "store.db"))
    study = studies.from_store(store, fill(store, sweep))
    store.close()
    assert study is not None
    frame = over.frame(study)
    assert list(dict.fromkeys(frame["panel"])) != []
    assert set(frame["x"]) == {310.0, 610.0, 1210.0}
    assert len(over.figure(frame).data) > 0


def test_without_the_runs_there_is_no_frame_and_no_verdict() -> None:
    frame = over.frame(made(lambda *_: {}))
    assert frame.empty
    assert over.judge(frame) == []
