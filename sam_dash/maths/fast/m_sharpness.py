"""m-sharpness and the curvature along the gradient at m, of S stacked runs at once: no w + t u_j is formed.

What `m_sharpness.m_sharpness`, `ascent.by_size` and `ascent.ascent` define, from one pass at w, and for each m one
forward at the perturbed weights, or its second derivative along them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn import functional as F

from sam_dash.maths import ascent
from sam_dash.maths import m_sharpness as sharp
from sam_dash.maths.contract import TINY
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.noise import linearise, pieces, shuffled
from sam_dash.maths.fast.passes import Net
from sam_dash.maths.lanczos import Stacked
from sam_dash.maths.noise import check_sizes
from sam_dash.maths.oracle import Batch

Losses = Callable[[Tensor], Tensor]  # t -> per-sample losses (S, n) at w + t u_j


def m_sharpness(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int], rho: float, generators: Sequence[torch.Generator] = ()
) -> list[dict[int, Estimate]]:
    """At W (S, d) on samples (S, n, ...), (S, n), for each run."""
    radius = W.new_tensor(rho)
    return _by_size(net, W, batch, m, generators, sharp.method(rho), lambda f, here: f(radius) - here)


def by_size(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Sequence[torch.Generator] = ()
) -> list[dict[int, Estimate]]:
    """a_m(w), for each run."""
    zero, one = W.new_zeros(()), W.new_ones(())
    return _by_size(
        net, W, batch, m, generators, ascent.BY_SIZE,
        lambda f, _: jvp(lambda t: jvp(f, (t,), (one,))[1], (zero,), (one,))[1],
    )  # fmt: skip


def whole(net: Net, W: Tensor, batch: Batch, product: Stacked) -> list[Estimate]:
    """a(w), for each run, given the products of their Hessians."""
    n = batch[1].shape[1]
    g = torch.zeros_like(W)
    for piece in pieces(net, W, batch, 1):
        g += linearise(net, W, piece)[1].total()
    u = g / (g.norm(dim=1, keepdim=True) + n * TINY)
    curved = (u.double() * product(u[:, None])[:, 0].double()).sum(1)
    return [Estimate(value, 0.0, ascent.EXACT, n) for value in curved.tolist()]


def _by_size(
    net: Net, W: Tensor, batch: Batch, m: Sequence[int], generators: Sequence[torch.Generator], method: str,
    of: Callable[[Losses, Tensor], Tensor],
) -> list[dict[int, Estimate]]:  # fmt: skip
    check_sizes(m, batch[1].shape[1])
    batch = shuffled(batch, generators)
    found: dict[int, list[Tensor]] = {size: [] for size in m}
    for x, y in pieces(net, W, batch, math.lcm(*m)):
        out, at = linearise(net, W, (x, y))
        for size in m:
            if cut := y.shape[1] // size * size:  # the last piece may be shorter than a group
                each = of(_at(at.moved(size), y), losses(out[:, :cut], y))
                found[size].append(each.unflatten(1, (-1, size)).mean(2))
    rises = {size: torch.cat(parts, 1) for size, parts in found.items()}
    return [{size: Estimate.of_mean(rises[size][s], method) for size in m} for s in range(len(W))]


def _at(moved: Callable[[Tensor], Tensor], y: Tensor) -> Losses:
    return lambda t: losses(moved(t), y)


def losses(out: Tensor, y: Tensor) -> Tensor:
    """Per-sample losses from logits (S, cut, C) and labels (S, n >= cut), (S, cut)."""
    return F.cross_entropy(out.mT, y[:, : out.shape[1]], reduction="none")
