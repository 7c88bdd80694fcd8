"""Transformers and deeper networks: what is measured of tiny ones against dense matrices, by autograd alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_dash.maths.curvature import gaussian
from sam_dash.maths.fast.measurer import Fast, measurer
from sam_dash.maths.flat import Layout, flatten
from sam_dash.maths.lanczos import each_top
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.problems.networks import build

N = 10
TINY = {
    "vit": ("vit:4", (1, 5, 8), 0), "tokens": ("transformer:4", (3,), 5), "numbers": ("transformer:4", (3, 2), 0),
    "deep cnn": ("cnn:2-3", (1, 10, 11), 0),
}  # fmt: skip


@pytest.fixture(params=TINY)
def tiny(request) -> tuple[nn.Module, Tensor, Tensor]:
    """A module in float64, away from its start, and its samples."""
    name, shape, vocabulary = TINY[request.param]
    torch.manual_seed(0)
    module = build(name, shape, 3, vocabulary).double()
    with torch.no_grad():
        for p in module.parameters():
            p += 0.3 * torch.randn_like(p)
    x = torch.randint(vocabulary, (N, *shape)) if vocabulary else torch.randn(N, *shape).double()
    return module, x, torch.randint(3, (N,))


def dense(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The Hessian of the mean loss, some rows at a time, and the gradients of single samples, one after another."""
    parameters = list(module.parameters())

    def flat(of: Tensor, **more: bool) -> Tensor:
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(of, parameters, **more)])

    gradient = flat(F.cross_entropy(module(x), y), create_graph=True)
    rows = [torch.autograd.grad(gradient, parameters, some, retain_graph=True, is_grads_batched=True)
            for some in torch.eye(len(gradient)).double().split(64)]  # fmt: skip
    H = torch.cat([torch.cat([part.flatten(1) for part in of], 1) for of in rows])
    return H, torch.stack([flat(F.cross_entropy(module(x[i : i + 1]), y[i : i + 1])) for i in range(N)])


def test_curvature_and_noise_are_those_of_the_dense_matrices(tiny) -> None:
    module, x, y = tiny
    H, each = dense(module, x, y)
    W, batch = flatten(module)[None], (x[None], y[None])
    way = measurer(module, CROSS_ENTROPY, W[0], x)
    assert isinstance(way, Fast), "the built-in networks all have the fast way"
    product = way.hvp(W, batch)
    v = torch.randn_like(W)
    torch.testing.assert_close(product(v[:, None])[0, 0], H @ v[0])
    trace = way.trace(W, batch, [torch.Generator().manual_seed(0)], product, 100)[0]
    assert abs(trace.value - float(H.trace())) <= 4 * trace.stderr + 1e-9 * abs(float(H.trace()))
    assert trace.stderr < 0.15 * abs(float(H.trace()))
    top = each_top(product, gaussian(1, W[0], torch.Generator().manual_seed(1)))[0][0]
    assert top.value == pytest.approx(float(torch.linalg.eigvalsh((H + H.T) / 2)[-1]), rel=1e-3)
    noise = way.noise(W, batch, m=[1, 2], generators=[torch.Generator().manual_seed(2)])[0]
    assert noise.by_m[1].value == pytest.approx(float(each.var(0).sum()), rel=1e-9)
    sizes = list(Layout.of(module).sizes().values())
    by_layer = [float(part.var(0).sum()) for part in each.split(sizes, 1)]
    assert [e.value for e in noise.by_layer] == pytest.approx(by_layer, rel=1e-9, abs=1e-15)
