"""Monge SAM: SAM in the metric that the loss surface itself induces.

    G      = I + g g^T,   g = grad L(w)
    eps(w) = rho g / (||g|| sqrt(1 + ||g||^2)),   the steepest ascent of length eps^T G eps = rho^2
    h(w)   = grad L(w + eps)

SAM where the gradient is small, SGD where it is large. Jacobsen & Arvanitidis, arXiv:2502.08448.
Deviation: none known; the authors' code has not been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


@variant(
    "Monge SAM",
    ref="arXiv:2502.08448",
    cost=Cost(gradients=2),
    defaults={"rho": "ours (SAM's)"},
    family="usam",
    chained=True,
    factored=True,
)
def mongesam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * unit(g) / (1 + g.norm() ** 2) ** 0.5
    return Step(L.grad(w + eps), eps, g)
