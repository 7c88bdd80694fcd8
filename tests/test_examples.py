"""The examples train, on the packages that they name and what these need."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from sam_dash import options
from sam_dash.problems import card, listing
from sam_dash.problems.own import load
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs import checkpoints, describe
from sam_dash.runs.report import Report
from sam_dash.runs.spec import Measures
from sam_dash.runs.store import Store
from sam_dash.runs.train import train
from tests.test_package import ROOT, environment, lend, needed

OPTIONS = {
    "plain_loop": {},
    "lightning_module": {"accelerator": "cpu", "precision": "bf16-mixed"},
    "accelerate_loop": {"cpu": True, "mixed_precision": "bf16"},
    "recorded_loop": {},
    "recorded_lightning": {"accelerator": "cpu"},
}
PROBLEMS = ("image_problem", "text_problem", "regression_problem")
CODE = """
import importlib, json, sys
for name, options in json.loads(sys.argv[1]).items():
    print(name, importlib.import_module(name).main(**options))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[dict[str, float], dict[str, Study]]:
    """What each example's `main` returns, all in one process: most of their time is imports; the studies recorded."""
    folder = tmp_path_factory.mktemp("examples")
    lend(needed(["torch", "numpy", "SQLAlchemy", "lightning", "accelerate"]), environment(folder / "env"))
    call = [folder / "env" / "bin" / "python", "-c", CODE, json.dumps(OPTIONS)]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}", "SAM_DASH_STORE": str(folder / "store.db")}
    ran = subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = re.findall(rf"^({'|'.join(OPTIONS)}) (\S+)$", ran.stdout, flags=re.MULTILINE)
    with closing(Store(folder / "store.db")) as store:
        kept = {study.name: study for row in store.sweeps() if (study := studies.from_store(store, row["id"]))}
    return {name: float(value) for name, value in found}, kept


@pytest.mark.parametrize("name", OPTIONS)
def test_an_example_trains(made, name) -> None:
    assert made[0][name] > 0.9  # chance: at most 1/3


def test_the_examples_that_record_leave_studies_with_curves_and_sharpness(made) -> None:
    loop, trainer = made[1]["my loop · mlp:32"], made[1]["lightning"]
    assert sorted(loop.runs["m"]) == [8, 64]
    for study in (loop, trainer):
        assert set(study.runs["status"]) == {"done"}
        assert {"train_loss", "test_acc", "tr_H", "lam_max", "tr_V", "eps_norm", "cos_gh"} <= set(
            study.finals["quantity"]
        )


def test_of_two_ranks_that_record_the_first_writes_and_none_waits_for_ever(tmp_path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    call = [*torchrun, str(ROOT / "examples" / "recorded_ranks.py"), str(tmp_path / "store.db")]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(call, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    with closing(Store(tmp_path / "store.db")) as store:
        (row,) = store.runs()
        losses = [m["step"] for m in store.measurements(keys=[row["key"]], quantities=["train_loss"])]
        sharp = [m["step"] for m in store.measurements(keys=[row["key"]], quantities=["tr_H"])]
        (saved,) = checkpoints.listed(store)
    assert (row["status"], row["step"]) == ("done", 32)
    assert losses == list(range(1, 33))
    assert sharp == [8, 16, 24, 32]
    assert saved.step == 32


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_example_of_a_problem_file_trains_and_is_measured(name, tmp_path, monkeypatch) -> None:
    """By its own defaults but for the epochs, at its smallest m."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(listing.PROBLEMS, str(ROOT / "examples"))
    own = load(ROOT / "examples" / f"{name}.py")
    made = {"card": vars(describe.describe(own, 0.0)), "files": list(map(str, own.files))}
    monkeypatch.setattr(card, "describe", lambda _: made)
    sweep = options.of_problem(own.path)
    spec = replace(sweep.runs()[-1], training=replace(sweep.training, epochs=2), measures=Measures(what=("noise",)))
    seen: dict[str, list[float]] = {}

    def listen(report: Report) -> set[int]:
        for m in report.measurements[0]:
            seen.setdefault(m.quantity, []).append(m.value)
        return set()

    assert (spec.variant, spec.m) == ("sam", 1)
    assert [outcome.status for outcome in train([spec], listen, "cpu")] == ["done"]
    assert len(seen["train_loss"]) == 3, "before training, and after each epoch"
    assert min(seen["train_loss"][1:]) < seen["train_loss"][0]
    assert f"test_{spec.problem.score}" in seen
    assert seen["tr_V"][-1] > 0


def test_every_example_is_run_and_linked_in_the_readme() -> None:
    files = sorted((ROOT / "examples").glob("*.py"))
    assert {path.stem for path in files} == {*OPTIONS, *PROBLEMS, "recorded_ranks", "audited_loop"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in files if f"(examples/{path.name})" not in readme] == []
