"""F-SAM: SAM along the noise of the gradient, what is left of it when its running mean is taken away.

    code:   d = g_t - sigma m_{t-1},   then m_t = lambda m_{t-1} + (1 - lambda) g_t
    paper:  m_t first,                 then d = g_t - sigma m_t
    eps(w) = rho d / ||d||,   h(w) = grad L(w + eps);   m_0 = g_0 and d = g_0 in the first step

Li et al., CVPR 2024, arXiv:2403.12350. For sigma = 1 the two orders have the same direction.
Deviation: the default is the order of the authors' code. Where d has lost half of its digits, so that it may be
round-off only, d = g: ||d|| < sqrt(u) ||g||, u the spacing of numbers at 1 (1.5e-8 in float64, 3.5e-4 in float32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, spacing, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Take = Annotated[float, Knob("σ", "how much of the running mean is taken away; 0 is SAM", 0.0, 10.0)]
Memory = Annotated[float, Knob("λ_m", "decay of the running mean of the gradients", 0.0, 1.0)]
Order = Annotated[Literal["code", "paper"], Knob("order", "the mean is of the steps before, or of this one too")]
DEFAULTS = dict.fromkeys(("rho", "sigma", "memory", "order"), "official code (nblt/F-SAM, run.sh)")


class State(NamedTuple):
    """`mean` (d,): m, the running mean of the gradients."""

    mean: Tensor


@variant(
    "F-SAM",
    ref="arXiv:2403.12350",
    cost=Cost(gradients=2),
    is_sam_at={"sigma": 0.0},
    init=lambda w: State(0 * w),
    defaults=DEFAULTS,
    family="nsam",
)
def fsam(
    L: Oracle, w: Tensor, s: State, *, rho: Radius = 0.2, sigma: Take = 1.0, memory: Memory = 0.6, order: Order = "code"
) -> Step:
    """One step."""
    g = L.grad(w)
    before = s.mean if L.t else g
    mean = memory * before + (1 - memory) * g
    d = g - sigma * (before if order == "code" else mean) if L.t else g
    d = d.where(d.norm() >= spacing(g) ** 0.5 * g.norm(), g)
    eps = rho * unit(d)
    return Step(L.grad(w + eps), eps, g, State(mean))
