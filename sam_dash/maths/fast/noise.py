"""Gradient noise from norms of factored gradients: no per-sample gradient is formed.

The twin of `noise.noise`, for S stacked runs at once, in one pass of about a full gradient's price (ghost norms:
Goodfellow, arXiv:1510.01799).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sam_dash.maths import scale
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.passes import Net, linearise, pieces, shuffled
from sam_dash.maths.noise import BY_LAYER, Noise, check_sizes, estimate, method
from sam_dash.maths.oracle import Batch


@torch.no_grad()  # the passes record what they differentiate
def noise(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generators: Sequence[torch.Generator] = ()
) -> list[Noise]:
    """The `Noise` at W (S, d) on samples (S, n, ...), (S, n), for each run; in pieces it takes two passes.

    1 is among the sizes m. Each run's generator, if there are any, shuffles its samples before they are grouped.
    """
    check_sizes(m, n := batch[1].shape[1])
    batch = shuffled(batch, generators)
    squares: dict[int, list[Tensor]] = {size: [] for size in m}
    layers: list[Tensor] = []
    total = torch.zeros_like(W, dtype=torch.float64)
    cut_up = list(pieces(net, W, batch, math.lcm(*m)))
    for piece in cut_up:
        found = linearise(net, W, piece)[1]
        total += found.total()
        layers.append(found.squares(1).double())
        squares[1].append(layers[-1].sum(1))
        for size in m:
            if 1 < size <= piece[1].shape[1]:  # the last piece may be shorter than a group
                squares[size].append(found.squares(size).sum(1).double())
    mean = total / n
    v, start = mean.to(W), n - piece[1].shape[1]
    rest = {cut: found.total(cut - start).double() for size in m if (cut := n // size * size) < n}
    passes = [found] if len(cut_up) == 1 else (linearise(net, W, piece)[1] for piece in cut_up)
    along = torch.cat([one.along(v).double() for one in passes], 2)  # (S, layers, n)
    by_m: dict[int, list[Estimate]] = {}
    for size in m:
        G, cut = n // size, n // size * size
        each = torch.cat(squares[size], 1)
        centre = mean if cut == n else (total - rest[cut]) / cut
        spread = each.sum(1) - G * centre.square().sum(1)
        centred = each - 2 * along.sum(1)[:, :cut].unflatten(1, (G, size)).mean(2)
        by_m[size] = _estimates(spread, centred.std(1), G, method(size))
    of_layers = torch.cat(layers, 2)
    blocks = torch.stack([block.square().sum(1) for block in mean.split(net.sizes(), 1)], 1)
    by_layer = [
        _estimates(*both, n, BY_LAYER)
        for both in zip(of_layers.sum(2) - n * blocks, (of_layers - 2 * along).std(2), strict=True)
    ]
    square, slope = blocks.sum(1), along.sum(1)
    deviations = (of_layers.sum(1) - 2 * slope + square[:, None]).clamp_min(0).sqrt()
    errors = (2 * slope.std(1) / n**0.5).tolist()
    return [
        Noise(
            {size: by_m[size][s] for size in m}, by_layer[s],
            Estimate(value - by_m[1][s].value / n, errors[s], scale.METHOD, n), deviations[s],
        )
        for s, value in enumerate(square.tolist())
    ]  # fmt: skip


def _estimates(spread: Tensor, std: Tensor, G: int, method: str) -> list[Estimate]:
    return [estimate(*both, G, method) for both in zip(spread.tolist(), std.tolist(), strict=True)]
