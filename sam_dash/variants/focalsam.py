"""Focal-SAM: SAM whose sharpness penalty is heavier for rare classes.

    L^gamma(w) = mean_i c_{y_i} l_i(w),   c_y = (1 - N_y/N)^gamma,   N_y training samples of class y
    eps(w)     = rho u(grad L^gamma(w)),   u(v) = v / ||v||
    h(w)       = grad L(w) - lambda grad L^gamma(w) + lambda grad L^gamma(w + eps)

Li et al., ICML 2025, arXiv:2505.01660. gamma = 0 and lambda = 1 is SAM, lambda = 0 is SGD.
Deviation: the loss is the cross-entropy; the paper's base loss is logit adjustment. N_y counts the labels trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Focus = Annotated[float, Knob("γ_f", "how much more rare classes weigh; 0: all the same", 0.0, 20.0)]
Penalty = Annotated[float, Knob("λ_f", "weight of the sharpness penalty; 0 is SGD", 0.0, 10.0)]
DEFAULTS = dict.fromkeys(("rho", "focus", "penalty"), "official code (scongl/Focal-SAM, CIFAR-10-LT)")


@variant(
    "Focal-SAM",
    ref="arXiv:2505.01660",
    cost=Cost(gradients=2, backwards=1),
    is_sam_at={"focus": 0.0, "penalty": 1.0},
    defaults=DEFAULTS,
    family="rwsam",
    counts=True,
)
def focalsam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.2, focus: Focus = 3.0, penalty: Penalty = 0.5) -> Step:
    """One step."""
    assert L.counts is not None, "Focal-SAM needs the class counts"
    N = L.counts.to(w)
    c = (1 - N / N.sum())[L.labels] ** focus / L.n
    _, pull = L.pullback(w)
    g, g_c = pull(0 * c + 1 / L.n), pull(c)
    eps = rho * unit(g_c)
    return Step(g - penalty * g_c + penalty * L.pullback(w + eps)[1](c), eps, g)
