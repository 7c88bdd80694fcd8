"""Gradient noise: tr(V), V the covariance of per-sample gradients, and its 1/m law."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad

from sam_dash.maths.curvature import ELEMENTS, chunks
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, mean_loss, per_sample_grads


def tr_V(
    losses_fn: LossesFn, w: Tensor, batch: Batch, *, m: Sequence[int] = (1,), generator: torch.Generator | None = None
) -> dict[int, Estimate]:
    """The trace of the covariance of mean gradients of m samples, for each m; m = 1 is tr(V).

    Unbiased: over G disjoint groups, 1/(G-1) sum_j ||gbar_j - gbar||^2, whose expectation over the random grouping is
    tr(V)/m. The groups of all m come from one order of the samples. Errors are sampling errors over the groups.
    """
    n = len(batch[1])
    for size in m:
        if not 1 <= size <= n // 2:
            raise ValueError(f"m = {size}: expected between 1 and n/2 = {n // 2}, else there is no variance")
    if generator is not None:
        order = torch.randperm(n, generator=generator).to(batch[1].device)
        batch = batch[0][order], batch[1][order]
    centre = torch.zeros_like(w)
    for part in chunks(batch, 4096):
        centre += grad(mean_loss(losses_fn, part))(w) * (len(part[1]) / n)
    groups: dict[int, list[Tensor]] = {size: [] for size in m}
    totals = {size: torch.zeros_like(w, dtype=torch.float64) for size in m}
    size_of_chunk = max(max(m), ELEMENTS // w.numel() // max(m) * max(m))
    for part in chunks(batch, size_of_chunk):
        dev = per_sample_grads(losses_fn, w, part) - centre
        for size in m:
            whole = len(dev) // size * size
            means = dev[:whole].unflatten(0, (-1, size)).mean(1)  # (groups, d), relative to the centre
            groups[size].append(means.square().sum(1).double())
            totals[size] += means.sum(0).double()
    return {size: _trace(torch.cat(groups[size]), totals[size], size) for size in m}


def _trace(squares: Tensor, total: Tensor, m: int) -> Estimate:
    """sum_j ||a_j - abar||^2 / (G-1) from ||a_j||^2 (G,) and sum_j a_j (d,)."""
    G = len(squares)
    centred = squares - float(total.square().sum()) / G**2  # exact in the mean, and to first order in each term
    return Estimate(
        float(centred.sum()) / (G - 1),
        float(centred.std()) * G / (G - 1) / G**0.5,
        "per-sample gradients, unbiased" if m == 1 else f"means of {m} gradients, unbiased",
        G,
    )
