"""Momentum-SAM: SAM along the momentum of the steps before, without a second gradient.

    eps(w) = -rho v_{t-1} / ||v_{t-1}||,   v_t = mu v_{t-1} + h_t,   v_{-1} = 0
    h(w)   = grad L(w + eps)

The sign: the base optimiser goes along -v, so eps looks ahead of it. Becker et al., "Momentum-SAM: Sharpness Aware
Minimization without Computational Overhead", arXiv:2401.12033 (code: marlonbecker/msam).
Deviation: the buffer is kept here, since a step does not see the base optimiser's; give both the same mu. The code's
buffer is the optimiser's own and holds the weight decay too, ours does not. The gradient at w is not computed, and h is
reported in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Momentum = Annotated[float, Knob("μ", "momentum of the buffer; that of the base optimiser", 0.0, 0.9999)]
DEFAULTS = dict.fromkeys(("rho", "mu"), "official code (marlonbecker/msam)")


class State(NamedTuple):
    """`buffer` (d,): v, the momentum."""

    buffer: Tensor


@variant(
    "Momentum-SAM",
    ref="arXiv:2401.12033",
    cost=Cost(gradients=1),
    init=lambda w: State(0 * w),
    defaults=DEFAULTS,
    family="nsam",
)
def msam(L: Oracle, w: Tensor, s: State, *, rho: Radius = 3.0, mu: Momentum = 0.9) -> Step:
    """One step."""
    eps = -rho * unit(s.buffer)
    h = L.grad(w + eps)
    return Step(h, eps, h, State(mu * s.buffer + h))
