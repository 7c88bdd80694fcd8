"""SAM: descend the gradient taken rho up the direction of steepest ascent.

    eps(w) = rho grad L(w) / ||grad L(w)||
    h(w)   = grad L(w + eps)

Foret et al., ICLR 2021, arXiv:2010.01412, eq. (2)-(3). At m < B it is m-SAM.
Deviation: weight decay is left out of the ascent direction (the reference code has it in the loss).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


DEFAULTS = {"rho": "official code (google-research/sam)"}


@variant(
    "SAM",
    ref="arXiv:2010.01412",
    cost=Cost(gradients=2),
    is_sam_at={},
    m_axis=True,
    defaults=DEFAULTS,
    chained=True,
    factored=True,
)
def sam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * unit(g)
    return Step(L.grad(w + eps), eps, g)
