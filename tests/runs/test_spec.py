"""Specifications: validation, keys, the grid."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_dash.runs.presets import PRESETS, get
from sam_dash.runs.spec import Measures, Problem, RunSpec, SpecError, SweepSpec, Training, divisors, from_dict

runs = st.builds(
    RunSpec,
    variant=st.sampled_from(["sam", "usam"]),
    seed=st.integers(0, 2**31 - 1),
    m=st.sampled_from([None, 1, 2, 32]),
    knobs=st.fixed_dictionaries({"rho": st.floats(0, 10)}),
    training=st.builds(Training, lr=st.floats(1e-6, 1), epochs=st.integers(1, 99), batch=st.sampled_from([32, 64])),
    problem=st.builds(
        Problem,
        label_noise=st.floats(0, 0.9),
        dataset=st.just("mnist-5k"),
        network=st.sampled_from(["mlp:64", "cnn:12"]),
    ),
)


@given(runs)
def test_a_run_survives_json_and_keeps_its_key(run) -> None:
    again = from_dict(RunSpec, json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert again.key == run.key


@given(runs, runs)
def test_different_runs_have_different_keys(one, other) -> None:
    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name) -> None:
    sweep = get(name).sweep
    again = from_dict(SweepSpec, json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert again.key == sweep.key
    assert len({r.key for r in sweep.runs()}) == len(sweep.runs())


def test_the_default_preset_is_sgd_n_sam_and_seven_m_times_three_seeds() -> None:
    cells = [(r.variant, r.m) for r in get("digits").sweep.runs() if r.seed == 0]
    assert cells == [("sgd", None), ("nsam", 64), *(("sam", m) for m in (64, 32, 16, 8, 4, 2, 1))]
    assert len(get("digits").sweep.runs()) == 27


def test_an_axis_is_crossed_only_with_the_variants_that_have_it() -> None:
    sweep = SweepSpec(
        variants=("sgd", "sam", "rwsam"), m=(64, 8), knobs={"rho": (0.1, 0.2), "lam": (0.0, 0.5)}, seeds=(0,)
    )
    count = {v: sum(r.variant == v for r in sweep.runs()) for v in sweep.variants}
    assert count == {"sgd": 1, "sam": 4, "rwsam": 4}
    assert {r.m for r in sweep.runs() if r.variant == "rwsam"} == {64}


def test_a_number_names_the_same_run_as_an_integer_and_as_a_float() -> None:
    assert RunSpec(variant="sam", knobs={"rho": 1}).key == RunSpec(variant="sam", knobs={"rho": 1.0}).key
    assert Training(lr=1) == Training(lr=1.0)
    one, other = (SweepSpec(variants=("rwsam",), knobs={"lam": (x,)}) for x in (0, 0.0))
    assert one.key == other.key
    assert RunSpec(variant="sam", training=Training(lr=1)).key == RunSpec(variant="sam", training=Training(lr=1.0)).key


def test_runs_of_one_group_differ_by_the_seed_only() -> None:
    a, b = RunSpec(variant="sam", seed=1), RunSpec(variant="sam", seed=2)
    assert a.group == b.group
    assert a.key != b.key
    assert a.group != RunSpec(variant="sam", seed=1, m=2).group


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variant": "sma"}, "unknown variant 'sma'"),
        ({"variant": "sam", "m": 5}, "m = 5 does not divide the batch size B = 64; choose one of 64, 32, 16"),
        ({"variant": "sam", "m": 0}, "m = 0 does not divide"),
        ({"variant": "sam", "m": 128}, "m = 128 does not divide"),
        ({"variant": "sam", "m": 2.0}, r"m = 2\.0 does not divide"),
        ({"variant": "nsam", "m": 2}, "n-SAM has no micro-batches"),
        ({"variant": "sam", "knobs": {"rho": -0.1}}, r"rho = -0\.1: expected a number in \[0, 100\]"),
        ({"variant": "sam", "knobs": {"lam": 1}}, "SAM has no knob 'lam'"),
        ({"variant": "rwsam", "knobs": {"norms": "guess"}}, "expected one of one-probe, exact"),
        ({"variant": "sam", "seed": -1}, "seed = -1"),
        ({"variant": "sam", "training": {"epochs": 10**6}}, "epochs = 1000000"),
        ({"variant": "sam", "training": {"lr": float("nan")}}, "lr = nan"),
        ({"variant": "sam", "training": {"schedule": "step"}}, "schedule = 'step': expected one of cosine, constant"),
        ({"variant": "sam", "training": {"wd": 1}}, "unknown field 'wd' in Training"),
        ({"variant": "sam", "problem": {"dataset": "imagenet"}}, "unknown dataset 'imagenet'"),
        ({"variant": "sam", "problem": {"dataset": "npz:/nowhere.npz"}}, "no file '/nowhere.npz'"),
        ({"variant": "sam", "problem": {"network": "vgg:2"}}, "unknown network 'vgg:2'"),
        ({"variant": "sam", "problem": {"network": "cnn:4"}}, "'cnn:4' needs images"),
        ({"variant": "sam", "problem": {"label_noise": 1.5}}, r"label_noise = 1\.5"),
        ({"variant": "sam", "measures": {"what": ["trace", "volume"]}}, "unknown measure 'volume'"),
        ({"variant": "sam", "problem": 3}, "expected a JSON object for Problem, got int"),
        ({"variant": "sam", "problem": {"n_train": 32}}, "32 training samples are fewer than one batch of B = 64"),
        ({"variant": "sam", "problem": {"n_train": 9999}}, "digits has only 1000 training samples"),
        ({"variant": "sam", "problem": {"n_train": 100, "start": "memorised"}}, "50 training samples are fewer"),
        ({}, "not a valid RunSpec"),
    ],
)
def test_a_bad_run_is_refused_with_the_reason(fields, message) -> None:
    with pytest.raises(SpecError, match=message):
        from_dict(RunSpec, fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variants": []}, "at least one variant"),
        ({"variants": ["sam", "x"]}, "unknown variant 'x'"),
        ({"seeds": []}, "at least one variant and one seed"),
        ({"variants": ["sam"], "knobs": {"lam": [1]}}, "none of sam has a knob 'lam'"),
        ({"m": [64, 3]}, "m = 3 does not divide"),
        ({"seeds": list(range(1000))}, "more than 5000 runs"),
        ({"knobs": {"rho": 0.1}}, "not a valid SweepSpec"),
        (["digits"], "expected a JSON object"),
    ],
)
def test_a_bad_sweep_is_refused_with_the_reason(fields, message) -> None:
    with pytest.raises(SpecError, match=message):
        from_dict(SweepSpec, {"m": [64, 32, 16, 8, 4, 2, 1], **fields} if isinstance(fields, dict) else fields)


def test_networks_are_crossed_with_everything_and_take_the_place_of_the_problems() -> None:
    sweep = SweepSpec(variants=("sgd", "sam"), m=(64, 8), seeds=(0, 1), networks=("mlp:4", "mlp:8", "mlp:4"))
    runs = sweep.runs()
    assert [r.problem.network for r in runs] == ["mlp:4"] * 6 + ["mlp:8"] * 6
    assert sweep.problem.network == "mlp:4"
    one = SweepSpec(variants=("sgd", "sam"), m=(64, 8), seeds=(0, 1), problem=Problem(network="mlp:8"))
    assert {r.key for r in one.runs()} == {r.key for r in runs[6:]}
    again = from_dict(SweepSpec, json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert again.key == sweep.key != one.key
    with pytest.raises(SpecError, match="'cnn:4' needs images"):
        SweepSpec(networks=("mlp:4", "cnn:4"))


def test_without_networks_the_key_of_a_sweep_is_that_of_before_and_one_network_is_the_problems() -> None:
    assert SweepSpec().key == "fdbfce4d5de9"
    assert get("digits").sweep.key == "0533729bbcfc"
    assert "networks" not in SweepSpec().to_dict()
    assert SweepSpec(networks=("mlp:8",)) == SweepSpec(problem=Problem(network="mlp:8"))


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="unknown preset 'digit'; known: digits, mnist-cnn, escape, label-noise"):
        get("digit")


def test_measures_are_kept_in_one_order() -> None:
    assert Measures(what=("noise", "trace")).what == ("trace", "noise")
    assert divisors(12) == [12, 6, 4, 3, 2, 1]
