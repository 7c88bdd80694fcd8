"""The curvature along the gradient, of all samples and at each m, of S stacked runs at once: no w + t u_j is formed.

The twins of those in `ascent`. At each m it is the second derivative of one forward at the perturbed weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import jvp

from sam_dash.maths.ascent import BY_SIZE, EXACT, weighted
from sam_dash.maths.contract import TINY
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.passes import Net, at_each_size, linearise, pieces
from sam_dash.maths.lanczos import Stacked
from sam_dash.maths.oracle import Batch


def ascent(net: Net, W: Tensor, batch: Batch, product: Stacked) -> list[Estimate]:
    """a(w) of each run at W (S, d), given the products of their Hessians over the same samples (S, n, ...), (S, n)."""
    n = batch[1].shape[1]
    g = torch.zeros_like(W)
    for piece in pieces(net, W, batch, 1):
        g += linearise(net, W, piece)[1].total()
    u = g / (g.norm(dim=1, keepdim=True) + n * TINY)
    curved = (u.double() * product(u[:, None])[:, 0].double()).sum(1)
    return [Estimate(value, 0.0, EXACT, n) for value in curved.tolist()]


def by_size(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Sequence[torch.Generator] = ()
) -> list[dict[int, Estimate]]:
    """a_m(w) of each run, at W (S, d) on samples (S, n, ...), (S, n)."""
    found = _along(net, W, batch, m, generators)
    return [{size: Estimate.of_mean(terms[1], BY_SIZE) for size, terms in run.items()} for run in found]


def batch_sharpness(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Sequence[torch.Generator] = ()
) -> list[dict[int, Estimate]]:
    """b_m(w) of each run, from the same micro-batches."""
    found = _along(net, W, batch, m, generators)
    return [{size: weighted(terms[1], terms[0].square()) for size, terms in run.items()} for run in found]


def _along(
    net: Net, W: Tensor, batch: Batch, m: Sequence[int], generators: Sequence[torch.Generator]
) -> list[dict[int, Tensor]]:
    """||g_I|| and u_I^T H_I u_I (2, groups), the first two derivatives along u_I, of each run at each m."""
    zero, one = W.new_zeros(()), W.new_ones(())

    def derivatives(f: Callable[[Tensor], Tensor], _: Tensor) -> Tensor:
        return torch.stack(jvp(lambda t: jvp(f, (t,), (one,))[1], (zero,), (one,)))

    return at_each_size(net, W, batch, m, generators, derivatives)
