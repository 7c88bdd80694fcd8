"""A problem file from the command line and the form: its defaults, its own command, its runs, and what is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sam_dash import cli, command
from sam_dash.options import of_problem, sweeps_of
from sam_dash.problems.listing import PROBLEMS
from sam_dash.problems.problem import Problem
from sam_dash.results import words
from sam_dash.results.numbers import derived
from sam_dash.runs.leases import Leases
from sam_dash.runs.spec import SpecError, SweepSpec
from sam_dash.runs.store import Store
from sam_dash.runs.worker import run_group

FILE = """\
import torch

def data():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(60, 4, generator=g)
    return x[:40], x[:40].sin(), x[40:], x[40:].sin()

def network():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))

loss = "mse"
defaults = {"batch": 8, "epochs": 2, "lr": 0.05, "rho": [0.1, 0.2], "measure": ["trace"], "seeds": "3-4"}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(FILE)
    return path


@pytest.fixture(autouse=True)
def here(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(file.parent / "cache"))
    monkeypatch.setenv(PROBLEMS, str(file.parent))


def said(*args: str) -> SweepSpec:
    return sweeps_of(cli._parser().parse_args(["run", *args]))[0]


def test_a_file_starts_plain_with_what_its_defaults_say_and_options_win(file: Path) -> None:
    sweep = said("--problem", str(file))
    assert sweep == of_problem(file)
    assert (sweep.variants, sweep.m, sweep.seeds, sweep.knobs) == (
        ("sgd", "sam"),
        (8, 2, 1),
        (3, 4),
        {"rho": (0.1, 0.2)},
    )
    assert (sweep.training.batch, sweep.training.epochs, sweep.measures.what) == (8, 2, ("trace",))
    assert (sweep.problem.network, sweep.problem.label_noise, sweep.problem.scaling) == ("own", 0, "none")
    other = said("--problem", str(file), "--variants", "sam,rwsam", "--m", "4", "--rho", ".3", "--lr", ".2")
    assert (other.variants, other.m, other.knobs, other.training.lr) == (("sam", "rwsam"), (4,), {"rho": (0.3,)}, 0.2)
    preset = said("--preset", "digits", "--problem", str(file), "--batch", "8", "--m", "8")
    assert (preset.problem.label_noise, preset.problem.network, preset.preset) == (0, "own", "")


def test_what_a_page_keeps_of_a_study_can_be_pickled(file: Path) -> None:
    for problem in (said("--problem", str(file)).problem, Problem(dataset="mnist", network="cnn:4")):
        assert problem.data.n_train in (40, 60000)
        assert problem.samples
        assert pickle.loads(pickle.dumps(problem)) == problem


def test_a_sweep_on_a_file_is_said_as_a_command_that_starts_it(file: Path) -> None:
    sweep = said("--problem", str(file), "--variants", "sam", "--seeds", "7-7")
    line = command.line(sweep)
    assert line is not None
    assert "--preset" not in line
    assert said(*line.split()[4:-2]).runs() == sweep.runs()


@pytest.mark.parametrize(
    ("default", "what"),
    [("'lrr': 1", "unknown option 'lrr'; expected one of variants, m"), ("'lr': 'fast'", "--lr = 'fast': expected"),
     ("'batch': 64", "n = 40|40 training samples"), ("'network': 'mlp:8'", "unknown option 'network'")],
)  # fmt: skip
def test_a_default_that_cannot_be_is_one_line(tmp_path: Path, default: str, what: str, monkeypatch) -> None:
    monkeypatch.setenv(PROBLEMS, str(tmp_path))
    path = tmp_path / "mine.py"
    path.write_text(FILE.split("defaults")[0] + f"defaults = {{{default}}}\n")
    with pytest.raises(SpecError, match=rf"^mine\.py: defaults: .*({what})"):
        of_problem(path)


def test_the_command_line_trains_on_a_file_and_bad_ones_are_one_line(file: Path, tmp_path: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sam_dash", "run", "--store", str(tmp_path / "s.db"), "--workers", "1", *args]
        env = {k: v for k, v in os.environ.items() if k != PROBLEMS}
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=300)

    done = run("--problem", str(file), "--rho", ".1", "--m", "8,1", "--seeds", "0-1", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "mine.py: 40 training and 20 test samples (n, 4) float32, labels (n, 4) float32" in done.stderr
    assert "test_error_RMSE" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert len(table) == 6
    assert table["test_error_RMSE"].notna().all()
    again = run(str(tmp_path / "out" / "config.json"))
    assert again.returncode == 2
    assert again.stderr == (
        "sam_dash: mine.py is not one of the problem files here, and is not run: give it by --problem, or name it (or "
        "its folder) in SAM_DASH_PROBLEMS\\n"
    ).replace("\\n", "\n")
    (tmp_path / "bad.py").write_text(FILE.replace("def data", "def date"))
    bad = run("--problem", str(tmp_path / "bad.py"))
    assert (bad.returncode, bad.stderr) == (
        2, "sam_dash: bad.py: no `data`; expected data, network and loss, there is network, loss, defaults\n"
    )  # fmt: skip


def test_an_engine_leaves_runs_on_files_that_are_not_its_own_to_others(file: Path, tmp_path: Path, monkeypatch) -> None:
    store = Store(tmp_path / "s.db")
    leases = Leases(store)
    sweep = said("--problem", str(file), "--variants", "sgd", "--seeds", "0-0")
    store.submit(sweep)
    for elsewhere in ("", str(tmp_path)):
        monkeypatch.setenv(PROBLEMS, elsewhere)
        assert leases.claim("a") == []
    for named in (str(file), str(file.parent)):
        monkeypatch.setenv(PROBLEMS, named)
        assert leases.claim("b") == [sweep.runs()[0].key]
        leases.release(["b"])
    monkeypatch.setenv(PROBLEMS, "")
    store.submit(SweepSpec(variants=("sgd",), seeds=(0,)))
    assert len(leases.claim("c")) == 1, "others are taken"
    store.close()


def test_an_error_in_training_names_the_line_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROBLEMS, str(tmp_path))
    path = tmp_path / "mine.py"
    path.write_text(
        FILE.replace(
            'loss = "mse"',
            "def loss(o, y):\n    if o.abs().max() > 1e-9 and len(o) == 40:\n"
            "        raise KeyError('later')\n    return (o - y).abs().mean(1)\n",
        )
    )
    store = Store(tmp_path / "s.db")
    sweep = said("--problem", str(path), "--variants", "sgd", "--seeds", "0-0")
    store.submit(sweep)
    leases = Leases(store)
    run_group(store.url, leases.claim("a"), "a")
    row = store.run(sweep.runs()[0].key)
    assert row is not None
    assert (row["status"], row["error"]) == ("failed", "mine.py, line 13: KeyError: 'later'")
    store.close()


def test_scores_are_called_by_their_names_and_less_of_an_error_is_better() -> None:
    assert words.quantity("test_error_RMSE").name == "Test RMSE"
    assert words.quantity("clean_train_score_top-5").name == "Clean-label top-5"
    assert [words.better(q) for q in ("test_error_RMSE", "test_score_F1", "gap_score_F1", "train_error_RMSE")] == [
        -1,
        1,
        -1,
        0,
    ]
    assert words.within("test_error_RMSE") == "test RMSE"
    have = {"test_error_RMSE", "train_error_RMSE", "test_loss", "train_loss", "gap_error_RMSE"}
    assert words.all_scored(("tr_H", "test_acc", "gap_acc"), have) == ["tr_H", "test_error_RMSE", "gap_error_RMSE"]
    assert words.scored("test_acc", {"test_loss"}) == "test_loss"
    assert words.scored("test_acc", {"test_acc", "test_error_RMSE"}) == "test_acc"


def test_the_gap_of_a_score_says_how_much_worse_it_is_on_the_test_samples() -> None:
    values = {"train_error_RMSE": 1.0, "test_error_RMSE": 1.5, "train_score_F1": 0.9, "test_score_F1": 0.7}
    finals = pd.DataFrame(
        [{"run": "a", "quantity": q, "value": v, "stderr": 0.0, "method": ""} for q, v in values.items()]
    )
    found = derived.with_gaps(finals).set_index("quantity")["value"]
    assert found["gap_error_RMSE"] == pytest.approx(0.5)
    assert found["gap_score_F1"] == pytest.approx(0.2)
