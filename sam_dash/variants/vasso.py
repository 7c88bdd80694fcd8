"""VaSSO: SAM along a running mean of the gradients, to suppress their variance.

    d_t    = (1 - theta) d_{t-1} + theta g_t,   d_0 = g_0
    eps(w) = rho d_t / ||d_t||
    h(w)   = grad L(w + eps)

Li & Giannakis, NeurIPS 2023, arXiv:2309.15639; also Li et al., arXiv:2509.02433. theta = 1 is SAM.
Code: BingcongLi/VaSSO, whose configuration has theta = 0.9 and rho = 0.05.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Fresh = Annotated[float, Knob("θ", "share of the present gradient in the mean; 1 is SAM", 0.0, 1.0)]
DEFAULTS = dict.fromkeys(("rho", "theta"), "official code (BingcongLi/VaSSO)")


class State(NamedTuple):
    """`mean` (d,): the running mean of the gradients."""

    mean: Tensor


@variant(
    "VaSSO",
    ref="arXiv:2309.15639",
    cost=Cost(gradients=2),
    is_sam_at={"theta": 1.0},
    init=lambda w: State(0 * w),
    defaults=DEFAULTS,
    family="nsam",
)
def vasso(L: Oracle, w: Tensor, s: State, *, rho: Radius = 0.05, theta: Fresh = 0.9) -> Step:
    """One step."""
    g = L.grad(w)
    mean = (1 - theta) * s.mean + theta * g if L.t else g
    eps = rho * unit(mean)
    return Step(L.grad(w + eps), eps, g, State(mean))
