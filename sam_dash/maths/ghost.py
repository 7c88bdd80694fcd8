"""Gradient noise and tr(GGN) from norms of factored gradients: no per-sample gradient is formed.

What `noise.tr_V` and `curvature.ggn_trace` define, at the price of about one full gradient, and of about half of one
for each class (ghost norms: Goodfellow, arXiv:1510.01799).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_dash.maths.curvature import ELEMENTS, EXACT_TRACE, chunks
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.factored import norms
from sam_dash.maths.noise import BY_LAYER, check_sizes, estimate, method, shuffled
from sam_dash.maths.oracle import Batch
from sam_dash.maths.taps import Pair, Taps


def ggn_trace(taps: Taps, w: Tensor, batch: Batch) -> Estimate:
    """tr(GGN) = mean_i sum_c p_ic ||grad l(x_i, c)||^2, from one forward and a backward for each class."""
    total = 0.0
    for x, y in _pieces(taps, w, batch, 1):
        out, pull = taps.linearise(w, x)
        p = out.softmax(1)
        for c in range(p.shape[1]):
            squares = norms(taps.factors(pull(p - F.one_hot(torch.full_like(y, c), p.shape[1])), 1)).square()
            total += float(p[:, c].double() @ squares.double())
    return Estimate(total / len(batch[1]), 0.0, EXACT_TRACE, len(batch[1]))


class Noise(NamedTuple):
    """tr(V) of means of m samples by m, and what each layer adds to tr(V) by its name."""

    by_m: dict[int, Estimate]
    by_layer: dict[str, Estimate]


def tr_V(
    taps: Taps, w: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """tr(V) and its 1/m law, as `noise.tr_V`."""
    return tr_V_and_layers(taps, w, batch, m=m, generator=generator).by_m


def tr_V_and_layers(
    taps: Taps, w: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generator: torch.Generator | None = None
) -> Noise:
    """As `noise.tr_V` and `noise.by_layer`, from one backward pass (two, where the samples come in pieces)."""
    check_sizes(m, n := len(batch[1]))
    batch = shuffled(batch, generator)
    used = {size: n // size * size for size in m}
    squares: dict[int, list[Tensor]] = {size: [] for size in m}
    layers: list[Tensor] = []
    sums = {cut: torch.zeros_like(w, dtype=torch.float64) for cut in {n, *used.values()}}
    start = 0
    pieces = list(_pieces(taps, w, batch, math.lcm(*m)))
    for x, y in pieces:
        pairs = _pairs(taps, w, x, y)
        single = taps.factors(pairs, 1)
        for cut in sums:
            inside = (torch.arange(start, start + len(y), device=w.device) < cut).to(w)
            sums[cut] += torch.cat([f.total(inside) for f in single]).double()
        layers.append(torch.stack([f.squares() for f in single]).clamp_min(0).double())
        for size in m:
            whole = len(y) // size * size
            if not whole:  # the last piece may be shorter than a group
                continue
            if size == 1:
                squares[1].append(layers[-1].sum(0))
                continue
            groups = taps.factors([(X[:whole], D[:whole] / size) for X, D in pairs], size)
            squares[size].append(norms(groups).square().double())
        start += len(y)
    means = {cut: total / cut for cut, total in sums.items()}
    v = means[n].to(w)
    kept = pairs if len(pieces) == 1 else None
    along = torch.cat([taps.along(v, kept or _pairs(taps, w, x, y)).double() for x, y in pieces], 1)
    found = {}
    for size, cut in used.items():
        centred = torch.cat(squares[size]) - 2 * along.sum(0)[:cut].view(-1, size).mean(1)
        spread = float(torch.cat(squares[size]).sum()) - cut / size * float(means[cut].square().sum())
        found[size] = estimate(spread, centred.std(), cut // size, method(size))
    sizes = taps.layout.sizes()
    blocks = [float(block.square().sum()) for block in means[n].split(list(sizes.values()))]
    by_layer = {
        name: estimate(float(x.sum()) - n * block, (x - 2 * a).std(), n, BY_LAYER)
        for name, x, a, block in zip(sizes, torch.cat(layers, 1), along, blocks, strict=True)
    }
    return Noise(found, by_layer)


def _pairs(taps: Taps, w: Tensor, x: Tensor, y: Tensor) -> list[Pair]:
    """Every layer's inputs and deltas, for the gradient of each sample's loss."""
    out, pull = taps.linearise(w, x)
    return pull(out.softmax(1) - F.one_hot(y, out.shape[1]))


def _pieces(taps: Taps, w: Tensor, batch: Batch, multiple: int) -> Iterator[Batch]:
    """The batch in pieces, multiples of `multiple`, whose layers' outputs hold at most `ELEMENTS` floats."""
    floats = sum(math.prod(shape) for shape in taps.output_shapes(w, batch[0][:1]))
    return chunks(batch, max(multiple, ELEMENTS // floats // multiple * multiple))
