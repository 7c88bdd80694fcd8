"""Eigen-SAM: SAM whose perturbation is turned towards the top eigenvector of the Hessian.

    eps(w) = rho (u + alpha sign(<g, v>) (v - <v, u> u)),   u = g / ||g||,   g = grad L(w)
    v      : top eigenvector, by power iteration on the mini-batch's Hessian, every `turns` steps
    h(w)   = grad L(w + eps)

Luo et al., NeurIPS 2024, arXiv:2501.12666; code: RitianLuo/EigenSAM. alpha = 0 is SAM.
Deviation: power iteration starts from random signs at each refresh, the code's from the last v (no clear gain of that
was seen). Before its first v the code takes eps = rho g, not normalised, and it never refreshes in the first step of an
epoch; here v is found in the first step of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Align = Annotated[float, Knob("α_e", "how far towards the eigenvector; 0 is SAM", 0.0, 10.0)]
Turns = Annotated[int, Knob("steps per v", "steps from one power iteration to the next", 1, 10_000)]
Powers = Annotated[int, Knob("powers", "Hessian-vector products of a power iteration", 1, 1000)]
DEFAULTS = dict.fromkeys(("rho", "align", "turns", "powers"), "official code (RitianLuo/EigenSAM)")


class State(NamedTuple):
    """`v` (d,): the top eigenvector, of length 1."""

    v: Tensor


def cost(*, turns: int, powers: int, **_: Any) -> Cost:
    """Hessian-vector products in one of so many steps."""
    return Cost(gradients=2, products=powers / turns, period=turns)


@variant(
    "Eigen-SAM",
    ref="arXiv:2501.12666",
    cost=cost,
    is_sam_at={"align": 0.0},
    init=lambda w: State(0 * w),
    noise=1,
    no_m="the sign of an eigenvector is arbitrary, so those of the micro-batches have no mean",
    defaults=DEFAULTS,
)
def eigensam(
    L: Oracle, w: Tensor, s: State, *,
    rho: Radius = 0.1, align: Align = 0.2, turns: Turns = 100, powers: Powers = 5,
) -> Step:  # fmt: skip
    """One step."""
    v = top(L, w, s.v, turns, powers)
    g = L.grad(w)
    u = unit(g)
    eps = rho * (u + align * (g @ v).sign() * (v - v @ u * u))
    return Step(L.grad(w + eps), eps, g, State(v))


def top(L: Oracle, w: Tensor, v: Tensor, turns: int, powers: int) -> Tensor:
    """The top eigenvector (d,) of the mini-batch's Hessian, found anew every `turns` steps; `v` between."""
    if L.t % turns:
        return v
    assert L.noise is not None, "a power iteration needs a start"
    v = unit(L.noise[0])
    for _ in range(powers):
        v = unit(L.hvp(w, v))
    return v
