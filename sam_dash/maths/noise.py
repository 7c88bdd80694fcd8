"""Gradient noise: tr(V), V the covariance of per-sample gradients, and its 1/m law."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sam_dash.maths import scale
from sam_dash.maths.curvature import ELEMENTS
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, mean_grad, per_sample_grads
from sam_dash.maths.samples import chunks, count, grouped, lengths, over, samples, shuffled


def method(m: int) -> str:
    """The method of tr(V) at m as it is stored."""
    return f"covariance of {'per-sample gradients' if m == 1 else f'mean gradients of {m} samples'}, unbiased"


BY_LAYER = "covariance of per-sample gradients in one layer, unbiased"


class Noise(NamedTuple):
    """The gradient noise of one run, in all that is measured of it.

    `by_m`: tr(V) of means of m samples, by m. `by_layer`: what each layer adds to tr(V), in order: the trace of its
    block of V. `grad_sq`: the squared norm of the mean gradient, without bias (`scale.grad_sq`). `deviations`:
    ||g_i - gbar|| of every sample (n,).
    """

    by_m: dict[int, Estimate]
    by_layer: list[Estimate]
    grad_sq: Estimate
    deviations: Tensor


def noise(
    losses_fn: LossesFn, w: Tensor, batch: Batch, sizes: Mapping[str, int], *, m: Sequence[int] = (1,),
    generator: torch.Generator | None = None,
) -> Noise:  # fmt: skip
    """The gradient noise at w (d,); `sizes` are those of the layers (`Layout.sizes`).

    tr(V) at m is unbiased: over G disjoint groups, 1/(G-1) sum_j ||gbar_j - gbar||^2, whose expectation over the random
    grouping is tr(V)/m. The groups of all m come from one order of the samples; those of a stream lie within its
    batches. Errors are sampling errors over the groups, or over the samples.
    """
    check_sizes(m, *lengths(batch))
    batch = shuffled(batch, generator)
    centre = mean_grad(losses_fn, w, batch)
    groups: dict[int, list[Tensor]] = {size: [] for size in m}
    totals = {size: torch.zeros_like(w, dtype=torch.float64) for size in m}
    squares, along = [], []
    whole = math.lcm(*m)  # no group is cut
    for part in chunks(batch, max(whole, ELEMENTS // w.numel() // whole * whole)):
        dev = per_sample_grads(losses_fn, w, part) - centre
        squares.append(torch.stack([block.square().sum(1).double() for block in dev.split(list(sizes.values()), 1)]))
        along.append(dev @ centre)
        for size in m:
            cut = len(dev) // size * size
            means = dev[:cut].unflatten(0, (-1, size)).mean(1)  # (groups, d), relative to the centre
            groups[size].append(means.square().sum(1).double())
            totals[size] += means.sum(0).double()
    by_m = {}
    for size in m:
        each = torch.cat(groups[size])
        spread = float(each.sum()) - float(totals[size].square().sum()) / len(each)
        by_m[size] = estimate(spread, each.std(), len(each), method(size))
    layers, n = torch.cat(squares, 1), count(batch)
    by_layer = [estimate(float(x.sum()), x.std(), n, BY_LAYER) for x in layers]
    deviations = layers.sum(0)
    grad_sq = scale.grad_sq(centre, torch.cat(along), float(deviations.sum()) / (n - 1))
    return Noise(by_m, by_layer, grad_sq, deviations.sqrt())


def tr_V(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """The trace of the covariance of mean gradients of m samples, for each m; m = 1 is tr(V)."""
    return noise(losses_fn, w, batch, {"": w.numel()}, m=m, generator=generator).by_m


def check_sizes(m: Sequence[int], *lengths: int) -> None:
    """Raise ValueError for an m of which the samples, so many in memory together, do not make two groups."""
    for size in m:
        if size < 1 or sum(length // size for length in lengths) < 2:
            n = max(lengths) if len(lengths) > 1 else lengths[0] // 2
            why = "that of the largest batch" if len(lengths) > 1 else "n/2"
            raise ValueError(f"m = {size}: expected between 1 and {why} = {n}, else there is no variance")


def of_groups(
    f: Callable[[Batch], Tensor], w: Tensor, batch: Batch, m: Sequence[int], generator: torch.Generator | None
) -> dict[int, Tensor]:
    """f of every micro-batch of m samples (groups, ...), for each m; f needs about four vectors of the size of w (d,).

    The micro-batches of all m are cut from one (random) order of the samples, those of a stream within its batches.
    """
    check_sizes(m, *lengths(batch))
    batch = shuffled(batch, generator)
    at_once = max(1, ELEMENTS // (4 * w.numel()))
    found: dict[int, list[Tensor]] = {size: [] for size in m}
    for part in chunks(batch, max(lengths(batch))):
        for size in m:
            if size <= samples(part):
                found[size].append(over(f, grouped(part, size), at_once))
    return {size: torch.cat(parts) for size, parts in found.items()}


def estimate(spread: float, std: Tensor | float, G: int, method: str) -> Estimate:
    """sum_j ||a_j - abar||^2 / (G - 1) of G groups, from that sum and the spread of its terms.

    Two groups are as far from their mean, wherever they lie: their terms tell no error, which is nan.
    """
    stderr = float(std) * G / (G - 1) / G**0.5 if G > 2 else math.nan
    return Estimate(spread / (G - 1), stderr, method, G)
