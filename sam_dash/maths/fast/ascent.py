"""The curvature along the gradient, of all samples and at each m, of S stacked runs at once: no w + t u_j is formed.

The twins of those in `ascent`. At each m it is the second derivative of one forward at the perturbed weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import jvp

from sam_dash.maths.ascent import BY_SIZE, EXACT
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
    zero, one = W.new_zeros(()), W.new_ones(())
    return at_each_size(
        net, W, batch, m, generators, BY_SIZE,
        lambda f, _: jvp(lambda t: jvp(f, (t,), (one,))[1], (zero,), (one,))[1],
    )  # fmt: skip
