"""X-SAM: SAM that descends less along the top eigenvector of the Hessian.

    eps(w) = rho g / ||g||,   g = grad L(w),   g_p = grad L(w + eps)
    v      : top eigenvector, by power iteration on the mini-batch's Hessian, every `turns` steps
    h(w)   = g_p - alpha <g_p, v> v

Duan et al., 2026, arXiv:2601.10251. alpha = 0 is SAM, alpha = 1 takes the part along v out, alpha = 2 turns it round.
Deviation: read at second hand, where h is g_p / ||g_p|| - alpha sign(<g_p, v>) <g_p, v> v. That takes the part along v
out or doubles it as v or -v came out of the power iteration, an eigenvector having no sign of its own; so v is turned
towards g_p here, and the length of h stays SAM's. How often v is found and with how many products is Eigen-SAM's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from sam_dash.maths.contract import Knob, Radius, Step, unit, variant
from sam_dash.variants.eigensam import Powers, State, Turns, cost, top

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Less = Annotated[float, Knob("α_x", "how much of the part along the eigenvector is taken out; 0 is SAM", 0.0, 2.0)]
DEFAULTS = {
    "rho": "ours (SAM's)", "less": "ours (half of it; the paper's range is 0 to 2)", "turns": "ours (Eigen-SAM's)",
    "powers": "ours (Eigen-SAM's)",
}  # fmt: skip


@variant(
    "X-SAM",
    ref="arXiv:2601.10251",
    cost=cost,
    is_sam_at={"less": 0.0},
    init=lambda w: State(0 * w),
    noise=1,
    no_m="each micro-batch would have an eigenvector of its own, and vectors without a sign have no mean",
    defaults=DEFAULTS,
)
def xsam(
    L: Oracle, w: Tensor, s: State, *,
    rho: Radius = 0.05, less: Less = 0.5, turns: Turns = 100, powers: Powers = 5,
) -> Step:  # fmt: skip
    """One step."""
    v = top(L, w, s.v, turns, powers)
    g = L.grad(w)
    eps = rho * unit(g)
    g_p = L.grad(w + eps)
    return Step(g_p - less * (g_p @ v) * v, eps, g, State(v))
