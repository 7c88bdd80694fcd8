"""SANER: SAM whose gradient counts less in the coordinates in which it is shorter than SGD's.

    eps(w) = rho g / ||g||,   g = grad L(w),   g_p = grad L(w + eps)
    h(w)   = (1 - alpha M) g_p,   M = 1 where 0 < g_p / g < 1, else 0, coordinate by coordinate

Luong et al., "Understanding SAM's Robustness to Noisy Labels through Gradient Down-weighting", AISTATS 2026,
arXiv:2411.17132; code: lhchau/saner. alpha = 0 is SAM, alpha = 1 leaves those coordinates out: under label noise SAM
shortens the gradients of noisy samples more than of clean ones, which this goes on with.
Deviation: the README's formula, as above; the code multiplies by alpha itself where M is 1 (alike at alpha = 1/2), and
divides by g + 1e-8, so that at rho = 0 it takes every positive coordinate for shortened. The authors raise alpha from 0
over the first 50 epochs; here it is constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Down = Annotated[float, Knob("α_N", "how much less the shortened coordinates count; 0 is SAM", 0.0, 1.0)]
DEFAULTS = dict.fromkeys(("rho", "down"), "official code (lhchau/saner)")


@variant("SANER", ref="arXiv:2411.17132", cost=Cost(gradients=2), is_sam_at={"down": 0.0}, defaults=DEFAULTS)
def saner(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.1, down: Down = 0.5) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * unit(g)
    g_p = L.grad(w + eps)
    shorter = ((g_p * g > 0) & (g_p.abs() < g.abs())).to(g)
    return Step((1 - down * shorter) * g_p, eps, g)
