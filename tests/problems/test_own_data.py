"""The user's own arrays: they start plain and scaled, are described in words, and what is no such file is named."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sam_dash import cli, command
from sam_dash.options import sweeps_of
from sam_dash.problems.arrays import DataError, scaled
from sam_dash.problems.datasets import load
from sam_dash.problems.npz import contents, load_npz
from sam_dash.problems.problem import Problem, reset
from sam_dash.runs import presets
from sam_dash.runs.presets import PRESETS
from sam_dash.runs.report import Report
from sam_dash.runs.spec import Measures, RunSpec, SpecError, SweepSpec, Training
from sam_dash.runs.train import train

OWN = Problem(network="mlp:4")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits as a user saves them: whole numbers from 0 to 255, in the order of the built-in set."""
    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = (x[order] * 15.9375).round().astype(np.uint8), y[order]
    path = tmp_path_factory.mktemp("own") / "mine.npz"
    np.savez(path, x_train=x[:1000], y_train=y[:1000], x_test=x[1000:], y_test=y[1000:])
    return path


def said(*args: str) -> SweepSpec:
    return sweeps_of(cli._parser().parse_args(["run", *args]))[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_own_data_start_plain_and_scaled_whatever_the_preset_does_to_its_data(digits: Path, preset: str) -> None:
    p = said("--preset", preset, "--npz", str(digits), "--network", "mlp:64").problem
    assert (p.label_noise, p.imbalance, p.n_train, p.start, p.scaling) == (0, 1, 0, "init", "standardise")


def test_own_data_alone_are_a_command_and_every_treatment_has_an_option(digits: Path) -> None:
    alone = said("--npz", str(digits))
    assert alone.variants == presets.get("digits").sweep.variants
    assert (alone.preset, alone.problem.label_noise, alone.problem.scaling) == ("", 0, "standardise")
    asked = ["--label-noise", ".2", "--imbalance", "3", "--n-train", "900", "--start", "memorised", "--scaling", "none"]
    p = said("--npz", str(digits), *asked).problem
    assert (p.label_noise, p.imbalance, p.n_train, p.start, p.scaling) == (0.2, 3, 900, "memorised", "none")


def test_a_study_of_own_data_that_moves_to_another_file_keeps_what_was_chosen_for_it(digits: Path, tmp_path) -> None:
    sweep = said("--npz", str(digits), "--label-noise", ".2", "--scaling", "features")
    (tmp_path / "study.json").write_text(json.dumps(sweep.to_dict()))
    moved = tmp_path / "moved.npz"
    moved.write_bytes(digits.read_bytes())
    p = said(str(tmp_path / "study.json"), "--npz", str(moved)).problem
    assert (p.label_noise, p.scaling, p.dataset) == (0.2, "features", f"npz:{moved}")
    assert reset(p.dataset, "digits") == {"scaling": "none"}, "the built-in sets are scaled already"


def test_a_sweep_of_own_data_is_said_as_a_command_that_starts_it(digits: Path) -> None:
    sweep = said("--npz", str(digits), "--label-noise", ".2", "--seeds", "4-4")
    line = command.line(sweep)
    assert line is not None
    again = said(*line.split()[4:-2])
    assert again.runs() == sweep.runs()


def test_the_keys_of_old_runs_on_own_data_are_those_of_unscaled_data(digits: Path) -> None:
    spec = RunSpec(variant="sgd", problem=Problem(dataset=f"npz:{digits}"))
    assert "scaling" not in spec.to_dict()["problem"]
    assert spec.key != replace(spec, problem=replace(spec.problem, scaling="standardise")).key


def test_own_data_are_scaled_as_the_built_in_set_of_the_same_images_is(digits: Path) -> None:
    own, built = load(f"npz:{digits}", scaling="standardise"), load("digits")
    assert abs(own.x_train - built.x_train).max() < 0.02
    assert abs(own.x_test - built.x_test).max() < 0.02
    assert own.x_train.mean() == pytest.approx(0, abs=1e-5)
    assert own.x_train.std() == pytest.approx(1, abs=1e-5)
    raw = load_npz(digits)
    each = scaled(raw, "features")
    varies = raw.x_train.std(0) > 0
    assert np.allclose(each.x_train[:, varies].std(0), 1, atol=1e-4)
    assert (each.x_train[:, ~varies] == 0).all()
    by_hand = (raw.x_test - raw.x_train.mean(0))[:, varies] / raw.x_train.std(0)[varies]
    assert np.allclose(each.x_test[:, varies], by_hand, atol=1e-3)
    assert load(f"npz:{digits}").x_train.max() == 255


@pytest.mark.timeout(120)
def test_own_data_train_as_well_as_the_built_in_set_of_the_same_images(digits: Path) -> None:
    found = {}
    for name, problem in {"own": said("--npz", str(digits)).problem, "built-in": Problem()}.items():
        spec = RunSpec(variant="sgd", problem=problem, training=Training(epochs=10), measures=Measures(what=()))
        reports: list[Report] = []
        train([spec], lambda report, kept=reports: kept.append(report) or set())
        found[name] = {m.quantity: m.value for report in reports for (run,) in [report.measurements] for m in run}
    assert found["own"]["train_loss"] < 0.1
    assert found["own"]["test_acc"] > 0.93
    assert found["own"]["test_acc"] == pytest.approx(found["built-in"]["test_acc"], abs=0.015)


@pytest.mark.parametrize(
    ("x", "scaling", "far"),
    [
        (np.arange(256, dtype=np.uint8), "none", True), (np.arange(256, dtype=np.uint8), "standardise", False),
        (np.linspace(-1, 1, 100), "none", False), (np.linspace(-0.3, 0.3, 100), "none", True),
        (np.linspace(-9, 9, 100), "none", True), (np.linspace(-8, 8, 100), "none", False),
    ],
)  # fmt: skip
def test_what_is_in_a_file_is_said_and_so_is_a_spread_far_from_one(tmp_path, x, scaling, far) -> None:
    x = x[:, None]
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x, y_train=np.arange(len(x)) % 2, x_test=x, y_test=np.arange(len(x)) % 2)
    first, *rest = Problem(dataset=f"npz:{path}", scaling=scaling, network="mlp:4").notes()
    assert first.startswith(f"mine.npz: {x.dtype} from {x.min():.4g} to {x.max():.4g}, mean ")
    assert f"scaling {scaling}" in first
    assert bool(rest) == far
    assert contents(path).std == pytest.approx(x.std())


def saved(write: Any) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def npz(**changes: Any) -> bytes:
    y = np.arange(4) % 2
    arrays = {"x_train": np.zeros((4, 2)), "y_train": y, "x_test": np.zeros((4, 2)), "y_test": y} | changes
    return saved(lambda f: np.savez(f, **arrays))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x1,x2,label\n1,2,cat\n", r"it is text \('x1,x2,label' …\), as a \.csv is; expected an \.npz with arrays"),
        (saved(lambda f: np.save(f, np.zeros((3, 2)))), r"it is a single array \(\.npy\); expected an \.npz"),
        (saved(lambda f: np.save(f, np.array([{}], object))), r"it is a single array \(\.npy\)"),
        (b"\x80\x04\x95pickled", "it is a pickle, which is never loaded"),
        (b"", "it is empty"),
        (b"\x1f\x8b\x08 ...", "it is a gzip file"),
        (b"\x89PNG\r\n\x1a\n\0", "it is no zip archive"),
        (npz(y_train=np.array(["cat", "dog"] * 2)), "y_train holds text, such as 'cat': expected integer labels"),
        (npz(y_train=np.eye(4)[:, :2] + np.eye(4)[:, 2:]), r"y_train \(4, 2\) is one-hot: .* np.argmax\(y, axis=1\)"),
        (npz(y_test=np.arange(4) % 2 / 1), r"y_train is int64 \(4,\) and y_test float64 \(4,\): expected the same"),
        (npz(y_train=np.ones(4), y_test=np.zeros(4)), r"whole numbers as float64: y\.astype\(int\) makes them class "
         r"labels, \(y - y\.mean\(\)\) / y\.std\(\) numbers to predict"),
        (npz(y_train=np.full(4, 0.5), y_test=np.zeros(4)), "has the label 0.5 only: expected at least two values"),
        (npz(y_train=np.full(4, np.nan), y_test=np.zeros(4)), "y_train must be finite numbers; it holds NaN"),
        (npz(y_train=np.full((4, 2), 0.5), y_test=np.zeros(4)), "expected the same of both"),
        (npz(y_train=np.zeros((4, 2), int)), r"and y_train \(N,\) of one length"),
        (npz(y_test=np.arange(4) - 1), "y_test must be integer labels from 0 to 9999, got int64 from -1 to 2"),
        (npz(y_train=np.zeros(4, int)), "has the label 0 only: expected at least two"),
        (npz(x_train=np.full((4, 2), 1e300)), "more than 3e38"),
        (npz(x_train=np.zeros((4, 0))), r"expected x_train \(N, ...\)"),
    ],
)  # fmt: skip
def test_what_a_file_is_and_what_was_expected_are_said(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_npz(path)
    with pytest.raises(SpecError, match=message):
        Problem(dataset=f"npz:{path}")


def saved_images(tmp_path: Path, *shape: int) -> Path:
    path, y = tmp_path / "mine.npz", np.arange(80) % 3
    x = np.random.default_rng(0).integers(0, 256, (80, *shape), np.uint8)
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


@pytest.mark.parametrize("network", ["cnn:4", "resnet18:8", "vit:4"])
def test_rows_of_numbers_and_a_network_that_needs_images_are_one_line(tmp_path, capsys, network: str) -> None:
    path = saved_images(tmp_path, 28)
    assert cli.main(["run", "--npz", str(path), "--network", network, "--store", str(tmp_path / "s.db")]) == 2
    error = capsys.readouterr().err
    assert f"network '{network}' needs images (C, H, W); these inputs have shape (28,)" in error
    assert error.count("\n") == 1


def test_images_without_channels_or_with_them_last_train_and_it_is_said(tmp_path) -> None:
    for shape, said in (((8, 8), "as (1, 8, 8)"), ((8, 9, 3), "as (3, 8, 9), the channels, which come last, first")):
        problem = replace(OWN, dataset=f"npz:{saved_images(tmp_path, *shape)}", network="cnn:2")
        assert f"cnn:2 takes inputs {shape} {said}" in problem.notes()[0]
        assert "takes inputs" not in replace(problem, network="mlp:4").notes()[0]
        spec = RunSpec(variant="sgd", problem=problem, training=Training(epochs=1), measures=Measures(what=()))
        assert train([spec], lambda _: set())[0].status == "done"


def test_tokens_train_a_transformer_and_nothing_else_and_numbers_are_no_tokens(tmp_path) -> None:
    path, rng, y = tmp_path / "words.npz", np.random.default_rng(0), np.arange(80) % 3
    x = rng.integers(0, 11, (80, 5))
    x[3, 2] = 11
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    problem = replace(OWN, dataset=f"npz:{path}", network="transformer:4", scaling="tokens")
    assert (problem.vocabulary, replace(problem, scaling="standardise").vocabulary) == (12, 0)
    assert load(problem.dataset, scaling="tokens").x_train.dtype == np.int64
    spec = RunSpec(variant="sgd", problem=problem, training=Training(epochs=1), measures=Measures(what=()))
    assert train([spec], lambda _: set())[0].status == "done"
    with pytest.raises(SpecError, match="these inputs are tokens: use a transformer"):
        replace(problem, network="mlp:4")
    for bad in (x + 0.5, x - 1, x + 99_999):
        np.savez(path, x_train=bad, y_train=y, x_test=x, y_test=y)
        with pytest.raises(SpecError, match=r"words\.npz: scaling = tokens takes inputs that are whole numbers from 0"):
            replace(problem, data_hash="")
    with pytest.raises(SpecError, match="digits has no tokens, but numbers"):
        Problem(scaling="tokens")
    with pytest.raises(SpecError, match="pydoc has tokens already"):
        Problem(dataset="pydoc", network="transformer:4", scaling="standardise")
