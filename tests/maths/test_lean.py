"""The lean ways of large networks give what the definitions give, in the memory that they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.memory import peak
from sam_dash.maths import curvature
from sam_dash.maths.fast import lean
from sam_dash.maths.fast.lean import Lean
from sam_dash.maths.flat import flatten, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.maths.samples import Stream, cut


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def problem():
    torch.manual_seed(0)
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)).double()
    model[3].bias.requires_grad_(False)
    batch = torch.randn(25, 6).double(), torch.randint(0, 3, (25,))
    w = flatten(model)
    return model, batch, w, curvature.hvp(losses_fn(model), w, batch)


def test_products_are_those_of_the_definition_in_pieces_too_and_nothing_of_the_model_changes(problem) -> None:
    model, batch, w, product = problem
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    V = torch.randn(2, len(w)).double()
    stream = Stream(lambda: iter(cut(batch, 9)), [9, 9, 7])
    for given, chunk in ((batch, None), (batch, 4), (stream, 5)):
        torch.testing.assert_close(Lean(model, CROSS_ENTROPY, given, chunk)(V), product(V))
    into = torch.ones(len(w)).double()
    Lean(model, CROSS_ENTROPY, batch).add(V[0], into)
    torch.testing.assert_close(into, 1 + product(V[:1])[0])
    assert all(bool((p.grad == 1).all()) for p in model.parameters())
    assert torch.equal(flatten(model), w)


def test_the_trace_and_that_of_every_layer_are_those_of_the_dense_hessian(problem, monkeypatch) -> None:
    model, batch, w, _ = problem
    monkeypatch.setattr(lean, "PIECE", 7)
    batch = batch[0][:9], batch[1][:9]
    product = curvature.hvp(losses_fn(model), w, batch)
    H = product(torch.eye(len(w)).double())
    calls = []
    found = Lean(model, CROSS_ENTROPY, batch).trace_by_layer(generator(), 200, lambda: calls.append(1))
    at = 0
    for name, size in Lean(model, CROSS_ENTROPY, batch).layout.sizes().items():
        own = float(H.diagonal()[at : at + size].sum())
        assert abs(found[name].value - own) < 4 * found[name].stderr, name
        at += size
    assert found[""].value == pytest.approx(sum(e.value for k, e in found.items() if k))
    assert abs(found[""].value - float(H.trace())) < 3 * found[""].stderr
    apart = H - H.diagonal().diag()
    assert found[""].stderr == pytest.approx(float(apart.square().sum().mul(2 / 200).sqrt()), rel=0.2)  # of signs
    assert len(calls) == found[""].budget == 200
    with pytest.raises(ValueError, match="at least 2"):
        Lean(model, CROSS_ENTROPY, batch).trace_by_layer(generator(), 1)


def test_lambda_max_is_that_of_the_dense_hessian_to_its_residual(problem) -> None:
    model, batch, w, product = problem
    dense = float(torch.linalg.eigvalsh(product(torch.eye(len(w)).double()))[-1])
    for seed in range(5):
        found = Lean(model, CROSS_ENTROPY, batch).top(generator(seed))
        assert found.converged
        assert abs(found.value - dense) <= found.stderr
    short = Lean(model, CROSS_ENTROPY, batch).top(generator(), iterations=2)
    assert (short.budget, short.converged) == (2, False)


def test_in_float32_over_hundreds_of_steps_it_stays_right() -> None:
    """Where re-orthogonalisation would be missed: many steps beyond the convergence of the largest."""
    d = 300
    q = torch.linalg.qr(torch.randn(d, d, generator=generator()))[0]
    values = torch.cat([torch.linspace(-1, 1, d - 2), torch.tensor([3.0, 10.0])])
    A = q @ torch.diag(values) @ q.T

    class Matrix(Lean):
        def __init__(self) -> None:
            self.layout, self.like = type("Layout", (), {"d": d}), torch.zeros(1)

        def add(self, v, into) -> None:
            into.add_(A @ v)

    found = Matrix().top(generator(), tol=0, iterations=250)
    assert found.budget == 250
    assert found.value == pytest.approx(10.0, rel=1e-5)


def test_wrong_second_derivatives_are_refused(problem) -> None:
    model, batch, _, _ = problem
    Lean(model, CROSS_ENTROPY, batch).check_symmetric(generator())
    wrong = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)).double()
    with pytest.raises(ValueError, match="not symmetric"):
        Lean(nn.Sequential(wrong, nn.Tanh(), nn.Linear(4, 3).double()), CROSS_ENTROPY, batch).check_symmetric(
            generator()
        )


@pytest.mark.parametrize("samples", [64, 512])
def test_trace_and_lambda_max_take_five_copies_of_the_model_beside_it(samples) -> None:
    torch.manual_seed(0)
    hidden = [part for _ in range(6) for part in (nn.Linear(256, 256), nn.Tanh())]
    model = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), *hidden, nn.Linear(256, 5))
    d = sum(p.numel() for p in model.parameters())
    batch = torch.randn(samples, 64), torch.randint(0, 5, (samples,))
    calls = {
        "tr(H)": lambda H: H.trace_by_layer(generator(), 2),
        "lambda_max": lambda H: H.top(generator(), iterations=3),
        "the check": lambda H: H.check_symmetric(generator()),
    }
    for name, call in calls.items():
        copies = peak(lambda call=call: call(Lean(model, CROSS_ENTROPY, batch))) / (4 * d)
        assert copies < 4.5, f"{name}: {copies:.2f}"
