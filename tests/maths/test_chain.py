"""The perceptron's written-out passes against the definition, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sam_dash.maths.fast.chain import Chain, chain_or_none, chain_step
from sam_dash.maths.fast.chain_parts import Gradient, Part
from sam_dash.maths.fast.unformed import NotFactoredError, formed
from sam_dash.maths.flat import flatten, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, LOSSES, Loss
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.variants import get
from tests.helpers import labels, mlp

S, B = 3, 12
NETWORKS = {
    "wide": lambda: mlp(9, 20, 3),
    "wider than the training set": lambda: mlp(50, 70, 3),
    "narrow": lambda: mlp(2, 3, 2, 3),
    "no biases": lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)).double(),
    "images": lambda: nn.Sequential(nn.Flatten(), *mlp(12, 30, 30, 3)),
    "linear": lambda: mlp(4, 3),
}


@pytest.fixture(params=LOSSES)
def loss(request) -> Loss:
    return LOSSES[request.param]


def problem(name: str, loss: Loss = CROSS_ENTROPY):
    torch.manual_seed(0)
    module = NETWORKS[name]()
    W = flatten(module) + 0.2 * torch.randn(S, len(flatten(module)), dtype=torch.float64)
    chain = Chain.of(module)
    inputs = chain.shapes[0][1]
    shape = (1, 3, inputs // 3) if name == "images" else (inputs,)
    x, y = torch.randn(S, 2 * B, *shape, dtype=torch.float64), labels(loss, S, 2 * B)
    noise = 2.0 * torch.randint(0, 2, (S, 1, W.shape[1])).double() - 1
    return module, chain, W, (x, y), noise


def both(loss: Loss, name: str, key: str, m: int, **knobs):
    module, chain, W, (x, y), noise = problem(name, loss)
    losses, step = losses_fn(module, loss), get(key).step
    batch = x[:, :B], y[:, :B]
    fast = chain_step(step, m, chain, loss)(Oracle(losses, batch, noise, full=Oracle(losses, (x, y))), W, (), **knobs)
    one = step if m == B else per_micro_batch(step, m)
    plain = [
        one(Oracle(losses, (batch[0][s], batch[1][s]), noise[s], full=Oracle(losses, (x[s], y[s]))), W[s], (), **knobs)
        for s in range(S)
    ]
    return fast, plain


def agree(fast, plain) -> None:
    for s, expected in enumerate(plain):
        torch.testing.assert_close(fast.h[s], expected.h)
        torch.testing.assert_close(formed(fast.g)[s], expected.g)
        torch.testing.assert_close(fast.eps.norm(dim=-1)[s].flatten(), expected.eps.norm(dim=-1).reshape(-1))
        assert set(fast.info) == set(expected.info)
        for q, value in expected.info.items():
            torch.testing.assert_close(fast.info[q][s], value)


@pytest.mark.parametrize("m", [1, 2, 6, 12])
@pytest.mark.parametrize("key", ["sam", "usam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_m_sam(loss, name, key, m) -> None:
    agree(*both(loss, name, key, m, rho=0.3))


@pytest.mark.parametrize("key", ["sgd", "nsam", "nusam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_variants_without_micro_batches(loss, name, key) -> None:
    agree(*both(loss, name, key, B))


@pytest.mark.parametrize(
    "knobs", [{"norms": n, "scale": s} for n in ("exact", "one-probe") for s in ("raw", "standardised")]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_rw_sam(loss, name, knobs) -> None:
    agree(*both(loss, name, "rwsam", B, rho=0.3, lam=0.7, normalised=knobs["scale"] == "raw", **knobs))


def test_scaled_gradients_know_their_norm_and_mean() -> None:
    _, chain, W, (x, y), _ = problem("wide")
    for m in (1, 4, 12):
        grads = []

        def keep(L, W, s, grads=grads):
            grads.append(L.grad(W))
            return get("sam").step(L, W, s, rho=0.1)

        chain_step(keep, m, chain, CROSS_ENTROPY)(Oracle(lambda *_: W, (x[:, :B], y[:, :B])), W, ())
        g, c = grads[0], torch.rand(S, B // m, dtype=W.dtype)
        torch.testing.assert_close((g * c / 2).norm(), g.norm() * c / 2)
        torch.testing.assert_close((2.0 * g).mean(), 2 * g.mean())
        assert g.shape == W.shape


@pytest.mark.parametrize(
    "module",
    [
        mlp(3, 4, 2, activation=nn.Tanh), nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(),
    ],
)  # fmt: skip
def test_another_network_is_no_chain(module) -> None:
    with pytest.raises(NotFactoredError):
        Chain.of(module)
    assert chain_or_none(module) is None


@pytest.mark.parametrize("ask", [lambda g: g.sign(), lambda g: g[0], lambda g: g - 1, lambda g: torch.abs(g)])
def test_what_factors_cannot_do_is_refused(ask) -> None:
    x, d = torch.randn(2, 4, 3), torch.randn(2, 4, 5)
    with pytest.raises((NotFactoredError, TypeError)):
        ask(Gradient([Part.of(x, d, True, 2)], 2))
