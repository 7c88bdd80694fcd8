"""n-SAM: SAM whose perturbation comes from the gradient of the full training set, at every step.

    eps(w) = rho grad f(w) / ||grad f(w)||,   f the loss of all N training samples
    h(w)   = grad L(w + eps)

Foret et al., ICLR 2021, arXiv:2010.01412, section 4.1 (m = n); Luo et al., arXiv:2509.18001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


DEFAULTS = {"rho": "ours (SAM's)"}


@variant(
    "n-SAM",
    ref="arXiv:2509.18001",
    cost=Cost(gradients=1, full=1),
    no_m="its perturbation is of the full training set",
    defaults=DEFAULTS,
    chained=True,
    family="nsam",
)
def nsam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05) -> Step:
    """One step."""
    assert L.full is not None, "n-SAM needs the full-data oracle"
    g = L.full.grad(w)
    eps = rho * unit(g)
    return Step(L.grad(w + eps), eps, g)
