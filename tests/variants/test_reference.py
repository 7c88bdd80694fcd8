"""Five steps against pytorch_optimizer 4.1.0 on the same network and batches: they agree, or the known deviation shows.

Its global gradient norm is a float32 number even where the weights are float64: hence tolerances of 1e-6.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_dash.maths import base
from sam_dash.maths.flat import Layout, flatten, losses_fn
from sam_dash.maths.oracle import Oracle
from sam_dash.variants import get
from tests.helpers import mlp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_optimizer as reference

STEPS, RHO, LR = 5, 0.2, 0.1


def problem(module):
    torch.manual_seed(3)
    return [(torch.randn(16, 5).double(), torch.randint(0, 3, (16,))) for _ in range(STEPS)]


def network():
    torch.manual_seed(0)
    return mlp(5, 7, 3, activation=nn.Tanh)


def one_tensor():
    torch.manual_seed(0)
    return nn.Linear(5, 3, bias=False).double()


def ours(key, module, momentum=0.9, **knobs):
    v, optimiser = get(key), base.sgd(momentum)
    w = flatten(module)
    s, memory = v.init(w), optimiser.init(w)
    knobs = v.check({"rho": RHO, **knobs})
    for t, batch in enumerate(problem(module)):
        out = v.step(Oracle(losses_fn(module), batch, t=t, layout=Layout.of(module)), w, s, **knobs)
        w, memory = optimiser.descend(w, base.Descent.of(out), memory, LR)
        s = out.state
    return w


def theirs(make, module, first=True):
    """`first`: the caller computes the gradient at w, then `step` calls the closure for the second one."""
    model = copy.deepcopy(module)
    optimiser = make(model)
    for x, y in problem(module):

        def closure(x=x, y=y):
            optimiser.zero_grad()
            with torch.enable_grad():
                loss = F.cross_entropy(model(x), y)
                loss.backward()
            return (None, loss.detach()) if isinstance(optimiser, reference.GSAM) else loss

        if first:
            closure()
        optimiser.step(closure)
    return flatten(model)


def sgd(momentum=0.9):
    return {"base_optimizer": torch.optim.SGD, "lr": LR, "momentum": momentum}


def agree(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-6, atol=2e-6)


def test_sam() -> None:
    module = network()
    agree(ours("sam", module), theirs(lambda m: reference.SAM(m.parameters(), rho=RHO, **sgd()), module))


@pytest.mark.parametrize(("sigma", "memory"), [(1.0, 0.6), (0.7, 0.9)])
def test_friendly_sam_in_the_order_of_its_code(sigma, memory) -> None:
    module = network()

    def make(m):
        return reference.FriendlySAM(m.parameters(), rho=RHO, sigma=sigma, lmbda=memory, **sgd())

    agree(ours("fsam", module, sigma=sigma, memory=memory), theirs(make, module))


def test_gsam() -> None:
    module = network()

    class Constant:
        def step(self):
            return RHO

    def make(m):
        inner = torch.optim.SGD(m.parameters(), lr=LR, momentum=0.9)
        return reference.GSAM(m.parameters(), inner, m, Constant(), alpha=0.4)

    agree(ours("gsam", module), theirs(make, module, first=False))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("coupling", ["decoupled", "coupled"])
def test_wsam_in_both_forms(coupling, momentum) -> None:
    module, apart = network(), coupling == "decoupled"

    def make(m):
        return reference.WSAM(m, m.parameters(), rho=RHO, gamma=0.7, decouple=apart, **sgd(momentum))

    agree(ours("wsam", module, momentum, gamma=0.7, coupling=coupling), theirs(make, module, first=False))


@pytest.mark.parametrize("period", [1, 3])
def test_looksam_where_the_network_is_one_tensor_and_else_the_norms_differ(period) -> None:
    def make(m):
        return reference.LookSAM(m.parameters(), rho=RHO, k=period, alpha=0.7, **sgd())

    module = one_tensor()
    agree(ours("looksam", module, period=period), theirs(make, module))
    module = network()
    mine, other = ours("looksam", module, period=period), theirs(make, module)
    if period == 1:
        agree(mine, other)
    else:  # the documented deviation: theirs takes norms and projections tensor by tensor
        assert float((mine - other).norm()) > 1e-3
        agree(per_tensor_looksam(module, period), other)


def per_tensor_looksam(module, period):
    """LookSAM with the deviation put in: then the two agree, so it is all that differs."""
    layout, w, optimiser = Layout.of(module), flatten(module), base.sgd(0.9)
    memory, across = optimiser.init(w), [0 * p for p in layout.segments(w)]
    L = Oracle(losses_fn(module), problem(module)[0])
    for t, batch in enumerate(problem(module)):
        L = replace(L, batch=batch)
        g = L.grad(w)
        parts = layout.segments(g)
        if t % period == 0:
            h = L.grad(w + RHO * g / g.norm())
            units = [p / p.norm() for p in parts]
            across = [q - (q * u).sum() * u for q, u in zip(layout.segments(h), units, strict=True)]
        else:
            h = torch.cat([p + 0.7 * p.norm() * a / a.norm() for p, a in zip(parts, across, strict=True)])
        w, memory = optimiser.update(w, h, memory, LR)
    return w
