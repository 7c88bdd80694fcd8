"""LookSAM: SAM every k steps, and in between the gradient pushed the way that SAM last turned it.

    t = 0 mod k:  g_v = g_p - <g_p, g> / ||g||^2 g,   h = g_p = grad L(w + rho g / ||g||)
    otherwise:    h = g + alpha ||g|| g_v / ||g_v||

Liu et al., CVPR 2022, arXiv:2203.02714.
Deviation: norms and projections are global, as in the paper; pytorch_optimizer 4.1.0 takes them tensor by tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Period = Annotated[int, Knob("k", "steps from one SAM step to the next; 1 is SAM", 1, 10_000)]
Push = Annotated[float, Knob("α_L", "how far the gradient is pushed in between", 0.0, 10.0)]
DEFAULTS = dict.fromkeys(("rho", "period", "push"), "other implementation (pytorch_optimizer 4.1.0)")


class State(NamedTuple):
    """`across` (d,): g_v, SAM's gradient across the gradient."""

    across: Tensor


def cost(*, period: int, **_: Any) -> Cost:
    """A second gradient in one of k steps."""
    return Cost(gradients=1 + 1 / period, period=period)


@variant(
    "LookSAM",
    ref="arXiv:2203.02714",
    cost=cost,
    is_sam_at={"period": 1},
    init=lambda w: State(0 * w),
    defaults=DEFAULTS,
    family="sgd",
)
def looksam(L: Oracle, w: Tensor, s: State, *, rho: Radius = 0.1, period: Period = 10, push: Push = 0.7) -> Step:
    """One step."""
    g = L.grad(w)
    if L.t % period:
        return Step(g + push * g.norm() * unit(s.across), 0 * g, g, s)
    eps = rho * unit(g)
    g_p = L.grad(w + eps)
    return Step(g_p, eps, g, State(g_p - g_p @ unit(g) * unit(g)))
