"""Lookbehind-SAM: k ascent steps of rho each, and a descent along the gradients met at all of them.

    phi'_i = phi'_{i-1} + rho u(grad L(phi'_{i-1})),   phi_i = phi_{i-1} - lr grad L(phi'_i),   i = 1 ... k
    w     <- w + alpha (phi_k - w),   phi_0 = phi'_0 = w,   u(v) = v / ||v||

Mordido et al., ICML 2024, arXiv:2307.16704. So h(w) = alpha sum_i grad L(phi'_i) under SGD; k = alpha = 1 is SAM.
The README tries alpha = 0.2, 0.5 and 0.8.
Deviation: the base optimiser sees one h (theirs may take k inner steps); the adaptive alpha is left out. The gradient
at phi'_i serves the descent and the next ascent: k + 1 gradients, not 2k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Behind = Annotated[int, Knob("k_b", "ascent steps; 1 is SAM", 1, 100)]
Mix = Annotated[float, Knob("α_b", "step from the slow weights to the fast ones", 0.0, 1.0)]
DEFAULTS = dict.fromkeys(("rho", "behind", "mix"), "official code (README)")


def cost(*, behind: int, **_: Any) -> Cost:
    """One gradient at w, and one at each ascent."""
    return Cost(gradients=behind + 1)


@variant("Lookbehind-SAM", ref="arXiv:2307.16704", cost=cost, is_sam_at={"behind": 1, "mix": 1.0}, defaults=DEFAULTS)
def lookbehind(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05, behind: Behind = 2, mix: Mix = 0.5) -> Step:
    """One step."""
    g = first = L.grad(w)
    eps = total = 0 * w
    for _ in range(behind):
        eps = eps + rho * unit(g)
        g = L.grad(w + eps)
        total = total + g
    return Step(mix * total, eps, first)
