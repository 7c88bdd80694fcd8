"""`python -m sam_dash audit`: its exit codes, its JSON, torchrun, and refusals of one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam_dash.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = f"{ROOT / 'examples/audited_loop.py'}:audited"
REFUSED = {
    "train.py": "expected SCRIPT.py:FUNCTION",
    "none.py:audited": "no such file",
    "own.py:other": "has no function 'other'",
    "own.py:nothing": "returns NoneType",
    "own.py:no_step": "no step of a torch optimiser over this model's parameters was seen",
    "own.py:frozen": "no parameter of the model requires a gradient",
}
OWN = """
import torch
def nothing(): pass
def no_step():
    model = torch.nn.Linear(2, 2)
    return model, None, lambda: model(torch.ones(3, 2)).sum().backward()
def frozen():
    model = torch.nn.Linear(2, 2).requires_grad_(False)
    return model, None, lambda: None
"""


def test_one_process_is_green_and_another_m_than_expected_is_red(capsys) -> None:
    assert main(["audit", EXAMPLE, "--expect-m", "16", "--expect-rho", "0.05"]) == 0
    text = capsys.readouterr().out
    assert "3 steps on 1 process" in text
    assert "red" not in text
    assert main(["audit", EXAMPLE, "--expect-m", "8", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["m"], found["light"], found["lines"][0]["expected"]) == (16, "red", "m = 8")
    assert main(["audit", EXAMPLE, "--expect-rho", "0.1"]) == 1
    assert "expected ρ = 0.1" in capsys.readouterr().out


def test_under_torchrun_the_copied_recipe_is_found_to_perturb_by_the_global_batch() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "sam_dash", "audit", EXAMPLE, "--expect-m", "16"], cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("3 steps on 2 ranks") == 1, "said once"
    assert "32, the forward before it of all 2 ranks (the global batch: 2 ranks of 16)" in " ".join(done.stdout.split())
    assert "put the first forward *and* backward inside no_sync()" in " ".join(done.stdout.split())


@pytest.mark.parametrize("target", REFUSED)
def test_what_cannot_be_watched_is_refused_in_one_line(target: str, tmp_path, capsys) -> None:
    (tmp_path / "own.py").write_text(OWN)
    file = target if "none" in target or ":" not in target else str(tmp_path / target)
    drawn = torch.get_rng_state()
    assert main(["audit", file]) == 2
    said = capsys.readouterr().err
    assert REFUSED[target] in said
    assert said.count("\n") == 1
    assert torch.equal(drawn, torch.get_rng_state()) or "own" in target
