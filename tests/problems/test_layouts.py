"""Which array is what by its name, the split of data that come in one part, and tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sam_dash import cli
from sam_dash.problems import own_files
from sam_dash.problems.arrays import DataError
from sam_dash.problems.layouts import LayoutError, assigned, role, split
from sam_dash.problems.npz import load_npz
from sam_dash.problems.problem import Problem
from sam_dash.runs.report import Report
from sam_dash.runs.spec import Measures, RunSpec, SpecError, Training
from sam_dash.runs.train import train

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("x_train X_train train_x trainX xtrain train_images Train-Images training_data", ("x", "train")),
        ("y_test test_labels testY Y_test test_targets ytest", ("y", "test")),
        ("x_val val_images x_valid validation_data", ("x", "val")), ("x X data images features", ("x", "")),
        ("y target labels", ("y", "")), ("arr_0 classes names allow_train x_y_train meta", None),
    ],
)  # fmt: skip
def test_an_array_is_known_by_its_name(names: str, expected: tuple[str, str] | None) -> None:
    assert {role(name) for name in names.split()} == {expected}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("x_train y_train x_test y_test classes", "x_train y_train x_test y_test"),
        ("train_images train_labels val_images val_labels test_images test_labels",
         "train_images train_labels test_images test_labels"),
        ("trainX trainY valX valY", "trainX trainY valX valY"), ("y X", "X y"), ("data target names", "data target"),
    ],
)  # fmt: skip
def test_common_layouts_are_read(names: str, found: str) -> None:
    assert list(assigned(names.split()).values()) == found.split()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("x_train train_images y_train x_test y_test", "arrays 'x_train' and 'train_images' say the same"),
        ("x_train y_train x_test", "missing array 'y_test'; found x_train, y_train, x_test"),
        ("x", "missing array 'y'; found x"), ("arr_0 arr_1", "missing array 'x_train'; found arr_0, arr_1"),
        ("x_train y_train x y", "missing array 'x_test'"),
    ],
)  # fmt: skip
def test_names_that_do_not_say_it_are_told(names: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        assigned(names.split())


def test_one_part_is_split_the_same_every_time_and_equal_inputs_stay_together() -> None:
    x, y = np.repeat(np.arange(100), 3)[:, None], np.arange(300)
    x_train, y_train, x_test, y_test = split(x, y)
    assert (len(x_train), len(x_test)) == (240, 60)
    assert not set(x_train.ravel()) & set(x_test.ravel())
    assert sorted([*y_train, *y_test]) == list(y)
    assert (x_train.ravel() == y_train // 3).all()
    assert (np.diff(x_train.ravel()) < 0).any(), "sorted files are shuffled"
    for again, before in zip(split(x, y), (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(again, before)


@pytest.mark.parametrize("names", ["train_images train_labels test_images test_labels", "x y"])
def test_a_file_of_another_layout_is_read_as_the_usual_one_with_labels_in_a_column(tmp_path: Path, names: str) -> None:
    x, y = RNG.integers(0, 256, (50, 4, 4), np.uint8), np.arange(50)[:, None] % 3
    arrays = [x, y, x[:10], y[:10]]
    np.savez(tmp_path / "mine.npz", **dict(zip(names.split(), arrays, strict=False)))
    data = load_npz(tmp_path / "mine.npz")
    assert (len(data.y_train), data.y_train.ndim, data.classes) == (50 if "train" in names else 40, 1, 3)
    lookup = {image.tobytes(): label for image, label in zip(x.astype(np.float32), y[:, 0], strict=True)}
    assert [lookup[image.tobytes()] for image in data.x_test] == list(data.y_test)


def table(tmp_path: Path, text: str = "") -> Path:
    path = tmp_path / "flowers.csv"
    if not text:
        frame = pd.DataFrame(RNG.normal(size=(60, 3)), columns=["a", "b", "c"])
        frame.assign(kind=["rose", "aster", "tulip"] * 20).to_csv(path)  # with pandas' index
    else:
        path.write_text(text)
    return path


def test_a_table_becomes_arrays_with_the_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = table(tmp_path)
    data = load_npz(Path(own_files.keep_csv(path.name, path.read_bytes(), "kind").removeprefix("npz:")))
    assert (data.x_train.shape, data.x_test.shape, data.classes) == ((48, 3), (12, 3), 3)
    frame = pd.read_csv(path)
    for x, y in zip(data.x_train, data.y_train, strict=True):
        row = frame[np.isclose(frame["a"], x[0], atol=1e-6)].iloc[0]
        assert row["kind"] == ["aster", "rose", "tulip"][y]
        assert np.allclose(x, row[["a", "b", "c"]].astype(float), atol=1e-6)
    assert own_files.columns(path.name, path.read_bytes())[0] == "kind", "the last one, where none is called a label"
    assert own_files.columns("t.csv", b"y,a,b\n1,2,3\n") == ["y", "a", "b"]
    kept = own_files.keep_csv(path.name, path.read_bytes(), "kind")
    assert own_files.known() == [kept], "the same table is kept once"


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("a,b,c\n1,2,3\n", "", r"flowers\.csv: which column holds .* Name one with --target; there are a, b, c"),
        ("a,b\n1,2\n", "z", "no column 'z'"), ("1,2,3\n4,5,6\n", "3", "its first line is numbers"),
        ("a;y\nx;1\n", "y", "'a' holds text, such as 'x': expected numbers"),
        ("a\ty\n1\t1\n\t2\n", "y", "'a' has no finite number in row 3"), ("a,y\n1,1\n2,\n", "", "no value in row 3"),
        ("a,y\n1,1.5\n2,inf\n", "", "must be finite numbers; it holds NaN or infinity"),
        ("alone\n1\n", "", "expected two columns or more"), ("", "", "cannot be read as a .csv"),
        ("a,y\n1,1\n2,1\n3,1\n4,1\n5,1\n", "", "has the label 0 only"),
        ("a,y\n1,2,3,4\n1,2\n5,6,7,8,9,9\n", "", "cannot be read as a .csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_one_line(tmp_path: Path, capsys, text: str, target: str, message: str) -> None:
    path = table(tmp_path, text or " ")
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        own_files.keep_csv(path.name, path.read_bytes(), target)
    asked = ["--target", target] if target else []
    assert cli.main(["run", "--csv", str(path), *asked, "--store", str(tmp_path / "s.db")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not own_files.known()


def test_numbers_to_predict_are_standardised_by_their_training_samples_and_learnt(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(150, 3)), columns=["a", "b", "c"])
    path = tmp_path / "rents.csv"
    frame.assign(rent=900 + 200 * frame["a"] - 100 * frame["b"] + 3 * rng.normal(size=150)).to_csv(path, index=False)
    kept = own_files.keep_csv(path.name, path.read_bytes(), "rent")
    data = load_npz(Path(kept.removeprefix("npz:")))
    assert (data.classes, data.outputs, data.y_train.dtype, data.y_train.shape) == (0, 1, np.float32, (120,))
    raw = np.load(kept.removeprefix("npz:"))
    expected = (raw["y_test"] - raw["y_train"].mean()) / raw["y_train"].std()
    np.testing.assert_allclose(data.y_test, expected, rtol=1e-5, atol=1e-6)
    problem = Problem(dataset=kept, network="mlp:16", scaling="features")
    assert "Numbers to predict: " in problem.notes()[0]
    assert "standardised, so that the RMSE is in standard deviations" in problem.notes()[0]
    assert (problem.score, problem.samples, problem.data.outputs, problem.data.classes) == ("error_RMSE", 120, 1, 0)
    with pytest.raises(SpecError, match=r"label_noise = 0\.2 is about classes"):
        replace(problem, label_noise=0.2)
    training = Training(lr=0.05, batch=20, epochs=20)
    spec = RunSpec(variant="sam", m=5, problem=problem, training=training, measures=Measures(what=("trace",)))
    found: dict[str, float] = {}

    def listen(report: Report) -> set[int]:
        found.update({q.quantity: q.value for q in report.measurements[0]})
        return set()

    assert train([spec], listen)[0].status == "done"
    assert found["test_error_RMSE"] == pytest.approx(found["test_loss"] ** 0.5)
    assert found["test_error_RMSE"] < 0.4


def test_several_numbers_a_sample_need_as_many_outputs(tmp_path: Path) -> None:
    x, path = RNG.normal(size=(40, 3)), tmp_path / "two.npz"
    np.savez(path, x=x, y=np.stack([x[:, 0] * 1000, np.full(40, 0.25)], 1))
    data = load_npz(path)
    assert (data.outputs, data.y_train.shape) == (2, (32, 2))
    assert data.y_train[:, 0].std() == pytest.approx(1, rel=1e-5)
    assert (data.y_train[:, 1] == 0).all(), "what never varies is 0, not NaN"
    problem = Problem(dataset=f"npz:{path}", network="mlp:4")
    spec = RunSpec(variant="sgd", problem=problem, training=Training(batch=8, epochs=1), measures=Measures(what=()))
    assert train([spec], lambda _: set())[0].weights.shape == (3 * 4 + 4 + 4 * 2 + 2,)


def test_a_table_is_run_by_a_command_and_a_target_without_one_is_refused(tmp_path: Path, capsys) -> None:
    from sam_dash.options import sweeps_of

    path = table(tmp_path)
    args = ["run", "--csv", str(path), "--target", "kind", "--network", "mlp:4", "--batch", "16", "--m", "16"]
    (sweep,) = sweeps_of(cli._parser().parse_args(args))
    assert sweep.problem.dataset == own_files.known()[0]
    assert (sweep.problem.scaling, sweep.problem.samples) == ("standardise", 48)
    for bad, says in (
        (["--preset", "digits", "--target", "a"], "--csv"),
        (["--csv", str(tmp_path / "no.csv")], "cannot read"),
    ):
        assert cli.main(["run", *bad]) == 2
        assert says in capsys.readouterr().err
