"""Every variant in training proper: seeds stacked, with its state, on either path; and a variant of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_dash.maths.fast.chain import Chain, chain_step
from sam_dash.maths.fast.eager import EagerOracle
from sam_dash.maths.fast.factored import factored_step
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.fast.unformed import NotFactoredError, formed
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.problems.stack import long_tail
from sam_dash.runs.spec import Measures, Problem, RunSpec, SpecError, SweepSpec, Training, from_dict
from sam_dash.runs.train import train
from sam_dash.variants import REGISTRY, get
from tests.helpers import knobs, mlp, oracle, walk

ROOT = Path(__file__).parents[2]


def spec(key, seed=0, m=None, **changed):
    v = get(key)
    chosen = {"rho": 0.05} | changed if "rho" in v.knobs else {}
    problem = Problem(network="mlp:8", n_train=160)
    return RunSpec(
        variant=key, seed=seed, m=m, knobs=chosen, problem=problem, training=Training(batch=32, epochs=3, lr=0.05),
        measures=Measures(what=()),
    )  # fmt: skip


@pytest.mark.parametrize("key", REGISTRY)
def test_a_seed_trains_the_same_alone_and_beside_others(key) -> None:
    m = 8 if get(key).uses_m else None
    alone, beside = train([spec(key, 1, m)], lambda r: set()), train([spec(key, s, m) for s in (0, 1)], lambda r: set())
    assert alone[0].status == "done"
    np.testing.assert_allclose(alone[0].weights, beside[1].weights, rtol=2e-4, atol=2e-5)
    if get(key).in_one_pass(m, 32):
        assert alone[0].path == "chain"
    else:
        assert alone[0].path == ("eager" if m is None else "vmapped")


@pytest.mark.parametrize("key", [k for k, v in REGISTRY.items() if v.uses_m])
@pytest.mark.parametrize("t", [0, 1])
def test_the_fast_path_is_right_or_refused(key, t) -> None:
    v = get(key)
    L, w = oracle(v=v)
    torch.manual_seed(0)
    step = factored_step(v.step, 4, Taps(mlp(5, 7, 3)), CROSS_ENTROPY)
    L = type(L)(L.losses_fn, L.batch, L.noise, t=t, counts=L.counts, layout=L.layout)
    s = v.init(w)
    if v.factored:
        truth = per_micro_batch(v.step, 4)(L, w, s, **knobs(v))
        torch.testing.assert_close(step(L, w, s, **knobs(v)).h, truth.h)
    else:
        with pytest.raises(NotFactoredError):
            step(L, w, s, **knobs(v))


@pytest.mark.parametrize("key", REGISTRY)
@pytest.mark.parametrize("m", [4, 24])
@pytest.mark.parametrize("t", [0, 1])
def test_the_written_out_pass_is_right_or_refused(key, m, t) -> None:
    """A stack of two: each run's h and ||eps|| are those of the definition, or the variant is refused."""
    v = get(key)
    L, w = oracle(v=v)
    torch.manual_seed(0)
    chain = Chain.of(mlp(5, 7, 3))
    L = replace(L, t=t)
    W = torch.stack([w, w + 0.05])
    both = Oracle(
        L.losses_fn, tuple(torch.stack([a, a.flip(0)]) for a in L.batch), torch.stack([L.noise] * 2), t=t,
        full=Oracle(L.losses_fn, tuple(torch.stack([a, a]) for a in L.full.batch)), counts=L.counts, layout=L.layout,
    )  # fmt: skip
    try:
        out = chain_step(v.step, m, chain, CROSS_ENTROPY)(both, W, v.init(w), **knobs(v))
    except NotFactoredError:
        assert not v.in_one_pass(m, 24)
        return
    assert v.in_one_pass(m, 24)
    for i in range(2):
        one = replace(L, batch=tuple(a[i] for a in both.batch))
        truth = per_micro_batch(v.step, m)(one, W[i], v.init(w), **knobs(v))
        torch.testing.assert_close(out.h[i], truth.h)
        torch.testing.assert_close(formed(out.g)[i], truth.g)
        norms = out.eps.norm(dim=-1).reshape(2, -1)[i]
        torch.testing.assert_close(norms.mean(), truth.eps.norm(dim=-1).mean())


@pytest.mark.parametrize("key", REGISTRY)
@pytest.mark.parametrize("t", [0, 1])
def test_plain_autograd_is_right_or_refused(key, t) -> None:
    v = get(key)
    L, w = oracle(v=v)
    s, L = v.init(w), replace(L, t=t)
    eager = EagerOracle(**{**vars(L), "full": EagerOracle(L.full.losses_fn, L.full.batch)})
    try:
        out = v.step(eager, w, s, **knobs(v))
    except NotFactoredError:
        return
    truth = v.step(L, w, s, **knobs(v))
    torch.testing.assert_close(out.h, truth.h)
    torch.testing.assert_close(out.eps, truth.eps)


@pytest.mark.parametrize("ascents", [2, 3, 4])
def test_the_fast_path_refuses_every_number_of_ascents(ascents) -> None:
    v = get("multisam")
    L, w = oracle()
    torch.manual_seed(0)
    with pytest.raises(NotFactoredError):
        factored_step(v.step, 4, Taps(mlp(5, 7, 3)), CROSS_ENTROPY)(L, w, (), rho=0.1, ascents=ascents)


def test_a_variant_with_its_own_descent_takes_no_momentum() -> None:
    plain, heavy = (
        train([RunSpec(variant="adasam", problem=Problem(network="mlp:8", n_train=160), measures=Measures(what=()),
                       training=Training(batch=32, epochs=2, momentum=mu))], lambda r: set())[0].weights
        for mu in (0.0, 0.9)
    )  # fmt: skip
    np.testing.assert_array_equal(plain, heavy)


def test_walk_gives_each_step_other_samples_and_its_number() -> None:
    a, b = walk(get("sgd"), *oracle(), 2)
    assert not torch.equal(a.g, b.g)


def test_a_long_tail_keeps_exponentially_fewer_of_each_class_and_the_order() -> None:
    y = np.tile(np.arange(4), 100)
    kept = long_tail(y, 8.0, 4)
    assert np.bincount(y[kept]).tolist() == [100, 50, 25, 12]
    assert (np.diff(kept) > 0).all()
    assert long_tail(y, 1.0, 4).tolist() == list(range(400))


def test_a_long_tailed_run_reports_the_accuracy_of_every_class() -> None:
    problem = Problem(network="mlp:8", imbalance=20)
    run = RunSpec(
        variant="focalsam", problem=problem, training=Training(batch=32, epochs=2), measures=Measures(what=())
    )
    rows = []
    train([run], lambda r: rows.extend(r.measurements[0]) or set())
    last = {row.quantity: row for row in rows if row.step == max(r.step for r in rows)}
    classes = [last[f"test_acc@class={c}"] for c in range(10)]
    sizes = np.array([row.budget for row in classes])
    assert sizes.sum() == 797
    mean = sum(row.value * row.budget for row in classes) / 797
    assert mean == pytest.approx(last["test_acc"].value)
    assert last["train_loss"].budget == pytest.approx(problem.samples, abs=5)


def test_the_keys_of_balanced_runs_are_those_of_before_and_an_imbalance_has_one_of_its_own() -> None:
    run = RunSpec(variant="sam", knobs={"rho": 0.1})
    assert run.key == "14cbc25e1c43"
    assert "imbalance" not in run.to_dict()["problem"]
    tail = RunSpec(variant="sam", knobs={"rho": 0.1}, problem=Problem(imbalance=10))
    assert tail.key != run.key
    assert from_dict(RunSpec, tail.to_dict()) == tail
    assert from_dict(SweepSpec, SweepSpec(problem=Problem(imbalance=10)).to_dict()).problem.imbalance == 10


@pytest.mark.parametrize("imbalance", [0, 0.5, float("inf"), "much"])
def test_an_imbalance_below_one_is_refused(imbalance) -> None:
    with pytest.raises(SpecError, match="imbalance"):
        Problem(imbalance=imbalance)


def test_a_long_tail_shorter_than_a_batch_is_refused() -> None:
    with pytest.raises(SpecError, match="fewer than one batch"):
        RunSpec(variant="sam", problem=Problem(n_train=100, imbalance=100))


EVERYWHERE = """
from docs.generate import variants
from sam_dash import cli, results, ui
from sam_dash.results import words
from sam_dash.results.drawing import style
from sam_dash.runs.presets import get
from sam_dash.runs import cost
from sam_dash.runs.spec import RunSpec, SweepSpec, Training
from sam_dash.ui import fields
from sam_dash.variants import REGISTRY
page = variants()
assert "[Half SAM](#half-sam)" in page and "`part`" in page
assert fields.values_of(get("digits").sweep)["part"] == "0.5"
assert "part" in fields.knobs_of(["halfsam"])
values = fields.values_of(get("digits").sweep) | {"variants": ["halfsam"], "part": "0.2, 0.4"}
assert {r.knobs["part"] for r in fields.sweep(values, get("digits").sweep).runs()} == {0.2, 0.4}
halves = [RunSpec(variant="halfsam", m=m, training=Training(epochs=e)) for m, e in ((8, 1), (8, 2), (None, 1))]
once, twice, whole = map(cost.gradients, halves)
assert 0 < once == whole == twice / 2 and cost.preview(SweepSpec(variants=("halfsam",)), {}).grad_evals > 0
look = style.look("halfsam")
assert look.colour == style.BASES["sam"].colour and words.title("halfsam") == "Half SAM"
assert all(look.marker != style.look(k).marker for k in REGISTRY if k != "halfsam") and look != style.OTHER
"""


def test_a_variant_by_the_steps_of_contributing_is_one_everywhere_and_passes_the_common_tests(tmp_path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("## Add a variant")[2].partition("\n## ")[0]
    (code,), (command,) = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "bash"))
    (tmp_path / "halfsam.py").write_text(code)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"SAM_DASH_VARIANTS": str(tmp_path), "PATH": path}
    seen = subprocess.run([sys.executable, "-c", EVERYWHERE], cwd=ROOT, env=env, check=False, capture_output=True)
    assert seen.returncode == 0, seen.stderr.decode()
    out = subprocess.run(command, shell=True, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout
    assert int(re.search(r"(\d+) passed", out.stdout)[1]) >= 25
    help_ = [sys.executable, "-m", "sam_dash", "run", "--help"]
    assert "halfsam" in subprocess.run(help_, cwd=ROOT, env=env, check=False, capture_output=True, text=True).stdout
