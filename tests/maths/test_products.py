"""The perceptron's written-out Hessian products, and Lanczos on stacks of them, against the definitions in float64."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths import curvature, lanczos
from sam_dash.maths.fast.curvature import hvp
from sam_dash.maths.fast.passes import Perceptron
from sam_dash.maths.fast.products import Hessian
from sam_dash.maths.flat import losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, LOSSES, Loss
from tests.maths.test_chain import NETWORKS, S, problem


@pytest.fixture(params=LOSSES)
def loss(request) -> Loss:
    return LOSSES[request.param]


@pytest.fixture(params=NETWORKS)
def case(request, loss):
    module, chain, W, batch, _ = problem(request.param, loss)
    plain = [curvature.hvp(losses_fn(module, loss), W[s], (batch[0][s], batch[1][s])) for s in range(S)]
    return Perceptron(chain, loss), W, batch, plain


@pytest.mark.parametrize("k", [1, 3])
def test_products_equal_those_of_autograd(case, k) -> None:
    net, W, batch, plain = case
    V = torch.randn(S, k, W.shape[1]).double()
    product = hvp(net, W, batch)
    torch.testing.assert_close(product(V), torch.stack([plain[s](V[s]) for s in range(S)]))
    torch.testing.assert_close(product.take([2, 0])(V[[2, 0]]), torch.stack([plain[s](V[s]) for s in (2, 0)]))


def test_a_stacks_eigenvalues_are_those_found_one_by_one_and_each_run_stops_by_itself() -> None:
    _, chain, W, batch, _ = problem("wide")
    W = W * torch.tensor([[0.3], [1.0], [3.0]])
    starts = torch.randn(S, W.shape[1]).double()
    together = lanczos.each_top(Hessian.of(chain, CROSS_ENTROPY, W, batch), starts, k=2, tol=1e-4)
    for s in range(S):
        one = slice(s, s + 1)
        product = Hessian.of(chain, CROSS_ENTROPY, W[one], (batch[0][one], batch[1][one]))
        (alone,) = lanczos.each_top(product, starts[one], k=2, tol=1e-4)
        assert [e.value for e in together[s]] == pytest.approx([e.value for e in alone], rel=1e-9)
        assert [e.budget for e in together[s]] == [e.budget for e in alone]
        assert all(e.converged for e in alone)
    assert len({found[0].budget for found in together}) > 1


def test_a_stacks_eigenvalues_are_those_of_the_dense_hessians(loss) -> None:
    module, chain, W, (x, y), _ = problem("narrow", loss)
    found = lanczos.each_top(Hessian.of(chain, loss, W, (x, y)), torch.randn(S, W.shape[1]).double(), tol=1e-7)
    losses = losses_fn(module, loss)
    for s in range(S):
        H = torch.func.hessian(lambda v, s=s: losses(v, (x[s], y[s])).mean())(W[s])
        assert found[s][0].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-6)
