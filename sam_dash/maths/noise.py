"""Gradient noise: tr(V), V the covariance of per-sample gradients, and its 1/m law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from sam_dash.maths import scale, tail
from sam_dash.maths.curvature import ELEMENTS, chunks
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, mean_loss, per_sample_grads


def method(m: int) -> str:
    """The method of tr(V) at m as it is stored."""
    return f"covariance of {'per-sample gradients' if m == 1 else f'mean gradients of {m} samples'}, unbiased"


def tr_V(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """The trace of the covariance of mean gradients of m samples, for each m; m = 1 is tr(V).

    Unbiased: over G disjoint groups, 1/(G-1) sum_j ||gbar_j - gbar||^2, whose expectation over the random grouping is
    tr(V)/m. The groups of all m come from one order of the samples. Errors are sampling errors over the groups.
    """
    check_sizes(m, n := len(batch[1]))
    batch = shuffled(batch, generator)
    centre = torch.zeros_like(w)
    for part in chunks(batch, 4096):
        centre += grad(mean_loss(losses_fn, part))(w) * (len(part[1]) / n)
    groups: dict[int, list[Tensor]] = {size: [] for size in m}
    totals = {size: torch.zeros_like(w, dtype=torch.float64) for size in m}
    whole = math.lcm(*m)  # no group is cut
    size_of_chunk = max(whole, ELEMENTS // w.numel() // whole * whole)
    for part in chunks(batch, size_of_chunk):
        dev = per_sample_grads(losses_fn, w, part) - centre
        for size in m:
            whole = len(dev) // size * size
            means = dev[:whole].unflatten(0, (-1, size)).mean(1)  # (groups, d), relative to the centre
            groups[size].append(means.square().sum(1).double())
            totals[size] += means.sum(0).double()
    out = {}
    for size in m:
        squares = torch.cat(groups[size])
        spread = float(squares.sum()) - float(totals[size].square().sum()) / len(squares)
        out[size] = estimate(spread, squares.std(), len(squares), method(size))
    return out


BY_LAYER = "covariance of per-sample gradients in one layer, unbiased"


def by_layer(losses_fn: LossesFn, w: Tensor, batch: Batch, sizes: Mapping[str, int]) -> dict[str, Estimate]:
    """The part of tr(V) of each layer, of so many parameters in the order of w: the trace of its block of V.

    Unbiased as tr(V), of which they are the summands; errors are sampling errors over the samples.
    """
    check_sizes((1,), n := len(batch[1]))
    centre = torch.zeros_like(w)
    for part in chunks(batch, 4096):
        centre += grad(mean_loss(losses_fn, part))(w) * (len(part[1]) / n)
    found = []
    for part in chunks(batch, max(1, ELEMENTS // w.numel())):
        dev = (per_sample_grads(losses_fn, w, part) - centre).split(list(sizes.values()), 1)
        found.append(torch.stack([block.square().sum(1).double() for block in dev]))
    squares = torch.cat(found, 1)
    return {name: estimate(float(x.sum()), x.std(), n, BY_LAYER) for name, x in zip(sizes, squares, strict=True)}


class Noise(NamedTuple):
    """The gradient noise of one run, in all that is measured of it.

    `by_m`: tr(V) of means of m samples, by m (`tr_V`). `by_layer`: what each layer adds to it, in order (`by_layer`).
    `grad_sq`: the squared norm of the mean gradient, without bias (`scale.grad_sq`). `deviations`: ||g_i - gbar|| of
    every sample (n,) (`tail.deviations`).
    """

    by_m: dict[int, Estimate]
    by_layer: list[Estimate]
    grad_sq: Estimate
    deviations: Tensor


def noise(
    losses_fn: LossesFn, w: Tensor, batch: Batch, sizes: Mapping[str, int], *, m: Sequence[int] = (1,),
    generator: torch.Generator | None = None,
) -> Noise:  # fmt: skip
    """The gradient noise at w (d,); `sizes` are those of the layers (`Layout.sizes`), and 1 is among the m."""
    by_m = tr_V(losses_fn, w, batch, m=m, generator=generator)
    layers = list(by_layer(losses_fn, w, batch, sizes).values())
    grad_sq = scale.grad_sq(losses_fn, w, batch, by_m[1].value)
    return Noise(by_m, layers, grad_sq, tail.deviations(losses_fn, w, batch))


def check_sizes(m: Sequence[int], n: int) -> None:
    """Raise ValueError for an m of which n samples do not make two groups."""
    for size in m:
        if not 1 <= size <= n // 2:
            raise ValueError(f"m = {size}: expected between 1 and n/2 = {n // 2}, else there is no variance")


def shuffled(batch: Batch, generator: torch.Generator | None) -> Batch:
    """The samples in a random order, or as they are."""
    if generator is None:
        return batch
    order = torch.randperm(len(batch[1]), generator=generator).to(batch[1].device)
    return batch[0][order], batch[1][order]


def estimate(spread: float, std: Tensor | float, G: int, method: str) -> Estimate:
    """sum_j ||a_j - abar||^2 / (G - 1) of G groups, from that sum and the spread of its terms."""
    return Estimate(spread / (G - 1), float(std) * G / (G - 1) / G**0.5, method, G)
