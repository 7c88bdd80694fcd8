"""Multi-step SAM: the perturbation found by k ascent steps of rho/k each.

    eps_i = eps_{i-1} + rho/k u(grad L(w + eps_{i-1})),   i = 1 ... k,   eps_0 = 0,   u(v) = v / ||v||
    h(w)  = grad L(w + eps_k)

Foret et al., ICLR 2021, and Kim et al., arXiv:2302.10181. k = 1 is SAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Ascents = Annotated[int, Knob("k_a", "ascent steps; 1 is SAM", 1, 100)]
DEFAULTS = {"rho": "ours (SAM's)", "ascents": "ours"}


def cost(*, ascents: int, **_: Any) -> Cost:
    """One gradient for each ascent and one for the descent."""
    return Cost(gradients=ascents + 1)


@variant("Multi-step SAM", ref="arXiv:2302.10181", cost=cost, is_sam_at={"ascents": 1}, defaults=DEFAULTS)
def multisam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05, ascents: Ascents = 2) -> Step:
    """One step."""
    g = first = L.grad(w)
    eps = rho / ascents * unit(first)
    for _ in range(ascents - 1):
        g = L.grad(w + eps)
        eps = eps + rho / ascents * unit(g)
    return Step(L.grad(w + eps), eps, first)
