"""GSAM: SAM that also descends the part of the gradient which does not change the perturbed loss.

    eps(w) = rho_t g / ||g||,   g = grad L(w),   g_p = grad L(w + eps)
    h(w)   = g_p - alpha (g - <g, g_p> / ||g_p||^2 g_p)
    rho_t  = rho_min + (rho - rho_min) (lr_t - lr_min) / (lr_max - lr_min),   rho_min = floor rho

Zhuang et al., ICLR 2022, arXiv:2203.08065; code: juntang-zhuang/GSAM.
Deviation: rho_min is given by its ratio to rho, floor, which is 1, a constant radius, unless you say so. alpha = 0.4 is
that of the first author's PyTorch example; the JAX configuration of the paper has 0.6 with rho from 0.1 to 0.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import TINY, Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Gap = Annotated[float, Knob("α_G", "weight of the gradient across the perturbed one; 0 is SAM", 0.0, 10.0)]
Floor = Annotated[float, Knob("ρ_min/ρ", "the radius at the smallest learning rate, as a share of ρ", 0.0, 1.0)]
DEFAULTS = {"rho": "ours (SAM's)", "gap": "official code (PyTorch example)", "floor": "ours (constant)"}


@variant("GSAM", ref="arXiv:2203.08065", cost=Cost(gradients=2), is_sam_at={"gap": 0.0}, defaults=DEFAULTS)
def gsam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05, gap: Gap = 0.4, floor: Floor = 1.0) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * (floor + (1 - floor) * L.rate) * unit(g)
    g_p = L.grad(w + eps)
    across = g - g @ g_p / (g_p @ g_p + TINY) * g_p
    return Step(g_p - gap * across, eps, g)
