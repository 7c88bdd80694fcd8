"""Noise and tr(GGN) from ghost norms, of one run and of stacks, against their definitions in float64."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths import curvature
from sam_dash.maths.fast import noise as ghost
from sam_dash.maths.fast.passes import Perceptron, Tapped, net
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.flat import Layout, cross_entropies, logits
from tests.maths import test_chain, test_factored

N = 50
SIZES = (1, 2, 3, 12)
CASES = [f"taps, {name}" for name in test_factored.NETWORKS] + [f"stack, {name}" for name in test_chain.NETWORKS]


def problem(case: str):
    """The module, how it is passed, W (S, d), samples (S, n, ...), (S, n)."""
    kind, name = case.split(", ")
    if kind == "taps":
        module, w, _, _ = test_factored.problem(name)
        return module, Tapped(Taps(module)), w[None], samples(1, test_factored.NETWORKS[name][1])
    module, chain, W, (x, _), _ = test_chain.problem(name)
    return module, Perceptron(chain), W, samples(len(W), x.shape[2:])


def samples(S: int, shape):
    return torch.randn(S, N, *shape).double(), torch.randint(0, 3, (S, N))


def generators(S: int):
    return [torch.Generator().manual_seed(s) for s in range(S)]


@pytest.fixture(params=[False, True], ids=["one piece", "pieces"])
def _pieces(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(ghost, "ELEMENTS", 1)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("case", CASES)
def test_the_noise_is_that_of_per_sample_gradients(case) -> None:
    module, way, W, (x, y) = problem(case)
    fast = ghost.noise(way, W, (x, y), m=SIZES, generators=generators(len(W)))
    sizes = Layout.of(module).sizes()
    for s, g in enumerate(generators(len(W))):
        plain = ghost.plain_noise(cross_entropies(module), W[s], (x[s], y[s]), sizes, SIZES, g)
        for m in SIZES:
            assert fast[s].by_m[m].value == pytest.approx(plain.by_m[m].value, rel=1e-9)
            assert fast[s].by_m[m].stderr == pytest.approx(plain.by_m[m].stderr, rel=0.05)  # theirs: each m's own mean
            assert (fast[s].by_m[m].budget, fast[s].by_m[m].method) == (plain.by_m[m].budget, plain.by_m[m].method)
        for layer, truth in zip(fast[s].by_layer, plain.by_layer, strict=True):
            assert layer.value == pytest.approx(truth.value, rel=1e-8, abs=1e-12)
            assert layer.stderr == pytest.approx(truth.stderr, rel=1e-6, abs=1e-12)
            assert (layer.budget, layer.method) == (truth.budget, truth.method)
        assert sum(e.value for e in fast[s].by_layer) == pytest.approx(fast[s].by_m[1].value, rel=1e-9)
        assert fast[s].grad_sq.value == pytest.approx(plain.grad_sq.value, rel=1e-9, abs=1e-12)
        assert fast[s].grad_sq.stderr == pytest.approx(plain.grad_sq.stderr, rel=1e-8)
        assert fast[s].grad_sq.method == plain.grad_sq.method
        torch.testing.assert_close(fast[s].deviations.sort()[0], plain.deviations.sort()[0], rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("case", CASES)
def test_the_trace_of_the_ggn_is_that_of_per_sample_gradients(case) -> None:
    module, way, W, (x, y) = problem(case)
    found = ghost.ggn_trace(way, W, (x, y))
    for s in range(len(W)):
        plain = curvature.ggn_trace(cross_entropies(module), logits(module), W[s], (x[s], y[s]))
        assert found[s].value == pytest.approx(plain.value, rel=1e-10)
        assert (found[s].stderr, found[s].budget, found[s].method) == (0, N, plain.method)


def test_a_perceptron_is_passed_as_a_stack_and_other_networks_by_taps() -> None:
    assert isinstance(net(test_chain.NETWORKS["wide"]()), Perceptron)
    module, _, _, _ = test_factored.problem("cnn")
    assert isinstance(net(module), Tapped)


def test_an_m_without_two_groups_is_refused() -> None:
    _, way, W, batch = problem("stack, wide")
    with pytest.raises(ValueError, match="m = 26: expected between 1 and n/2 = 25"):
        ghost.noise(way, W, batch, m=(1, 26))
