"""The tail index alpha of a sample: P(|X| > x) ~ x^-alpha. Small alpha, heavy tail; a Gaussian has none (alpha large).

Hill's estimator (Annals of Statistics, 1975): of the k largest |x|,

    1/alpha = mean_i log(|x|_(i) / |x|_(k+1)),   standard error alpha / sqrt(k)

Heavy tails are not proven by it: any sample has a k largest and so an alpha, and distributions with light tails give
alpha of 3 to 10 at usual sizes (Xie et al., arXiv:2006.04740 dispute heavy-tailed gradient noise on these grounds).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sam_dash.maths.estimate import Estimate

METHOD = "Hill, largest tenth; no proof of heavy tails"


def hill(samples: Tensor, share: float = 0.1) -> Estimate:
    """alpha of |samples| from their largest `share`; ValueError for fewer than 20 samples or without a tail."""
    x = samples.abs().double().flatten()
    k = round(share * len(x))
    if len(x) < 20 or not 1 < k < len(x):
        raise ValueError(f"{len(x)} samples, the largest {share:g}: expected at least 20, and a share that leaves some")
    top = x.topk(k + 1).values
    if top[-1] <= 0:
        raise ValueError("more than the share asked for are the only values that are not 0: there is no tail to fit")
    alpha = 1 / float((top[:k] / top[k]).log().mean())
    return Estimate(alpha, alpha / k**0.5, METHOD, k)


def norm_tail(squares: Tensor, share: float = 0.1) -> Estimate:
    """The index of norms ||g_i - gbar|| given their squares (n,)."""
    return hill(squares.clamp_min(0).sqrt(), share)


def student_t(nu: float, n: int, generator: torch.Generator) -> Tensor:
    """n draws of Student's t with nu degrees of freedom, whose tail index is nu (n,)."""
    normal = torch.randn(n, generator=generator, dtype=torch.float64)
    # chi-square of nu = sum of nu squared normals, for whole nu
    chi = torch.randn(n, int(nu), generator=generator, dtype=torch.float64).square().sum(1)
    return normal / (chi / nu).sqrt()
