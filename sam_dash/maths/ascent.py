"""Ascent-direction sharpness: how the loss curves along its own gradient, the direction in which SAM perturbs.

    a(w)   = u^T H u                  u = u(grad f(w)) = grad f(w) / ||grad f(w)||
    a_m(w) = mean_I u_I^T H_I u_I     u_I and H_I of f_I, I the disjoint micro-batches of m

so that f(w + rho u) - f(w) = rho ||grad f(w)|| + rho^2/2 a(w) + O(rho^3). a <= lambda_max, with equality where the
gradient is a top eigenvector; a_1 <= mean_i lambda_max(H_i), which is tr(H) where every H_i >= 0 has rank 1. a/2 is the
second-order part of the ascent-direction sharpness of Wen, Ma & Li (ICLR 2023, arXiv:2211.05729), a_1/2 that of its
stochastic form for one sample a step. Where a gradient is 0 there is no ascent, and its term is 0.

    b_m(w) = mean_I g_I^T H_I g_I / mean_I ||g_I||^2     g_I = grad f_I(w)

is batch sharpness (Andreyev & Beneventano, arXiv:2412.20553): the ratio of the means, where a_m is the mean of the
ratios. It is the curvature per step of SGD: its loss falls in the mean over batches until b_m = 2/lr.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad, jvp

from sam_dash.maths.contract import unit
from sam_dash.maths.curvature import HVP
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.noise import of_groups
from sam_dash.maths.oracle import Batch, LossesFn, mean_grad, mean_loss
from sam_dash.maths.samples import count

EXACT = "exact: one Hessian-vector product along the gradient"
BY_SIZE = "curvature of each micro-batch's loss along its gradient"
WEIGHTED = "mean of g_I^T H_I g_I over mean of ||g_I||^2, micro-batches I"


def ascent(losses_fn: LossesFn, w: Tensor, batch: Batch, product: HVP) -> Estimate:
    """a(w) of the mean loss over the samples, given `product`, V (k, d) -> H v (k, d), over the same samples."""
    u = unit(mean_grad(losses_fn, w, batch))
    value = float(u.double() @ product(u[None])[0].double())
    return Estimate(value, 0.0, EXACT, count(batch))


def by_size(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int], generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """a_m(w) for each m, the micro-batches of all m cut from one (random) order of the samples.

    The error is the sampling error over the micro-batches: their standard deviation over the root of their number.
    """

    def along(one: Batch) -> Tensor:
        return curved(losses_fn, w, one)[0]

    found = of_groups(along, w, batch, m, generator)
    return {size: Estimate.of_mean(terms, BY_SIZE) for size, terms in found.items()}


def batch_sharpness(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int], generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """b_m(w) for each m, from the same micro-batches."""

    def along(one: Batch) -> Tensor:
        return torch.stack(curved(losses_fn, w, one))

    found = of_groups(along, w, batch, m, generator)
    return {size: weighted(*terms.unbind(1)) for size, terms in found.items()}


def curved(losses_fn: LossesFn, w: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """u^T H u and ||grad f(w)||^2 of the mean loss over a micro-batch."""
    g = grad(mean_loss(losses_fn, batch))
    here = g(w)
    u = unit(here)
    return u @ jvp(g, (w,), (u,))[1], here @ here


def weighted(curvatures: Tensor, squares: Tensor) -> Estimate:
    """The mean of curvatures (G,), each weighted by its squared norm (G,); the error is the ratio's to first order."""
    a, b = curvatures.double() * squares.double(), squares.double()
    value = float(a.sum() / b.sum()) if float(b.sum()) else 0.0
    spread = (a - value * b).std() / b.mean().clamp_min(1e-300)
    return Estimate(value, float(spread) / len(b) ** 0.5, WEIGHTED, len(b), dof=len(b) - 1)
