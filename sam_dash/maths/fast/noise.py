"""Gradient noise and tr(GGN) from norms of factored gradients: no per-sample gradient is formed.

What `noise.tr_V`, `noise.by_layer`, `scale.grad_sq`, `tail.deviations` and `curvature.ggn_trace` define, of S stacked
runs at once: the first four in one pass of about a full gradient's price, the last for about half of one a class
(ghost norms: Goodfellow, arXiv:1510.01799).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_dash.maths import scale, tail
from sam_dash.maths.curvature import ELEMENTS, EXACT_TRACE
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.passes import Net, Pass
from sam_dash.maths.noise import BY_LAYER, check_sizes, estimate, method, tr_V
from sam_dash.maths.noise import by_layer as noise_by_layer
from sam_dash.maths.oracle import Batch, LossesFn


def ggn_trace(net: Net, W: Tensor, batch: Batch) -> list[Estimate]:
    """tr(GGN) = mean_i sum_c p_ic ||grad l(x_i, c)||^2 of each run, from one forward and a backward for each class."""
    total = torch.zeros(len(W), dtype=torch.float64, device=W.device)
    for x, _ in pieces(net, W, batch, 1):
        out, pull = net.linearise(W, x)
        p = out.softmax(2)
        for c in range(p.shape[2]):
            error = p.clone()
            error[:, :, c] -= 1
            total += (p[:, :, c].double() * pull(error).squares(1).sum(1).double()).sum(1)
    n = batch[1].shape[1]
    return [Estimate(value / n, 0.0, EXACT_TRACE, n) for value in total.tolist()]


class Noise(NamedTuple):
    """Of one run: tr(V) of means of m samples by m, what each layer adds to tr(V), the squared norm of the mean
    gradient without bias, and ||g_i - gbar|| of every sample (n,).
    """

    by_m: dict[int, Estimate]
    by_layer: list[Estimate]
    grad_sq: Estimate
    deviations: Tensor


def noise(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generators: Sequence[torch.Generator] = ()
) -> list[Noise]:
    """All of it at W (S, d) on samples (S, n, ...), (S, n), for each run; two passes where the samples come in pieces.

    1 is among the sizes m. Each run's generator, if there are any, shuffles its samples before they are grouped.
    """
    check_sizes(m, n := batch[1].shape[1])
    batch = shuffled(batch, generators)
    squares: dict[int, list[Tensor]] = {size: [] for size in m}
    layers: list[Tensor] = []
    total = torch.zeros_like(W, dtype=torch.float64)
    cut_up = list(pieces(net, W, batch, math.lcm(*m)))
    for piece in cut_up:
        found = _gradients(net, W, piece)
        total += found.total()
        layers.append(found.squares(1).double())
        squares[1].append(layers[-1].sum(1))
        for size in m:
            if 1 < size <= piece[1].shape[1]:  # the last piece may be shorter than a group
                squares[size].append(found.squares(size).sum(1).double())
    mean = total / n
    v, start = mean.to(W), n - piece[1].shape[1]
    rest = {cut: found.total(cut - start).double() for size in m if (cut := n // size * size) < n}
    passes = [found] if len(cut_up) == 1 else (_gradients(net, W, piece) for piece in cut_up)
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


def plain_noise(
    losses_fn: LossesFn, w: Tensor, batch: Batch, sizes: Mapping[str, int], m: Sequence[int],
    generator: torch.Generator | None = None,
) -> Noise:  # fmt: skip
    """The same of one run by the definitions, for networks without factors; `sizes` are those of its layers."""
    by_m = tr_V(losses_fn, w, batch, m=m, generator=generator)
    by_layer = list(noise_by_layer(losses_fn, w, batch, sizes).values())
    return Noise(
        by_m, by_layer, scale.grad_sq(losses_fn, w, batch, by_m[1].value), tail.deviations(losses_fn, w, batch)
    )


def _estimates(spread: Tensor, std: Tensor, G: int, method: str) -> list[Estimate]:
    return [estimate(*both, G, method) for both in zip(spread.tolist(), std.tolist(), strict=True)]


def _gradients(net: Net, W: Tensor, piece: Batch) -> Pass:
    """Those of the cross-entropy of every sample."""
    return linearise(net, W, piece)[1]


def linearise(net: Net, W: Tensor, piece: Batch) -> tuple[Tensor, Pass]:
    """The logits (S, n, C), and the gradients of the cross-entropy of every sample."""
    out, pull = net.linearise(W, piece[0])
    return out, pull(out.softmax(2) - F.one_hot(piece[1], out.shape[2]))


def shuffled(batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
    """Each run's samples in an order of its own generator; without generators, as they are."""
    if not generators:
        return batch
    orders = [torch.randperm(batch[1].shape[1], generator=g).to(batch[1].device) for g in generators]
    x, y = (torch.stack([of[order] for of, order in zip(a, orders, strict=True)]) for a in batch)
    return x, y


def pieces(net: Net, W: Tensor, batch: Batch, multiple: int) -> Iterator[Batch]:
    """The batch in pieces, multiples of `multiple` samples, whose layers' outputs hold at most `ELEMENTS` floats."""
    size = max(multiple, ELEMENTS // net.floats(W, batch[0]) // multiple * multiple)
    return zip(*(a.split(size, 1) for a in batch), strict=True)
