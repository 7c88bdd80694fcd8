"""WSAM: the gradient, plus the gradient of sharpness weighed as a regulariser.

    eps(w) = rho g / ||g||,   g = grad L(w)
    s(w)   = gamma / (1 - gamma) (grad L(w + eps) - g),   the gradient of the sharpness, weighed
    h(w)   = g, and after the base optimiser w <- w - lr s(w)    (form "decoupled")
    h(w)   = g + s(w)                                            (form "coupled")

Yue et al., KDD 2023, arXiv:2305.15817; code: atorch (WeightedSAM), whose default is the decoupled form. gamma = 0 is
SGD, gamma = 1/2 coupled is SAM. The forms agree under gradient descent without momentum. Under a momentum of 0.9 the
coupled sharpness part of gamma = 0.9 adds up to 90 lr a step in the long run, the decoupled one is 9 lr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Weight = Annotated[float, Knob("γ", "weight of sharpness against the loss; 0.5 is SAM", 0.0, 0.99)]
Form = Annotated[
    Literal["decoupled", "coupled"], Knob("coupling", "sharpness beside the base optimiser, or through it")
]
DEFAULTS = dict.fromkeys(("rho", "gamma", "coupling"), "official code (atorch)")


@variant(
    "WSAM",
    ref="arXiv:2305.15817",
    cost=Cost(gradients=2),
    is_sam_at={"gamma": 0.5, "coupling": "coupled"},
    defaults=DEFAULTS,
)
def wsam(
    L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05, gamma: Weight = 0.9, coupling: Form = "decoupled"
) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * unit(g)
    sharp = gamma / (1 - gamma) * (L.grad(w + eps) - g)
    return Step(g + sharp, eps, g) if coupling == "coupled" else Step(g, eps, g, aside=sharp)
