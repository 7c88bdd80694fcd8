"""The tail index alpha of gradient noise: P(||g_i - gbar|| > x) ~ x^-alpha. A small alpha is a heavy tail.

Hill's estimator (Annals of Statistics, 1975) from the k largest of n values:

    1/alpha = mean_{i <= k} log(x_(i) / x_(k+1)),   standard error alpha / sqrt(k)

It does not prove a heavy tail: every sample has k largest values and so an alpha, and light tails give a finite one at
any finite n. What it can tell is that one setting's tail is heavier than another's at the same n and k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sam_dash.maths.estimate import Estimate

METHOD = "Hill, largest tenth; no proof of a heavy tail"
SHARE = 0.1
FLUCTUATIONS = "Hill, largest 5 % after half of the steps; block jackknife"
TOP = (
    0.05  # of the fluctuations: at a tenth, indices above 3 cannot be told from a Gaussian's (tests/maths/test_tail.py)
)
BLOCKS = 20
STEADY = 1.0  # standard deviations that the means of the two halves may differ by


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


def fluctuation(norms: Tensor, share: float = TOP) -> Estimate:
    """alpha of | ||w_t|| - mean | over the second half of the steps, from ||w_t|| (T,) of a run at constant rate.

    The centred norm, and not ||w_t - wbar||: of many coordinates that lies in a narrow band far from 0, and Hill's
    estimator, which a shift changes, then finds the band. (Where the fluctuations are as large as the norm, centring it
    is such a shift.) Steps depend on each other, so that alpha / sqrt(k) would be
    far too small: the error is that of leaving out one of `BLOCKS` blocks of steps at a time. `residual`: by how many
    standard deviations the means of the two halves differ; above `STEADY` the norm still drifts. ValueError as `hill`.
    """
    x = norms.double()[len(norms) // 2 :]
    x = x[len(x) % BLOCKS :]
    if len(x) * share < 2 * BLOCKS:
        raise ValueError(f"{len(norms)} steps: expected at least {round(4 * BLOCKS / share)}")
    away = x - x.mean()
    blocks = away.reshape(BLOCKS, -1)
    without = torch.tensor([hill(blocks[torch.arange(BLOCKS) != b], share).value for b in range(BLOCKS)])
    error = float((without - without.mean()).square().sum() * (BLOCKS - 1) / BLOCKS) ** 0.5
    first, second = x.tensor_split(2)
    drift = float((first.mean() - second.mean()).abs() / x.std())
    found = hill(away, share)
    return Estimate(found.value, error, FLUCTUATIONS, found.budget, drift, drift < STEADY)
