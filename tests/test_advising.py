"""`python -m sam_dash devices`: its table and JSON, at weights and without, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sam_dash.cli import main

PROBLEM = """
import torch

def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=g)
    return x[:48], x[:48].sum(1), x[48:], x[48:].sum(1)

def network():
    return torch.nn.Linear(4, 1)

loss = "mse"
"""


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    path = tmp_path / "mine.py"
    path.write_text(PROBLEM)
    return path


def test_the_numbers_are_those_of_the_samples_gradients(problem, tmp_path, capsys) -> None:
    torch.manual_seed(1)
    model = nn.Linear(4, 1)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    call = ["devices", str(problem), "--weights", str(tmp_path / "w.pt"), "--ranks", "4", "--batch", "16", "--json"]
    assert main(call) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))[:48]
    each = []
    for a in x:
        grads = torch.autograd.grad((model(a) - a.sum()).square().sum(), list(model.parameters()))
        each.append(torch.cat([g.flatten() for g in grads]))
    g = torch.stack(each)
    V = float(g.var(0).sum())
    G = float(g.mean(0).square().sum()) - V / len(g)
    assert (found["tr_V"][0], found["grad_sq"][0]) == (pytest.approx(V, rel=1e-4), pytest.approx(G, rel=1e-4))
    assert [row["m"] for row in found["sizes"]] == [16, 8, 4, 2, 1]
    assert [row["kind"] for row in found["sizes"]] == ["global", "groups", "local", "local", "local"]
    last = found["sizes"][-1]
    assert last["strength"][0] == pytest.approx(((G + V) / (G + V / 16)) ** 0.5, rel=1e-4)
    assert last["rho"][0] * last["strength"][0] == pytest.approx(0.05)
    assert last["rho"][1] < last["rho"][0] < last["rho"][2]
    assert [row["bytes"] for row in found["sizes"]] == [2 * 5 * 4, 2 * 5 * 4, 5 * 4, 5 * 4, 5 * 4]


def test_without_weights_it_says_so_and_the_trial_it_names_is_a_sweep(problem, capsys) -> None:
    assert main(["devices", str(problem), "--ranks", "2", "--batch", "8", "--form", "usam"]) == 0
    out, err = capsys.readouterr()
    assert "at the initial weights" in err
    assert "2 ranks together" in out
    command = out.splitlines()[-1]
    assert command.startswith("python -m sam_dash run --problem ")
    assert "--variants sgd,usam --batch 8 --m 8,2,1 --rho 0.05," in command


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--ranks", "3"], "3 ranks do not divide the batch of 64"),
        (["--rho", "0"], "--rho 0"),
        (["--rho", "nan"], "--rho nan"),
    ],
)
def test_what_cannot_be_is_one_line(problem, more, said, capsys) -> None:
    assert main(["devices", str(problem), *more]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
