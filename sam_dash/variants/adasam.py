"""AdaSAM: SAM whose descent is AMSGrad without bias correction.

    g_p = grad L(w + rho g / ||g||),   g = grad L(w)
    m   = beta1 m + (1 - beta1) g_p,   v = beta2 v + (1 - beta2) g_p^2,   v_max = max(v_max, v)
    h   = eta m / sqrt(v_max),         v_max = 1e-16 at first

Sun et al., arXiv:2303.00565. h is a whole update direction: plain gradient descent takes it (no momentum).
Deviation: none in the rule. Our lr is scaled by eta, so that lr = 0.1 of our presets is a usual lr of Adam, 1e-3;
without bias correction the first step is still (1 - beta1) / sqrt(1 - beta2) = 3.2 times Adam's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

First = Annotated[float, Knob("β₁", "decay of the first moment", 0.0, 0.9999)]
Second = Annotated[float, Knob("β₂", "decay of the second moment", 0.0, 0.99999)]
Scale = Annotated[float, Knob("η_A", "the direction's length against the learning rate", 1e-6, 10.0)]
DEFAULTS = dict.fromkeys(("rho", "beta1", "beta2", "scale_lr"), "ours")


class State(NamedTuple):
    """The moments of g_p, each (d,): `m`, `v`, and the largest `v` so far."""

    m: Tensor
    v: Tensor
    largest: Tensor


@variant(
    "AdaSAM",
    ref="arXiv:2303.00565",
    cost=Cost(gradients=2),
    init=lambda w: State(0 * w, 0 * w, 0 * w + 1e-16),
    no_m="AMSGrad needs the moments of the whole batch's gradient; directions of micro-batches have no meaningful mean",
    descends=True,
    defaults=DEFAULTS,
    family="sgd",
)
def adasam(
    L: Oracle, w: Tensor, s: State, *,
    rho: Radius = 0.05, beta1: First = 0.9, beta2: Second = 0.999, scale_lr: Scale = 0.01,
) -> Step:  # fmt: skip
    """One step."""
    g = L.grad(w)
    eps = rho * unit(g)
    g_p = L.grad(w + eps)
    m = beta1 * s.m + (1 - beta1) * g_p
    v = beta2 * s.v + (1 - beta2) * g_p.square()
    largest = s.largest.maximum(v)
    return Step(scale_lr * m / largest.sqrt(), eps, g, State(m, v, largest))
