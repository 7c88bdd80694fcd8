"""Base optimisers on a flat w (d,): (init, update), as in torch.optim, and learning-rate schedules.

Weight decay is applied here, at w, and never inside the loss, so that rho means the same for every variant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Base(NamedTuple):
    """`init(w) -> state`; `update(w, h, state, lr) -> (w, state)`, elementwise in w."""

    init: Callable[[Tensor], Any]
    update: Callable[[Tensor, Tensor, Any, float], tuple[Tensor, Any]]


def sgd(momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Base:
    """Stochastic gradient descent: b <- mu b + h, w <- w - lr b (Nesterov: h + mu b), with h <- h + wd w."""

    def init(w: Tensor) -> Tensor:
        return torch.zeros_like(w)

    def update(w: Tensor, h: Tensor, b: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        h = torch.add(h, w, alpha=weight_decay) if weight_decay else h
        b = torch.add(h, b, alpha=momentum)
        return torch.add(w, torch.add(h, b, alpha=momentum) if nesterov else b, alpha=-lr), b

    return Base(init, update)


class Moments(NamedTuple):
    """AdamW's state: first and second moments and the step count."""

    mean: Tensor
    square: Tensor
    t: int


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01) -> Base:
    """AdamW with bias correction and decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101)."""

    def init(w: Tensor) -> Moments:
        return Moments(torch.zeros_like(w), torch.zeros_like(w), 0)

    def update(w: Tensor, h: Tensor, s: Moments, lr: float) -> tuple[Tensor, Moments]:
        t = s.t + 1
        mean = b1 * s.mean + (1 - b1) * h
        square = b2 * s.square + (1 - b2) * h * h
        root = (square / (1 - b2**t)).sqrt() + eps
        return w * (1 - lr * weight_decay) - lr / (1 - b1**t) * mean / root, Moments(mean, square, t)

    return Base(init, update)


def cosine(lr: float, steps: int) -> Callable[[int], float]:
    """lr/2 (1 + cos(pi t/T)): from lr at t = 0 to 0 at t = T."""
    return lambda t: lr / 2 * (1 + math.cos(math.pi * t / steps))


def constant(lr: float, _steps: int) -> Callable[[int], float]:
    """The learning rate lr at every step."""
    return lambda _t: lr


SCHEDULES: dict[str, Callable[[float, int], Callable[[int], float]]] = {"cosine": cosine, "constant": constant}
