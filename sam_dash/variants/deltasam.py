"""delta-SAM: one perturbation for the whole batch, from a gradient that weights samples by how fast theirs changes.

    s_i    = |l_i(w + delta z) - 2 l_i(w) + l_i(w - delta z)| / delta^2 ~ |z' H_i z|,   z ~ N(0, I), shared by the batch
    p_i    = s_i^a / sum_j s_j^a
    eps(w) = rho u / ||u||,   u = sum_i p_i grad l_i(w)
    h(w)   = grad L(w + eps)

Zhou et al., Findings of EMNLP 2022, arXiv:2112.08772, which precedes RW-SAM. a = 0 is SAM.
Deviation: our reading, as only summaries of the paper could be read. They say that one reweighted perturbation stands
for one a sample, that samples whose gradient changes more count more, and that this is found by Gaussian perturbations
and forward passes. The second difference along z, the weights in proportion to it and delta = 0.1/sqrt(d), as in our
RW-SAM, are ours; differences within rounding count alike. The losses at w are those of the ascent, so that two
forwards are added, not three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sam_dash.maths.contract import TINY, Cost, Knob, Radius, Step, spacing, spread, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Power = Annotated[float, Knob("a", "power of the gradient's change in the weights; 0 is SAM", 0.0, 10.0)]
DEFAULTS = {"rho": "ours (SAM's)", "power": "ours (in proportion)"}


@variant(
    "delta-SAM",
    ref="arXiv:2112.08772",
    cost=Cost(gradients=2, forwards=2),
    is_sam_at={"power": 0.0},
    noise=1,
    law="normal",
    defaults=DEFAULTS,
    chained=True,
    family="rwsam",
)
def deltasam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.05, power: Power = 1.0) -> Step:
    """One step."""
    assert L.noise is not None, "delta-SAM needs one probe"
    delta = 0.1 / w.shape[-1] ** 0.5
    losses, pull = L.pullback(w)
    above, below = (L.losses(w.add(L.noise[0], alpha=side)) for side in (delta, -delta))
    rounding = 8 * spacing(losses) * losses.abs().amax(-1, keepdim=True) + TINY
    p = weights((above - 2 * losses + below).abs().maximum(rounding), power)
    g = pull(p)
    eps = rho * unit(g)
    return Step(L.grad(w + eps), eps, g, info=spread(p))


def weights(change: Tensor, power: float) -> Tensor:
    """change^a over its sum, found from changes as parts of the largest.  (..., n) -> (..., n)."""
    p = (change / change.amax(-1, keepdim=True)) ** power
    return p / p.sum(-1, keepdim=True)
