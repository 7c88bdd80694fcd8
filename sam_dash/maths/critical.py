"""Critical sharpness: 2 / eta, eta the smallest step along the gradient after which the loss is not lower.

    f(w - eta grad f(w)) = f(w)

(Kalra et al., arXiv:2601.16979). Forwards only, but for the gradient. Where the loss is quadratic along the gradient g
it is g^T H g / ||g||^2, the curvature along it (`ascent`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, mean_grad
from sam_dash.maths.samples import chunks, count

METHOD = "2 / eta where the loss is back; error: bisection's bracket"
DOUBLINGS, HALVINGS = 40, 12


def critical_sharpness(losses_fn: LossesFn, w: Tensor, batch: Batch, *, start: float = 1e-3) -> Estimate:
    """2 / eta; `stderr` bounds the error of the bisection, not the distance to another crossing before it.

    Steps double from `start`, and are halved first where the loss does not fall there. `converged` is False where no
    step of 2^40 times as much finds a crossing, and then the value is 2 / the last step.
    """
    n, g, forwards = count(batch), mean_grad(losses_fn, w, batch), 0

    def loss(at: Tensor) -> float:
        nonlocal forwards
        forwards += 1
        with torch.no_grad():
            return sum(float(losses_fn(at, part).double().sum()) for part in chunks(batch, 1024)) / n

    here, eta = loss(w), start
    rises = loss(w - eta * g) >= here
    for _ in range(DOUBLINGS):
        further = eta / 2 if rises else eta * 2
        if (loss(w - further * g) >= here) != rises:
            break
        eta = further
    else:
        return Estimate(2 / eta, 2 / eta, METHOD, forwards, converged=False)
    low, high = sorted((eta, further))  # the loss falls at `low`, and does not at `high`
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if loss(w - middle * g) >= here else (middle, high)
    value = 2 / ((low + high) / 2)
    return Estimate(value, 2 / low - value, METHOD, forwards)
