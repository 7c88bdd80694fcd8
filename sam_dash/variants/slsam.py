"""SL-SAM: SAM on a few parameter tensors, drawn by a bandit that prefers those with large gradients.

    drawn    each of the P tensors independently with its probability p_l (s at first), anew until at least one is
    eps(w) = rho u(mask * grad L(w)),   h(w) = mask * grad L(w + eps),   u(v) = v / ||v||
    w_l    = p_l exp(-a (max_k (||g_k||/p_k)^2 - (||g_l||/p_l)^2) / p_l) for those drawn, k over them,   a = 0.001
    p      = min(1, c w), w_l = p_l for the others, c so that sum p = s P; not below 1e-8

The base optimiser leaves tensors that are not drawn as they are: no momentum, no weight decay. s = 1 is SAM.
Cheng et al., arXiv:2602.09395; code: chengyif/SL-SAM.
Deviation: the code draws until one is; here one draw has the distribution that this leads to. Gradients that are not
needed are computed all the same: nothing is saved here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

RATE = 0.001  # a
LEAST, SUM = 1e-8, 1e-5  # of a probability, and of what the sum of weights is taken to be
Keep = Annotated[float, Knob("s_P", "share of the tensors that is drawn on average; 1 is SAM", 0.01, 1.0)]
DEFAULTS = dict.fromkeys(("rho", "keep"), "official code (ViT, arguments)")


class State(NamedTuple):
    """`p` (d,): the probability of each tensor, on all its coordinates."""

    p: Tensor


@variant(
    "SL-SAM",
    ref="arXiv:2602.09395",
    cost=Cost(gradients=2),
    is_sam_at={"keep": 1.0},
    init=lambda w: State(0 * w),
    noise=1,
    law="uniform",
    layered=True,
    defaults=DEFAULTS,
    family="nusam",
)
def slsam(L: Oracle, w: Tensor, s: State, *, rho: Radius = 0.01, keep: Keep = 0.5) -> Step:
    """One step."""
    assert L.layout is not None, "SL-SAM needs to know the tensors"
    assert L.noise is not None, "SL-SAM needs noise"
    p = L.layout.first(s.p if L.t else 0 * s.p + keep, "tensor")
    on = drawn(p, L.layout.first(L.noise[0], "tensor"))
    mask = L.layout.spread(on.to(w), "tensor")
    g = mask * L.grad(w)
    eps = rho * unit(g)
    p = preferred(p, on, L.layout.norms(g, "tensor"), keep * len(p))
    h = mask * L.grad(w + eps)
    return Step(h, eps, g, State(L.layout.spread(p, "tensor")), {"active": mask.mean()}, moves=mask)


def drawn(p: Tensor, z: Tensor) -> Tensor:
    """Which are drawn with probabilities p (P,), given that some are, by uniform numbers z (P,).  -> bool (P,)

    While none is, the j-th is with p_j / P(one of j, j + 1, ... is); after the first, with p_j.
    """
    some = -(-p).log1p().flip(0).cumsum(0).flip(0).expm1()
    hit = (z * some < p) | (p.new_ones(len(p)).cumsum(0) == len(p))  # the last is, where none before it was
    after = hit.to(p).cumsum(0) - hit.to(p) > 0
    return (z < p).where(after, hit)


def preferred(p: Tensor, on: Tensor, norms: Tensor, total: float) -> Tensor:
    """The next probabilities (P,), of sum `total`, after those `on` were drawn and had gradients of these norms."""
    gain = (norms / p).square() * on
    weight = (p * (-RATE * (gain.max() - gain) / p).exp()).where(on, p)
    weight, order = weight.sort(descending=True)
    rest = weight.flip(0).cumsum(0).flip(0).clamp(min=SUM)  # of those not yet at 1, the largest first
    left = total - p.new_ones(len(p)).cumsum(0) + 1
    fits = weight * left <= rest
    seen = fits.to(p).cumsum(0)
    c = (left / rest * (fits & (seen == 1))).sum()
    return p.new_zeros(len(p)).scatter(0, order, (c * weight).where(seen > 0, 1.0)).clamp(LEAST, 1.0)
