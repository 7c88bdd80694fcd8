"""The SDE of USAM, n-USAM and m-USAM: its drift and its diffusion at given weights.

    dX = -b(X) dt + sqrt(eta S(X)) dW
    b  = grad( f + rho/2 ||grad f||^2 + rho/(2m) k tr V ),   k = 1, or (n - m)/(n - 1) without replacement
    S  = Cov( mean over the micro-batches I of grad f_I + rho H_I grad f_I )

with grad f in the place of the second grad f_I, and without the term in tr V, for n-USAM. S is quadratic in rho; the
micro-batches of a batch drawn with replacement are independent, so that S is m/B times that of one micro-batch.
Luo et al., arXiv:2509.18001 (as published; read at second hand).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.problems import Array

Diffusion = Literal["full", "first order", "rho = 0"]


@dataclass(frozen=True)
class Rule:
    """A variant: its radius `rho`, and whether it perturbs by the gradient of all samples (`of_all`, n-USAM)."""

    rho: float
    of_all: bool = False


def drift(g: Array, H: Array, rule: Rule, draw: Draw, tr_v: bool = True) -> Array:
    """b from the gradients (..., n, d) and Hessians (..., n, d, d) of all samples; `tr_v`: with its term.  (..., d)."""
    mean, curved = g.mean(-2), H.mean(-3)
    both = _times(curved, mean)
    b = mean + rule.rho * both
    if rule.of_all or not tr_v:
        return b
    extra = _times(H, g).mean(-2) - both  # grad tr V / 2
    return b + rule.rho * draw.weights(2)[0, 0] * extra


def covariance(g: Array, H: Array, rule: Rule, draw: Draw, diffusion: Diffusion = "full") -> Array:
    """S from the gradients (..., n, d) and Hessians (..., n, d, d) of all samples.  (..., d, d).

    `diffusion`: all of it, its terms up to the first order in rho, or its value at rho = 0.
    """
    mean, curved = g.mean(-2, keepdims=True), H.mean(-3, keepdims=True)
    dg, dH = g - mean, H - curved
    moved = _times(dH, mean)
    if not rule.of_all:
        moved = moved + _times(curved, dg)
    rho, once = rule.rho, draw.weights(1, 1)[0, 0]
    plain = once * _outer(dg, dg)
    if diffusion == "rho = 0":
        return plain
    v = _times(dH, dg)
    thrice = 0.0 if rule.of_all else draw.weights(1, 2)[0, 0, 0]
    if diffusion == "first order":
        return plain + rho * _twice(once * _outer(dg, moved) + thrice * _outer(dg, v))
    along = dg + rho * moved
    found = once * _outer(along, along)
    return found if rule.of_all else found + rho * thrice * _twice(_outer(along, v)) + rho**2 * _square(dg, dH, v, draw)


def _square(dg: Array, dH: Array, v: Array, draw: Draw) -> Array:
    """The covariance of the mean over the micro-batches of (mean of dH) (mean of dg); v = dH dg of every sample."""
    d = dg.shape[-1]
    flat = dH.reshape(*dH.shape[:-2], d * d)
    V, kinds, bends = _outer(dg, dg), _outer(flat, dg), _outer(flat, flat)
    kinds = kinds.reshape(*kinds.shape[:-2], d, d, d)
    bends = bends.reshape(*bends.shape[:-2], d, d, d, d)
    centre, c = v.mean(-2), draw.weights(2, 2)
    return (
        c[0, 0, 0, 0] * _outer(v, v)
        + (c[0, 0, 1, 1] - draw.weights(2)[0, 0] ** 2) * centre[..., :, None] * centre[..., None, :]
        + c[0, 1, 0, 1] * np.einsum("...abdc,...bc->...ad", bends, V)
        + c[0, 1, 1, 0] * np.einsum("...abc,...dcb->...ad", kinds, kinds)
    )


def _times(H: Array, v: Array) -> Array:
    return np.einsum("...ab,...b->...a", H, v)


def _outer(a: Array, b: Array) -> Array:
    """mean_i a_i b_i^T.  (..., n, d), (..., n, e) -> (..., d, e)."""
    return np.asarray(a.swapaxes(-1, -2) @ b / a.shape[-2])


def _twice(a: Array) -> Array:
    return a + a.swapaxes(-1, -2)
