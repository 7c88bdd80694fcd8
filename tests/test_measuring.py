"""`python -m sam_dash measure`: numbers of the library on a problem file, a run, a built-in; refusals; Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from sam_dash import api, measuring
from sam_dash.cli import main
from sam_dash.problems.problem import Problem
from sam_dash.runs.spec import Measures, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.worker import run_group

ROOT = Path(__file__).parents[1]
FILE = """
import torch
g = torch.Generator().manual_seed(0)
def data():
    x, y = torch.randn(60, 5, generator=g), torch.randint(0, 3, (60,), generator=g)
    return x[:40], y[:40], x[40:], y[40:]
def network():
    return torch.nn.Sequential(torch.nn.Linear(5, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 3))
loss = "cross_entropy"
"""


@pytest.fixture
def problem(tmp_path) -> Path:
    (tmp_path / "mine.py").write_text(FILE.replace("WIDTH", "6"))
    torch.manual_seed(0)
    model = network()
    torch.save({"state_dict": {f"module.{k}": t for k, t in model.state_dict().items()}}, tmp_path / "w.pt")
    return tmp_path / "mine.py"


def network(width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))


def test_the_table_has_the_numbers_of_the_library_with_errors_and_the_price_first(problem, capsys) -> None:
    what = "tr_H,lam_max,m_sharp,tr_V"
    asked = ["measure", str(problem), "--weights", str(problem.parent / "w.pt"), "--what", what, "--m", "1,8"]
    assert main([*asked, "--json"]) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert said.splitlines()[0] == "mine.py: 57 parameters, the first 40 train samples"
    assert said.splitlines()[1].startswith("at most 228 Hessian-vector products of about ")
    torch.manual_seed(0)
    model, space = network(), {}
    exec(FILE.replace("WIDTH", "6"), space)
    x, y, *_ = space["data"]()
    expected = api.measure(model, x, y, tuple(what.split(",")), m=(1, 8))
    for key, e in expected.items():
        row = found["quantities"][key]
        assert (row["value"], row["stderr"]) == pytest.approx((e.value, e.stderr)), key
    loss = nn.functional.cross_entropy(model(x), y, reduction="none").detach()
    assert found["quantities"]["loss"]["value"] == pytest.approx(float(loss.mean()))
    assert found["quantities"]["loss"]["stderr"] == pytest.approx(float(loss.std() / 40**0.5))
    assert main([*asked, "--split", "test"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["quantity", "value", "error", "converged", "budget", "method"]
    assert [row.split()[0] for row in rows] == [*found["quantities"]]


def test_a_part_alone_is_measured_and_what_has_not_converged_is_said(problem, capsys) -> None:
    asked = ["measure", str(problem), "--weights", str(problem.parent / "w.pt"), "--params", "2", "--what", "lam_max"]
    assert main([*asked, "--iterations", "1"]) == 0
    out, said = capsys.readouterr()
    assert "21 parameters" in said
    assert "not converged: lam_max; more --iterations" in said
    assert " NO " in out


def test_a_run_of_the_store_is_measured_as_it_was_at_its_end(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    with_trace = Measures(what=("trace",))
    sweep = SweepSpec(variants=("sgd",), seeds=(3,), problem=Problem(n_train=64, network="mlp:4", label_noise=0.3),
                      training=Training(batch=32, epochs=2), measures=with_trace)  # fmt: skip
    store = Store()
    store.submit(sweep)
    (run,) = sweep.runs()
    with store.write() as c:
        from sqlalchemy import update

        from sam_dash.runs.tables import runs

        c.execute(update(runs).values(status="running", claim="me"))
    run_group(store.url, [run.key], "me")
    recorded = {r["quantity"]: r["value"] for r in store.measurements(final=True)}
    store.close()
    assert main(["measure", run.key, "--what", "tr_H", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["quantities"]
    assert found["tr_H"]["value"] == pytest.approx(recorded["tr_H"], rel=1e-5)
    assert found["loss"]["value"] == pytest.approx(recorded["train_loss"], rel=1e-5)
    assert found["acc"]["value"] == pytest.approx(recorded["train_acc"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["mine.py"], "no weights: pass --weights FILE"),
        (["mine.py", "--weights", "other.pt"], "other.pt has the weights of another network; 0.weight is (7, 5)"),
        (["mine.py", "--weights", "gone.pt"], "no file 'gone.pt'"),
        (["mine.py", "--weights", "w.pt", "--what", "flatness"], "unknown quantity 'flatness'; known: tr_H"),
        (["mine.py", "--weights", "w.pt", "--params", "head"], "begins with 'head'; its parts are 0, 2"),
        (["mine.py", "--weights", "w.pt", "--what", "m_sharp", "--m", "a"], "expected whole numbers, such as 1,8,64"),
        (["mine.py", "--weights", "w.pt", "--dataset", "digits"], "expected one or the other"),
        (["0123456789ab"], "neither a problem file (.py) nor a run of this store"),
        (["--weights", "w.pt"], "give a problem file, a run's key, or --dataset and --network"),
        (["--dataset", "digits", "--network", "mlp:4", "--weights", "w.pt"], "weights of another network"),
    ],
)
def test_bad_words_are_one_clear_line(words, why, problem, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.chdir(problem.parent)
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    torch.save(network(7).state_dict(), "other.pt")
    assert main(["measure", *words]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("sam_dash: ")
    assert why in last


def test_a_problem_file_that_is_wrong_is_one_line_with_its_own_line_number(problem, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SAM_DASH_PROBLEM_SECONDS", "0.3")
    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    text = FILE.replace("WIDTH", "4")
    for wrong, why in (
        (text.replace("def data", "def date"), "bad.py: no `data`; expected data, network and loss"),
        (text.replace("def network():", "def network():\n    raise KeyError('x')"), ": network(): KeyError: 'x'"),
        (text.replace('loss = "cross_entropy"', "loss = lambda o, y: o.mean()"), "expected one number a sample"),
        ("while True:\n    pass\n" + text, "bad.py, line 1: TimeoutError: it is still at this after 0.3 s"),
        (
            text.replace("def data():", "def data():\n    while True:\n        x = 1"),
            "data(): TimeoutError: it",
        ),
    ):
        bad = problem.parent / "bad.py"
        bad.write_text(wrong)
        assert main(["measure", str(bad), "--weights", str(problem.parent / "w.pt")]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("sam_dash: bad.py")
        assert why in line
    assert signal.getsignal(signal.SIGALRM) == before
    assert bool(signal.getitimer(signal.ITIMER_REAL)[0]) == bool(timer[0]), "whoever had set one has it again"


def test_ctrl_c_ends_it_with_one_line_and_130(tmp_path) -> None:
    (tmp_path / "wide.py").write_text(FILE.replace("WIDTH", "800"))
    torch.save(network(800).state_dict(), tmp_path / "w.pt")
    command = [sys.executable, "-m", "sam_dash", "measure", "wide.py", "--weights", "w.pt", "--probes", "1000000"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first = [process.stderr.readline() for _ in range(2)]
    assert "Hessian-vector products" in first[1]
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert [line for line in said.splitlines() if "products, at most" not in line] == ["interrupted"]


def test_progress_is_one_line_of_a_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = measuring._Bar()
    for done in range(3):
        bar("tr_H", done, 128)
    bar("m_sharp", 0, 0)
    bar.close()
    said = capsys.readouterr().err
    assert "\n" not in said
    assert "tr_H: 0 of 128 products" in said
    assert said.endswith("\r\x1b[K")
