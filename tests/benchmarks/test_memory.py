"""Memory: m-SAM takes a stated multiple of an SGD step's, and measurements take pieces of a stated size."""

from __future__ import annotations

import pytest
import torch

from benchmarks.memory import LIMIT, peak, step
from benchmarks.problems import NETWORKS, problem
from benchmarks.problems import spec as run_of
from sam_dash.maths import curvature
from sam_dash.maths.fast import passes
from sam_dash.maths.fast.measurer import measurer
from sam_dash.runs import steppers
from sam_dash.runs.loop import steps


def test_the_peak_is_what_lives_at_once() -> None:
    def call() -> None:
        a = torch.zeros(1000)
        b = a + 1  # 8000 bytes
        del a
        b.view(10, 100).mul_(2)
        b.sum()

    assert peak(call) == 8000


@pytest.mark.parametrize("name", NETWORKS)
def test_exact_m_sam_at_m_1_takes_at_most_the_stated_multiple_of_an_sgd_step(name) -> None:
    make, shape, B = NETWORKS[name]
    P = problem(make(), shape, 2 * B)
    assert peak(step(P, "sam", 1, B)) < LIMIT * peak(step(P, "sgd", None, B))


def test_the_definition_takes_micro_batches_in_chunks(monkeypatch) -> None:
    make, shape, B = NETWORKS["MLP 40-128-128-10"]
    P = problem(make(), shape, 2 * B)
    specs = [run_of("sam", 1, B)]

    def found() -> int:
        loop = steps(P, specs, steppers.vmapped(P, specs))
        return peak(lambda: next(loop))

    whole = found()
    assert whole > B * 4 * P.w0.numel()  # B copies of the weights
    monkeypatch.setattr(steppers, "STEP_FLOATS", 4 * P.w0.numel())
    assert found() < whole / 8


@pytest.mark.parametrize("name", ["MLP 40-128-128-10", "CNN"])
def test_measurements_take_no_more_memory_for_more_samples_than_a_piece_holds(name, monkeypatch) -> None:
    make, shape, _ = NETWORKS[name]
    P = problem(make(), shape, 160)
    way, v = measurer(P.module, P.loss, P.w0[0], P.x[:1]), torch.randn(1, 1, P.w0.shape[1])
    for module in (curvature, passes):
        monkeypatch.setattr(module, "ELEMENTS", 20 * way.floats(P.w0, P.x[None]))
    calls = {
        "tr(V)": lambda at: way.noise(P.w0, at, m=(1, 4)),
        "tr(H)": lambda at: way.ggn_trace(P.w0, at),
        "a product": lambda at: way.hvp(P.w0, at)(v),
    }
    for what, call in calls.items():
        few, many = (peak(lambda n=n, call=call: call((P.x[None, :n], P.y[:, :n]))) for n in (40, 160))
        assert many < 1.3 * few, what
