"""WSAM: the gradient, plus the gradient of sharpness weighed as a regulariser.

    eps(w) = rho g / ||g||,   g = grad L(w)
    h(w)   = g + gamma / (1 - gamma) (grad L(w + eps) - g)

Yue et al., KDD 2023, arXiv:2305.15817. gamma = 1/2 is SAM, 0 is SGD.
Deviation: the paper's "decoupled" form applies the sharpness part outside the base optimiser. A step here returns one
h for it (the coupled form); the two agree under SGD without momentum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Weight = Annotated[float, Knob("γ", "weight of sharpness against the loss; 0.5 is SAM", 0.0, 0.99)]
DEFAULTS = dict.fromkeys(("rho", "gamma"), "other implementation (pytorch_optimizer 4.1.0)")


@variant("WSAM", ref="arXiv:2305.15817", cost=Cost(gradients=2), is_sam_at={"gamma": 0.5}, defaults=DEFAULTS)
def wsam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05, gamma: Weight = 0.9) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * unit(g)
    return Step(g + gamma / (1 - gamma) * (L.grad(w + eps) - g), eps, g)
