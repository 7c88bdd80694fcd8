"""The oracle: everything that one step of a variant may ask about the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from sam_dash.maths.flat import Layout
from sam_dash.maths.samples import chunks, count, each, grouped, over, samples

Batch = Any  # (x, y), each of any structure, or a `Stream` of them
LossesFn = Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True)
class Oracle:
    """Losses and gradients of one (micro-)batch of n samples at any w (d,).

    `losses_fn(w, batch) -> (n,)` are per-sample losses without weight decay. `noise` (K, d) is drawn before the
    step; `full` is the oracle of the whole training set, for n-SAM; `chunk` bounds how many samples a gradient takes at
    once. `t` is the step, from 0; `rate`, in [0, 1], where the learning rate stands between the smallest and the
    largest of its schedule, (lr - lr_min)/(lr_max - lr_min); `counts` (C,) how many training samples each class has;
    `layout` which coordinates belong to which tensor and layer.
    """

    losses_fn: LossesFn
    batch: Batch
    noise: Tensor | None = None
    full: Oracle | None = None
    chunk: int | None = None
    t: int = 0
    rate: float = 1.0
    counts: Tensor | None = None
    layout: Layout | None = None

    @property
    def n(self) -> int:
        """The number of samples."""
        return samples(self.batch)

    @property
    def labels(self) -> Tensor:
        """What belongs to the samples beside the inputs: y (n, ...)."""
        out: Tensor = self.batch[1]
        return out

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses.  (d,) -> (n,)."""
        return self.losses_fn(w, self.batch)

    def grad(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss.  (d,) -> (d,)."""
        if self.chunk is None:
            return grad(mean_loss(self.losses_fn, self.batch))(w)
        return mean_grad(self.losses_fn, w, self.batch, chunk=self.chunk)

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Losses (n,) and p (n,) -> grad of sum_i p_i l_i (d,), from one forward."""
        losses, pull = vjp(self.losses, w)[:2]
        return losses, lambda p: pull(p)[0]

    def grads(self, w: Tensor) -> Tensor:
        """Per-sample gradients.  (d,) -> (n, d)."""
        return per_sample_grads(self.losses_fn, w, self.batch)

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of the mean loss at w times v.  (d,), (d,) -> (d,)."""
        out: Tensor = jvp(grad(mean_loss(self.losses_fn, self.batch)), (w,), (v,))[1]
        return out

    def take(self, index: Tensor) -> Oracle:
        """The oracle of those samples only."""
        return replace(self, batch=each(self.batch, lambda leaf: leaf[index]))


def per_sample_grads(losses_fn: LossesFn, w: Tensor, batch: Batch) -> Tensor:
    """The gradient of every sample's loss.  (d,) -> (n, d)."""

    out: Tensor = over(lambda one: grad(mean_loss(losses_fn, one))(w), grouped(batch, 1))
    return out


def mean_grad(losses_fn: LossesFn, w: Tensor, batch: Batch, *, chunk: int = 1024) -> Tensor:
    """The gradient of the mean loss over all samples, `chunk` of them at once.  (d,) -> (d,)."""
    n, total = count(batch), torch.zeros_like(w)
    for part in chunks(batch, chunk):
        total += grad(mean_loss(losses_fn, part))(w) * (samples(part) / n)
    return total


def mean_loss(losses_fn: LossesFn, batch: Batch) -> Callable[[Tensor], Tensor]:
    """The loss f(w) = mean_i l_i(w) as a function of w alone."""
    return lambda w: losses_fn(w, batch).mean()
