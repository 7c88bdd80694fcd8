"""USAM: SAM with the gradient itself as the perturbation, not normalised.

    eps(w) = rho grad L(w)
    h(w)   = grad L(w + eps)

Andriushchenko & Flammarion, ICML 2022, arXiv:2206.06232. At m < B it is m-USAM, which descends
f + rho/2 ||grad f||^2 + rho/(2m) tr V to first order in rho (Luo et al., arXiv:2509.18001).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Radius, Step, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


DEFAULTS = {"rho": "ours (SAM's; the authors of Unified SAM searched 0.1 to 0.4)"}


@variant(
    "USAM",
    ref="arXiv:2206.06232",
    cost=Cost(gradients=2),
    m_axis=True,
    defaults=DEFAULTS,
    chained=True,
    factored=True,
    family="usam",
)
def usam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05) -> Step:
    """One step."""
    g = L.grad(w)
    eps = rho * g
    return Step(L.grad(w + eps), eps, g)
