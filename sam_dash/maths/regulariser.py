"""What a step of m-USAM adds to the gradient, in the mean over micro-batches, against what the theory says it adds.

    D = E_I[ grad f_I(w + rho grad f_I(w)) ] - grad f(w)
    P = rho H g + rho k/m ( mean_i H_i g_i - H g ) = grad( rho/2 ||grad f||^2 + rho/(2m) k tr V )

I a micro-batch of m of the n samples without replacement, k = (n - m)/(n - 1), g = grad f(w). P - Q, Q its second term,
is the prediction without tr V. Reported: the cosine of D and P, ||D||/||P||, ||D - P||/||D|| and ||D - P + Q||/||D||.

Only r_I = grad f_I(w + rho g_I) - g_I - rho H_I g_I, of order rho^2 and of mean D - P, is averaged over drawn I. The
draws come in independent blocks: ||D - P||^2 is estimated without bias, from products of different blocks, and errors
are by the jackknife over blocks. Luo et al., arXiv:2509.18001 (as published; read at second hand).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, jvp

from sam_dash.maths.curvature import ELEMENTS
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.noise import check_sizes
from sam_dash.maths.oracle import Batch, LossesFn, mean_grad, mean_loss
from sam_dash.maths.samples import chunks, count, each, grouped, over, samples

BLOCKS = 12  # independent ones
PASSES = 4  # samples drawn in all, in samples there are, at most
DRAWN = 80  # micro-batches in a block, at most
METHOD = f"micro-batches in {BLOCKS} independent blocks, unbiased squares; jackknife"
NORM = f"mean over micro-batches in {BLOCKS} independent blocks"


class Agreement(NamedTuple):
    """How D agrees with P: their cosine, ||D||/||P||, and the relative errors with tr V and `without`."""

    cosine: Estimate
    length: Estimate
    error: Estimate
    without: Estimate


class Found(NamedTuple):
    """At one m: `norm`, E||grad f_I||, and the agreement by rho."""

    norm: Estimate
    by_rho: dict[float, Agreement]


def agreement(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int], rho: Sequence[float],
    generator: torch.Generator,
) -> dict[int, Found]:  # fmt: skip
    """The agreement at w (d,) on n samples, for each m and rho.  Raises ValueError for an m above n/2."""
    check_sizes(m, n := count(batch))
    g = mean_grad(losses_fn, w, batch)
    straight = torch.zeros_like(w)
    for part in chunks(batch, 1024):
        straight += _bent(losses_fn, w, part, g)[1] * (samples(part) / n)
    at_once = max(1, ELEMENTS // ((len(rho) + 4) * w.numel()))
    own = torch.zeros_like(w)
    for part in chunks(batch, at_once):
        own += over(lambda one: _bent(losses_fn, w, one)[1], grouped(part, 1)).sum(0) / n
    extra = own - straight
    out = {}
    for size in m:
        drawn = max(1, min(DRAWN, PASSES * n // BLOCKS // size))  # micro-batches in a block
        rests, norms = [], []
        for _ in range(BLOCKS):
            order = torch.stack([torch.randperm(n, generator=generator)[:size] for _ in range(drawn)]).to(w.device)
            rest, norm = _block(losses_fn, w, batch, order, rho, at_once)
            rests.append(rest)
            norms.append(norm)
        factor = (n - size) / (n - 1) / size
        R = torch.stack(rests).double()  # (blocks, rho, d)
        found = {}
        for k, r in enumerate(rho):
            P, Q = r * (straight + factor * extra).double(), r * factor * extra.double()
            found[r] = _agreement(R[:, k], P, Q, BLOCKS * drawn)
        each_norm = torch.stack(norms).double()
        out[size] = Found(Estimate.of_mean(each_norm, NORM), found)
    return out


def _block(
    losses_fn: LossesFn, w: Tensor, batch: Batch, order: Tensor, rho: Sequence[float], at_once: int
) -> tuple[Tensor, Tensor]:
    """The means of r_I at each rho (rho, d) and of ||g_I|| (), over the micro-batches `order` (k, m)."""

    def one(micro: Batch) -> Tensor:
        g, Hg = _bent(losses_fn, w, micro)
        f = grad(mean_loss(losses_fn, micro))
        return torch.stack([g, *(f(w + r * g) - g - r * Hg for r in rho)])

    total, length = w.new_zeros(len(rho), len(w)), w.new_zeros(())
    for rows in order.split(at_once):
        groups = each(batch, lambda leaf, rows=rows: leaf[rows.flatten()].unflatten(0, tuple(rows.shape)))  # type: ignore
        found = over(one, groups)  # (k, 1 + rho, d)
        total += found[:, 1:].sum(0)
        length += found[:, 0].norm(dim=1).sum()
    return total / len(order), length / len(order)


def _bent(losses_fn: LossesFn, w: Tensor, batch: Batch, along: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The gradient of the mean loss at w, and its Hessian along it, or along another vector.  (d,), (d,)."""
    f = grad(mean_loss(losses_fn, batch))
    g = f(w)
    return g, jvp(f, (w,), (g if along is None else along,))[1]


def _agreement(R: Tensor, P: Tensor, Q: Tensor, budget: int) -> Agreement:
    """From the blocks' means of r (blocks, d)."""
    gram, on_P, on_Q = R @ R.T, R @ P, R @ Q
    PP, QQ = P @ P, Q @ Q

    def numbers(of: Tensor) -> Tensor:
        """The four from the blocks numbered `of`."""
        k = len(of)
        inner = gram[of][:, of]
        square = (inner.sum() - inner.trace()) / (k * (k - 1))  # ||D - P||^2
        p, q = on_P[of].mean(), on_Q[of].mean()
        D = torch.maximum(PP + 2 * p + square, (PP + p) ** 2 / PP)  # no cosine is above 1
        away = square + 2 * q + QQ  # ||D - P + Q||^2
        return torch.stack([(PP + p) / (D * PP).sqrt(), (D / PP).sqrt(), (square / D).clamp_min(0).sqrt(),
                            (away / D).clamp_min(0).sqrt()])  # fmt: skip

    every = torch.arange(len(R), device=R.device)
    value = numbers(every)
    left_out = torch.stack([numbers(every[every != k]) for k in range(len(R))])
    n = len(R)
    error = ((n - 1) / n * (left_out - left_out.mean(0)).square().sum(0)).sqrt()
    pairs = zip(value.tolist(), error.tolist(), strict=True)
    return Agreement(*(Estimate(v, e, METHOD, budget, dof=n - 1) for v, e in pairs))
