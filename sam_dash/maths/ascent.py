"""Ascent-direction sharpness: how the loss curves along its own gradient, the direction in which SAM perturbs.

    a(w)   = u^T H u                  u = u(grad f(w)) = grad f(w) / ||grad f(w)||
    a_m(w) = mean_I u_I^T H_I u_I     u_I and H_I of f_I, I the disjoint micro-batches of m

so that f(w + rho u) - f(w) = rho ||grad f(w)|| + rho^2/2 a(w) + O(rho^3). a <= lambda_max, with equality where the
gradient is a top eigenvector; a_1 <= mean_i lambda_max(H_i), which is tr(H) where every H_i >= 0 has rank 1. a/2 is the
second-order part of the ascent-direction sharpness of Wen, Ma & Li (ICLR 2023, arXiv:2211.05729), a_1/2 that of its
stochastic form for one sample a step. Where a gradient is 0 there is no ascent, and its term is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

from sam_dash.maths.contract import unit
from sam_dash.maths.curvature import ELEMENTS, HVP
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.noise import check_sizes, shuffled
from sam_dash.maths.oracle import Batch, LossesFn, Oracle, mean_loss

EXACT = "exact: one Hessian-vector product along the gradient"
BY_SIZE = "curvature of each micro-batch's loss along its gradient"


def ascent(losses_fn: LossesFn, w: Tensor, batch: Batch, product: HVP) -> Estimate:
    """a(w) of the mean loss over the samples, given `product`, V (k, d) -> H v (k, d), over the same samples."""
    u = unit(Oracle(losses_fn, batch, chunk=1024).grad(w))
    value = float(u.double() @ product(u[None])[0].double())
    return Estimate(value, 0.0, EXACT, len(batch[1]))


def by_size(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int], generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """a_m(w) for each m, the micro-batches of all m cut from one (random) order of the samples.

    The error is the sampling error over the micro-batches: their standard deviation over the root of their number.
    """
    check_sizes(m, len(batch[1]))
    batch = shuffled(batch, generator)
    chunk = max(1, ELEMENTS // (4 * w.numel()))  # micro-batches, each with a gradient and a product of its own

    def along(x: Tensor, y: Tensor) -> Tensor:
        g = grad(mean_loss(losses_fn, (x, y)))
        u = unit(g(w))
        return u @ jvp(g, (w,), (u,))[1]

    found = {}
    for size in m:
        whole = len(batch[1]) // size * size
        x, y = (a[:whole].unflatten(0, (-1, size)) for a in batch)
        found[size] = Estimate.of_mean(vmap(along, chunk_size=chunk)(x, y), BY_SIZE)
    return found
