"""The oracle: everything that one step of a variant may ask about the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from sam_dash.maths.flat import Layout

Batch = tuple[Tensor, Tensor]
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
        return len(self.batch[1])

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses.  (d,) -> (n,)."""
        return self.losses_fn(w, self.batch)

    def grad(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss.  (d,) -> (d,)."""
        n = self.n
        if self.chunk is None or n <= self.chunk:
            return grad(mean_loss(self.losses_fn, self.batch))(w)
        parts = zip(*(a.split(self.chunk) for a in self.batch), strict=True)
        return sum(grad(mean_loss(self.losses_fn, p))(w) * (len(p[1]) / n) for p in parts)

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
        return replace(self, batch=(self.batch[0][index], self.batch[1][index]))


def per_sample_grads(losses_fn: LossesFn, w: Tensor, batch: Batch) -> Tensor:
    """The gradient of every sample's loss.  (d,) -> (n, d)."""

    def one(x: Tensor, y: Tensor) -> Tensor:
        return grad(lambda v: losses_fn(v, (x[None], y[None]))[0])(w)

    out: Tensor = vmap(one)(*batch)
    return out


def mean_loss(losses_fn: LossesFn, batch: Batch) -> Callable[[Tensor], Tensor]:
    """The loss f(w) = mean_i l_i(w) as a function of w alone."""
    return lambda w: losses_fn(w, batch).mean()
