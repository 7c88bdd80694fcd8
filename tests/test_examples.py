"""The examples train, on the packages that they name and what these need."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from tests.test_package import ROOT, environment, lend, needed

OPTIONS = {
    "plain_loop": {},
    "lightning_module": {"accelerator": "cpu", "precision": "bf16-mixed"},
    "accelerate_loop": {"cpu": True, "mixed_precision": "bf16"},
}
CODE = """
import importlib, json, sys
for name, options in json.loads(sys.argv[1]).items():
    print(name, importlib.import_module(name).main(**options))
"""


@pytest.fixture(scope="module")
def accuracies(tmp_path_factory) -> dict[str, float]:
    """What each example's `main` returns, all in one process: most of their time is imports."""
    folder = tmp_path_factory.mktemp("examples")
    lend(needed(["torch", "numpy", "lightning", "accelerate"]), environment(folder / "env"))
    call = [folder / "env" / "bin" / "python", "-c", CODE, json.dumps(OPTIONS)]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}"}
    ran = subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = re.findall(rf"^({'|'.join(OPTIONS)}) (\S+)$", ran.stdout, flags=re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_example_trains(accuracies, name) -> None:
    assert accuracies[name] > 0.9  # chance: at most 1/3


def test_every_example_is_run_and_linked_in_the_readme() -> None:
    files = sorted((ROOT / "examples").glob("*.py"))
    assert {path.stem for path in files} == set(OPTIONS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in files if f"(examples/{path.name})" not in readme] == []
