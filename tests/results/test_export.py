"""What is exported is what the store holds, to the last bit."""

import functools
import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sam_dash.results.files import export
from sam_dash.results.numbers import recorded
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Measurement, Outcome, Report
from sam_dash.runs.spec import Problem, SweepSpec, Training, from_dict
from sam_dash.runs.store import Store

SWEEP = SweepSpec(preset="digits", variants=("sgd", "sam"), m=(64, 8), seeds=(0, 1), training=Training(epochs=2))
COLUMNS = (
    "run,preset,variant,m,rho,lam,seed,status,test_acc,train_acc,clean_train_acc,test_loss,train_loss,"
    "tr_H,tr_H_se,lam_max,lam_max_se,tr_V,tr_V_se,grad_evals,seconds"
)


def value(key, step):
    """Some number with all its digits."""
    return (int(key, 16) + step) / 3e15


@pytest.fixture
def store(tmp_path):
    """A store in which the runs of SWEEP are done, the last group but for its second run, which diverged."""
    store = Store(tmp_path / "store.db")
    store.submit(SWEEP)
    leases = Leases(store)
    while keys := leases.claim("engine.0"):
        owner, _ = leases.begin(keys, "engine.0")
        found = [
            [
                Measurement(value(k, s), 0.25, "how", 3, step=s, epoch=s / 15, quantity=q)
                for s in (0, 30)
                for q in ("test_acc", "tr_H")
            ]
            for k in keys
        ]
        leases.flush(owner, keys, Report(30, 30, "train", 0, {"g_norm": np.full((2, 30), 0.1, np.float32)}, found))
        for key in keys:
            leases.finish(owner, key, Outcome("done"), 1.5, {"torch": "2"})
    yield store
    store.close()


def test_runs_have_exactly_the_promised_columns_and_final_values(store):
    frame = export.runs_frame(store, SWEEP.key)
    assert ",".join(frame.columns) == COLUMNS
    assert frame["run"].tolist() == [spec.key for spec in SWEEP.runs()]
    assert frame["test_acc"].tolist() == [value(key, 30) for key in frame["run"]]
    assert frame["m"].isna().tolist() == [True, True, False, False, False, False]
    assert frame["grad_evals"].tolist() == [30.0, 30.0, 60.0, 60.0, 60.0, 60.0]
    assert set(frame["tr_H_se"]) == {0.25}
    assert frame["tr_V"].isna().all()


def test_settings_that_vary_become_columns(store):
    store.submit(SweepSpec(variants=("rwsam",), knobs={"norms": ("one-probe", "exact")}, seeds=(0,)))
    frame = export.runs_frame(store)
    assert list(frame.columns[len(COLUMNS.split(",")) :]) == ["epochs", "norms"]
    assert frame["norms"].dropna().tolist() == ["one-probe", "exact"]
    assert frame["lam"].dropna().tolist() == [0.5, 0.5]


def test_curves_hold_every_measurement_and_every_step(store):
    frame = export.curves_frame(store, SWEEP.key)
    assert list(frame.columns) == ["run", "step", "epoch", "quantity", "value", "stderr"]
    assert len(frame) == 6 * (4 + 30)
    one = frame[(frame["run"] == SWEEP.runs()[0].key) & (frame["quantity"] == "g_norm")]
    assert one["step"].tolist() == list(range(30))
    assert one["epoch"].iloc[-1] == pytest.approx(29 / 15)
    assert len(export.curves_frame(store, keys=[SWEEP.runs()[0].key])) == 34


def test_a_long_run_is_exported_as_the_means_over_windows_that_dynamics_draws(store, monkeypatch):
    monkeypatch.setattr(export, "LONG", 29)
    monkeypatch.setattr(export.recorded, "windowed", functools.partial(recorded.windowed, points=8))
    frame = export.curves_frame(store, keys=[SWEEP.runs()[0].key])
    steps = frame[frame["quantity"] == "g_norm"]
    assert steps["step"].tolist() == [4, 8, 12, 16, 20, 24, 28, 30]
    assert steps["value"].tolist() == pytest.approx([0.1] * 8)
    assert steps["epoch"].iloc[-1] == 30 / 15
    assert len(frame) == 4 + 8


def test_a_study_is_read_back_bit_for_bit_and_its_config_repeats_the_sweep(store, tmp_path):
    paths = export.write_study(store, SWEEP.key, tmp_path / "new" / "out")
    assert [path.name for path in paths] == [
        "runs.csv", "curves.csv", "estimators.csv", "config.json", "environment.json"
    ]  # fmt: skip
    assert sorted(paths[0].parent.iterdir()) == sorted(paths), "no temporary file is left"
    runs = pd.read_csv(paths[0])
    assert runs["test_acc"].tolist() == [value(key, 30) for key in runs["run"]]
    curves = pd.read_csv(paths[1])
    assert set(curves.loc[curves["quantity"] == "g_norm", "value"]) == {float(np.float32(0.1))}
    how = pd.read_csv(paths[2], keep_default_na=False)
    assert list(how.columns[:6]) == list(curves.columns)
    assert len(how) == 6 * 4
    rows = [[r["run"], r["step"], r["quantity"], r["method"], r["budget"]] for r in store.measurements(SWEEP.key)]
    assert how[["run", "step", "quantity", "method", "budget"]].to_numpy().tolist() == rows
    assert set(how["converged"].astype(str)) == {"True"}
    assert from_dict(SweepSpec, json.loads(paths[3].read_text())) == SWEEP
    assert json.loads(paths[4].read_text()) == [{"torch": "2"}]


def test_a_second_export_replaces_the_first(store, tmp_path):
    (tmp_path / "runs.csv").write_text("old")
    export.write_study(store, None, tmp_path)
    assert (tmp_path / "runs.csv").read_text().startswith("run,preset")


def test_an_empty_store_exports_headers_only(tmp_path):
    store = Store(tmp_path / "empty.db")
    runs, curves, *_ = export.write_study(store, None, tmp_path)
    assert runs.read_text() == COLUMNS + "\n"
    assert curves.read_text() == "run,step,epoch,quantity,value,stderr\n"
    assert export.summary(export.runs_frame(store)).empty
    store.close()


def test_runs_on_a_file_that_is_gone_are_still_exported(store, tmp_path):
    path = tmp_path / "data.npz"
    arrays = {"x_train": np.zeros((80, 3)), "x_test": np.zeros((9, 3))}
    np.savez(path, y_train=np.arange(80) % 2, y_test=np.arange(9) % 2, **arrays)
    sweep = SweepSpec(variants=("sgd",), seeds=(0,), problem=Problem(dataset=f"npz:{path}"))
    store.submit(sweep)
    path.unlink()
    frame = export.runs_frame(store, sweep.key)
    assert frame["grad_evals"].isna().tolist() == [True]


def test_the_summary_is_the_mean_and_standard_error_over_seeds(store):
    table = export.summary(export.runs_frame(store, SWEEP.key))
    assert table["variant"].tolist() == ["SGD", "SAM", "SAM"]
    assert table["n"].tolist() == [2, 2, 2]
    x = [100 * value(spec.key, 30) for spec in SWEEP.runs()[:2]]
    se = math.dist(x, [sum(x) / 2] * 2) / math.sqrt(2)
    assert table["test_acc %"][0] == f"{sum(x) / 2:.4g} ± {se:.2g}"


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1", "-2", "@x", " =1"])
@pytest.mark.parametrize("kind", [object, "string", "category"])
def test_no_cell_and_no_column_of_a_file_is_a_formula(text, kind) -> None:
    frame = pd.DataFrame({"n": [-1.5], text: pd.Series([text], dtype=kind), "none": pd.Series([None], dtype=kind)})
    read = pd.read_csv(io.StringIO(export.csv(frame)))
    assert list(read.columns) == ["n", f"'{text}", "none"]
    assert read.iloc[0, 0] == -1.5
    assert read.iloc[0, 1] == f"'{text}"
    assert pd.isna(read.iloc[0, 2])


def test_every_file_of_numbers_is_written_by_the_one_that_guards_them() -> None:
    found = [p for p in Path(export.__file__).parents[2].rglob("*.py") if ".to_csv(" in p.read_text()]
    assert [p.name for p in found] == ["export.py"]


@pytest.mark.parametrize(
    ("text", "safe"), [("=1+1", "'=1+1"), (" @x", "' @x"), ("-2", "'-2"), ("+a", "'+a"), ("fine", "fine"), ("", "")]
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str, safe: str) -> None:
    assert export.plain(text) == safe
