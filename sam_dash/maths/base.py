"""Base optimisers on a flat w (d,): (init, update), as in torch.optim, and learning-rate schedules.

Weight decay is applied here, at w, and never inside the loss, so that rho means the same for every variant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sam_dash.maths.contract import Step


class Base(NamedTuple):
    """`init(w) -> state`; `update(w, h, state, lr) -> (w, state)`, elementwise in w."""

    init: Callable[[Tensor], Any]
    update: Callable[[Tensor, Tensor, Any, float], tuple[Tensor, Any]]

    def descend(self, w: Tensor, way: Descent, state: Any, lr: float) -> tuple[Tensor, Any]:
        """The next w (d,) and state: `update` where the step moves w, and what passes it by."""
        new, kept = self.update(w, way.h, state, lr)
        if isinstance(way.moves, Tensor):
            on = way.moves > 0

            def where(after: Any, before: Any) -> Tensor:  # a step count is a number while all coordinates share it
                a, b = (x if isinstance(x, Tensor) else w.new_tensor(x) for x in (after, before))
                return torch.where(on, a, b)

            new, kept = where(new, w), pytree.tree_map(where, kept, state)
        return (torch.add(new, way.aside, alpha=-lr) if isinstance(way.aside, Tensor) else new), kept


class Descent(NamedTuple):
    """What a step of a variant gives to the base optimiser: `h`, `aside` and `moves` of `Step`."""

    h: Tensor
    aside: Tensor | tuple[()] = ()
    moves: Tensor | tuple[()] = ()

    @classmethod
    def of(cls, step: Step) -> Descent:
        """What of a step the base optimiser takes."""
        return cls(step.h, step.aside, step.moves)


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
    t: int | Tensor  # of each coordinate, where some were left out of a step


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
