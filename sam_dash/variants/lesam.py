"""LE-SAM: SAM whose radius is such that the loss rises by a fixed amount, to first order.

    eps(w) = min(sigma / ||g||, rho) g / ||g||,   g = grad L(w)
    h(w)   = grad L(w + eps)

Wang et al., *Fix the Loss, Not the Radius*, ICML 2026, arXiv:2605.10183; code: smithgun2005/LE-SAM-ICML2026. The rise
is eps . g = sigma wherever the cap rho on the length is not reached; where it is, for sigma >= rho ||g||, this is SAM.
Deviation: the code raises sigma linearly from 0 over the first 10 of its 200 epochs and lowers it to 0 by a cosine over
the last 40; here it is constant. Its README's example sets the cap to 999, which is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import TINY, Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Rise = Annotated[float, Knob("σ_L", "how much the loss may rise, to first order; SAM where it is large", 0.0, 1e6)]
DEFAULTS = {"rho": "official code (the script's, as a cap)", "rise": "official code (README and script)"}


@variant(
    "LE-SAM",
    ref="arXiv:2605.10183",
    cost=Cost(gradients=2),
    is_sam_at={"rise": 1e6},
    defaults=DEFAULTS,
    chained=True,
    factored=True,
)
def lesam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.3, rise: Rise = 0.35) -> Step:
    """One step."""
    g = L.grad(w)
    eps = (rise / (g.norm() + TINY)).clamp(max=rho) * unit(g)
    return Step(L.grad(w + eps), eps, g)
