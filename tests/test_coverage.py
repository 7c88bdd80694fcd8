"""Standard errors of `api.measure` on a transformer and a regression: they cover the truth at their rate.

The truth is of a small population, from the dense Hessian of every sample and every pair of samples that can be drawn.
Each draw takes samples from it with replacement.
"""

from __future__ import annotations

import functools
import math

import pytest
import scipy.stats
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from sam_dash import api
from tests.helpers import Made, mlp

POPULATION, DRAWN, M, RHO = 40, 160, 2, 0.3
ASKED = ("tr_H", "tr_V", "batch_sharp", "m_sharp")


def transformer():
    model = Made(
        lambda self, ids: self.out(self.block(self.words(ids)).mean(1)),
        words=nn.Embedding(6, 4), block=nn.TransformerEncoderLayer(4, 2, 3, 0.0, batch_first=True), out=nn.Linear(4, 3),
    )  # fmt: skip
    return model.double(), torch.randint(0, 6, (POPULATION, 3)), torch.randint(0, 3, (POPULATION,))


def regression():
    x = torch.randn(POPULATION, 4).double()
    return mlp(4, 6, 2, activation=nn.Tanh), x, x[:, :2].sin() + 0.5 * torch.randn(POPULATION, 2).double()


PROBLEMS = {
    "transformer": (transformer, "cross_entropy", F.cross_entropy, 60),
    "regression": (regression, "mse", F.mse_loss, 120),
}


@functools.cache
def measured(name):
    """For each quantity the truth of every draw, and the estimates."""
    make, loss, each, draws = PROBLEMS[name]
    torch.manual_seed(0)
    model, x, y = make()
    named = {n: p.detach() for n, p in model.named_parameters()}
    sizes, w = [p.numel() for p in named.values()], torch.cat([p.flatten() for p in named.values()])

    def one(v, x, y):
        parts = {n: a.view(p.shape) for (n, p), a in zip(named.items(), v.split(sizes), strict=True)}
        return each(functional_call(model, parts, (x[None],))[0], y)

    generator = torch.Generator().manual_seed(1)
    groups = torch.cartesian_prod(*[torch.arange(POPULATION)] * M)  # all that can be drawn
    with sdpa_kernel(SDPBackend.MATH):
        g, H = (vmap(f(one), (None, 0, 0))(w, x, y) for f in (grad, hessian))
        of_groups = g[groups].mean(1)
        up = w + RHO * of_groups / of_groups.norm(dim=1, keepdim=True)
        rise = vmap(vmap(one, (None, 0, 0)))(up, x[groups], y[groups]) - vmap(one, (None, 0, 0))(w, x, y)[groups]
    along = sum(torch.einsum("gi,gij,gj->g", of_groups[k], H[groups[k]].mean(1), of_groups[k]).sum()
                for k in torch.arange(len(groups)).split(500))  # fmt: skip
    truth = {
        "tr_V": g.var(0, correction=0).sum(), f"batch_sharp@{M}": along / of_groups.square().sum(),
        f"m_sharp@{M}": rise.mean(),
    }  # fmt: skip
    traces, found = H.diagonal(dim1=1, dim2=2).sum(1), []
    for seed in range(draws):
        drawn = torch.randint(0, POPULATION, (DRAWN,), generator=generator)
        estimates = api.measure(model, x[drawn], y[drawn], ASKED, loss=loss, m=(M,), rho=RHO, probes=16, seed=seed)
        found.append((truth | {"tr_H": traces[drawn].mean()}, estimates))
    return found


@pytest.mark.parametrize("quantity", ["tr_H", "tr_V", f"batch_sharp@{M}", f"m_sharp@{M}"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_stated_error_is_the_spread_about_the_truth_and_covers_it_at_its_rate(name, quantity) -> None:
    found = measured(name)
    apart = torch.tensor([e[quantity].value - float(truth[quantity]) for truth, e in found])
    stated = torch.tensor([e[quantity].stderr for _, e in found])
    dof = found[0][1][quantity].dof
    reach = 1.96 if dof == math.inf else float(scipy.stats.t.ppf(0.975, dof))
    assert float((apart.abs() < reach * stated).double().mean()) >= 0.85  # below it once in a thousand at 95 %
    assert 0.75 < float((stated.square().mean() / apart.square().mean()).sqrt()) < 1.33  # known to 9 %, or 6
