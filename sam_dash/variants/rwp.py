"""RWP: descend the gradient taken at a random point at distance rho.

    eps(w) = rho z / ||z||,   z ~ N(0, I) drawn anew in every step
    h(w)   = grad L(w + eps)

The control for SAM: is it the direction that matters? Li et al., arXiv:2211.11489; no second gradient is needed.
Deviation: theirs is filter-wise and adds the clean gradient; ours has SAM's radius, for comparison at equal length.
The gradient at w is not computed, and h is reported in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


@variant(
    "RWP",
    ref="arXiv:2211.11489",
    cost=Cost(gradients=1),
    noise=1,
    law="normal",
    defaults={"rho": "ours (SAM's)"},
    family="sgd",
)
def rwp(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05) -> Step:
    """One step."""
    assert L.noise is not None, "RWP needs noise"
    eps = rho * unit(L.noise[0])
    h = L.grad(w + eps)
    return Step(h, eps, h)
