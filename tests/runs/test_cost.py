"""What a sweep is said to cost is what it takes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_dash import variants
from sam_dash.problems.datasets import Data
from sam_dash.problems.stack import stack
from sam_dash.runs import cost, presets
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.spec import Measures, Problem, RunSpec, SpecError, SweepSpec, Training
from sam_dash.runs.steppers import stepper

SWEEP = SweepSpec(variants=("sgd", "nsam", "sam"), m=(64, 1), seeds=(0, 1, 2))


def test_gradients_are_steps_times_the_gradients_of_a_step():
    steps = 50 * (1000 // 64)
    grads = {spec.variant: cost.gradients(spec) for spec in SWEEP.runs()}
    assert grads["sgd"] == steps
    assert grads["sam"] == 2 * steps
    assert grads["nsam"] == pytest.approx(steps * (1 + 1000 / 64))


def test_an_escape_run_trains_on_half_the_data_after_150_epochs_on_all():
    spec = RunSpec(variant="sam", problem=Problem(start="memorised"), training=Training(epochs=57))
    assert cost.steps(spec) == 57 * (500 // 64)
    assert cost.gradients(spec) == 2 * 57 * 7 + 150 * 15


def test_a_fine_tuned_run_trains_on_the_new_classes_after_20_epochs_on_the_old_ones():
    problem = Problem(dataset="mnist-5k", n_train=400, network="mlp:16", start="pretrained")
    spec = RunSpec(variant="sam", problem=problem, training=Training(batch=20, epochs=3))
    assert cost.steps(spec) == 3 * (200 // 20)
    assert cost.gradients(spec) == 2 * 30 + 20 * (2000 // 20)


@pytest.mark.parametrize("key", variants.REGISTRY)
@pytest.mark.parametrize("m", [None, 16, 4])
def test_what_trains_in_one_pass_is_known_without_trying(key, m):
    """A failure here says what the variant's file has to declare: `chained` (m = B), `factored` (m < B)."""
    v, problem = variants.get(key), Problem(network="mlp:4", n_train=32)
    if not v.uses_m and m is not None:
        pytest.skip(f"{v.title} has no m-version")
    spec = RunSpec(variant=key, m=m, problem=problem, training=Training(batch=16, epochs=1))
    P = stack(problem, (0, 1), torch.device("cpu"))
    declared = v.in_one_pass(m, 16)
    assert (stepper(P, [spec, replace(spec, seed=1)]).path == "chain") == declared
    one, two = (dict(zip(cost.FEATURES, cost.features(spec, S), strict=True)) for S in (1, 2))
    alone = "passes one by one"
    if declared:
        assert (two["passes"], one[alone], two[alone]) == (one["passes"], 0, 0), v.title
    else:
        assert two[alone] == 2 * one[alone] > 0, v.title


def test_finished_runs_cost_nothing_and_failed_ones_do():
    specs = SWEEP.runs()
    statuses = {specs[0].key: "done", specs[1].key: "diverged", specs[2].key: "failed"}
    everything, left = cost.preview(SWEEP, {}), cost.preview(SWEEP, statuses)
    assert (everything.total, everything.cached, left.total, left.cached) == (12, 0, 12, 2)
    assert everything.grad_evals - left.grad_evals == 2 * 750
    nothing = cost.preview(SWEEP, {spec.key: "done" for spec in specs})
    assert (nothing.cached, nothing.grad_evals, nothing.high) == (12, 0, 0)


def test_predicted_seconds_fall_with_workers_and_scale_with_the_machine():
    here = cost.Speed(1.0, 2.0, (0.0, 0.0))
    alone, four = (cost.preview(SWEEP, {}, workers, here) for workers in (1, 4))
    assert alone.low > four.low > 0
    assert alone.high == pytest.approx(2 * alone.low)
    slow = cost.preview(SWEEP, {}, speed=cost.Speed(2.5, 5.0, (3.0, 10.0)))
    assert slow.low == pytest.approx(3 + 2.5 * alone.low)
    assert slow.high == pytest.approx(10 + 5 * alone.low)


@pytest.mark.parametrize(
    ("preset", "took"),
    [("digits", 14.7), ("digits", 45), ("fine-tuning", 42), ("which-sharpness", 26), ("overparameterisation", 139)],
)
def test_on_a_machine_without_runs_the_range_is_wide_and_holds_what_was_taken(preset, took):
    """Recorded on machines of two cores, start included: idle (14.7, docs/benchmarks.md), and a fresh busy one (45)."""
    expected = cost.preview(presets.PRESETS[preset].sweeps, {}, workers=2)
    assert expected.low < took < expected.high
    assert expected.high > 3 * expected.low
    assert expected.high < 12 * took, "but not so wide as to say nothing"


def test_after_runs_the_range_narrows_around_what_they_took():
    rng, sweeps = np.random.default_rng(0), presets.PRESETS["overparameterisation"].sweeps
    fresh = cost.preview(sweeps, {}, workers=2)
    ratios = [(2.2 * float(rng.lognormal(0, 0.15)), 1.0, str(group)) for group in range(40)]
    known = cost.preview(sweeps, {}, 2, cost.speed(ratios, start=6.5))
    assert known.low < 139 < known.high
    assert known.high / known.low < 0.5 * fresh.high / fresh.low
    few = cost.preview(sweeps, {}, 2, cost.speed(ratios[:1], start=6.5))
    assert few.high / few.low > known.high / known.low, "one run says less than forty"


def test_a_running_engine_is_not_started_again_at_the_low_end_only():
    cold, warm = (cost.preview(SWEEP, {}, cold=cold) for cold in (True, False))
    assert cold.low - warm.low == pytest.approx(cost.UNKNOWN.start[0])
    assert cold.high == warm.high


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.2, 3, "5 s"), (7.9, 44, "5 s to 45 s"), (31, 59, "30 s to 1 min"), (50, 313, "50 s to 6 min"),
        (100, 7300, "1 min to 2.5 h"),
    ],
)  # fmt: skip
def test_a_range_is_rounded_outwards(low, high, text):
    assert cost.span(low, high) == text


def test_more_of_anything_takes_longer():
    base = RunSpec(variant="sam", m=8, training=Training(epochs=10), measures=Measures(what=()))
    more = [
        replace(base, training=replace(base.training, epochs=20)),
        replace(base, problem=replace(base.problem, network="mlp:128")),
        *(replace(base, measures=Measures(what=(q,))) for q in MEASURES),
    ]
    for spec in more:
        both = np.array([cost.features(base, 3), cost.features(spec, 3)])
        assert (both[1] >= both[0]).all()
        assert (both[1] > both[0]).any()
    assert cost.seconds(base, 4) < 4 * cost.seconds(base, 1), "stacking saves"


@pytest.mark.parametrize(("network", "times"), [("vit:8", 7), ("cnn:8", 1)])
def test_a_multiply_add_of_a_transformer_counts_for_several(network, times):
    spec = RunSpec(variant="sgd", problem=Problem(dataset="mnist-5k", network=network), measures=Measures(what=()))
    work, n, n_test = cost.multiply_adds(spec.problem), *cost.samples(spec)
    looks = spec.training.epochs + 1
    expected = 3 * work * 64 * cost.steps(spec) + looks * (n + n_test) * work
    assert cost.features(spec, 1)[3] == times * expected


def test_a_trace_of_a_smooth_network_is_dearer_than_that_of_a_piecewise_linear_one():
    def gradients(network: str, what: str) -> float:
        problem = Problem(dataset="mnist-5k", network=network, n_train=1000)
        spec = RunSpec(variant="sgd", problem=problem, measures=Measures(what=(what,)))
        both = [cost.features(s, 1)[3] for s in (spec, replace(spec, measures=Measures(what=())))]
        return (both[0] - both[1]) / (3 * cost.multiply_adds(problem) * 1000 * cost.dearer(problem))

    trace = MEASURES["trace"]
    assert gradients("cnn:8", "trace") == pytest.approx(trace.gradients)
    assert gradients("vit:8", "trace") == gradients("resnet18:8", "trace") == pytest.approx(trace.smooth)
    assert gradients("vit:8", "noise") == pytest.approx(MEASURES["noise"].gradients)


def test_every_measure_says_what_it_costs_and_every_preset_has_a_preview():
    assert all(m.gradients > 0 or m.path for m in MEASURES.values()), "nothing but what comes with the steps is free"
    for preset in presets.PRESETS.values():
        expected = cost.preview(preset.sweeps, {})
        assert 0 < expected.low < expected.high < 24 * 3600
        assert expected.total == sum(len(sweep.runs()) for sweep in preset.sweeps)


def test_calibration_finds_the_coefficients_that_made_the_times():
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 2, len(cost.FEATURES)) * np.array(cost.COEFFICIENTS)
    rows = []
    for network in ("mlp:16", "mlp:256", "mlp:64-64"):
        for variant, m in (("sam", 64), ("sam", 8), ("sam", 1), ("slsam", 64)):
            for what, seeds, epochs in (((), 1, 2), ((), 6, 20), (("trace",), 4, 50), (("lam_max", "noise"), 9, 7)):
                spec = RunSpec(
                    variant=variant, m=m, problem=Problem(network=network),
                    training=Training(epochs=epochs), measures=Measures(what=what),
                )  # fmt: skip
                took = float(truth @ cost.features(spec, seeds))
                rows.append({"status": "done", "spec": spec.to_dict(), "stack": seeds, "seconds": took / seeds})
    np.testing.assert_allclose(cost.calibrate(rows), truth, rtol=1e-6)


def test_gradients_of_micro_batches_are_counted_as_they_are_kept():
    """At m = 1 inputs and deltas, 64 + 512 + 512 + 10 numbers a sample; at m = 32 the output layer's are formed."""
    floats = cost.FEATURES.index("floats")
    wide, d = Problem(network="mlp:512"), 512 * 64 + 512 + 10 * 512 + 10
    one, half, whole = (
        cost.features(RunSpec(variant="sam", m=m, problem=wide, training=Training(epochs=1)), 1)[floats]
        for m in (1, 32, 64)
    )
    steps = 1000 // 64
    assert one == steps * (2 * 64 * (64 + 512 + 512 + 10) + 4 * d)
    assert half == steps * (2 * (64 * (64 + 512) + 2 * 10 * 512) + 4 * d)
    assert whole == steps * (2 * d + 4 * d)


def test_a_file_that_is_not_data_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(SpecError, match=r"x\.npz"):
        cost.preview(SweepSpec(problem=Problem(dataset=f"npz:{tmp_path / 'x.npz'}")), {})
    good = Data(np.zeros((100, 3)), np.arange(100) % 2, np.zeros((10, 3)), np.arange(10) % 2)
    np.savez(tmp_path / "y.npz", **good._asdict())
    sweep = SweepSpec(problem=Problem(dataset=f"npz:{tmp_path / 'y.npz'}"), training=Training(batch=50, epochs=3))
    assert cost.steps(sweep.runs()[0]) == 6


@pytest.mark.parametrize(("seconds", "text"), [(0.1, "1 s"), (40, "40 s"), (200, "3 min"), (9000, "2.5 h")])
def test_durations_are_read_at_a_glance(seconds, text):
    assert cost.duration(seconds) == text


def test_runs_that_differ_by_seed_rho_or_lambda_are_one_group():
    sweep = SweepSpec(variants=("sam", "rwsam"), m=(64, 8), knobs={"rho": (0.1, 0.2), "lam": (0.0, 1.0)}, seeds=(0, 1))
    sizes = sorted(len(group) for group in cost.groups(sweep.runs()).values())
    assert sizes == [4, 4, 8]
    assert all(len({spec.group for spec in group}) == 1 for group in cost.groups(sweep.runs()).values())


def test_a_stack_is_bounded_by_memory(monkeypatch):
    spec = RunSpec(variant="sam", m=8)
    some = cost.largest_stack(spec)
    assert some > 100
    assert cost.largest_stack(replace(spec, problem=Problem(network="mlp:1024-1024"))) < some
    assert cost.largest_stack(replace(spec, variant="nsam", m=None)) < some
    monkeypatch.setattr(cost, "STACK_FLOATS", 1)
    assert cost.largest_stack(spec) == 1
