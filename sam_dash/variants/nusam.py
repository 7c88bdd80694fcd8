"""n-USAM: USAM whose perturbation is the gradient of the full training set, at every step.

    eps(w) = rho grad f(w),   f the loss of all N training samples
    h(w)   = grad L(w + eps)

Luo et al., arXiv:2509.18001: it descends f + rho/2 ||grad f||^2 and lacks the tr V term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Radius, Step, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


DEFAULTS = {"rho": "ours (SAM's)"}


@variant(
    "n-USAM",
    ref="arXiv:2509.18001",
    cost=Cost(gradients=1, full=1),
    no_m="its perturbation is of the full training set",
    defaults=DEFAULTS,
    chained=True,
    family="nusam",
)
def nusam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05) -> Step:
    """One step."""
    assert L.full is not None, "n-USAM needs the full-data oracle"
    g = L.full.grad(w)
    eps = rho * g
    return Step(L.grad(w + eps), eps, g)
