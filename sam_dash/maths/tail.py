"""The tail index alpha of gradient noise: P(||g_i - gbar|| > x) ~ x^-alpha. A small alpha is a heavy tail.

Hill's estimator (Annals of Statistics, 1975) from the k largest of n values:

    1/alpha = mean_{i <= k} log(x_(i) / x_(k+1)),   standard error alpha / sqrt(k)

It does not prove a heavy tail: every sample has k largest values and so an alpha, and light tails give a finite one at
any finite n. What it can tell is that one setting's tail is heavier than another's at the same n and k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sam_dash.maths.curvature import ELEMENTS, chunks
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, Oracle, per_sample_grads

METHOD = "Hill, largest tenth; no proof of a heavy tail"
SHARE = 0.1


def hill(values: Tensor, share: float = SHARE) -> Estimate:
    """alpha of |values| from their largest `share`; ValueError where there are too few, or too many zeros."""
    x = values.abs().double().flatten()
    k = round(share * len(x))
    if not 1 < k < len(x):
        raise ValueError(f"the largest {share:g} of {len(x)} values: expected at least 2, and fewer than all")
    top = x.topk(k + 1).values
    spread = float((top[:k] / top[k]).log().mean()) if top[k] > 0 else 0.0
    if spread <= 0:
        raise ValueError("the largest values are all equal, or all others are 0: there is no tail to fit")
    return Estimate(1 / spread, 1 / spread / k**0.5, METHOD, k)


def deviations(losses_fn: LossesFn, w: Tensor, batch: Batch) -> Tensor:
    """||g_i - gbar|| of every sample (n,)."""
    mean = Oracle(losses_fn, batch, chunk=1024).grad(w)
    pieces = chunks(batch, max(1, ELEMENTS // (4 * w.numel())))
    parts = [(per_sample_grads(losses_fn, w, part) - mean).double().square().sum(1) for part in pieces]
    return torch.cat(parts).sqrt()
