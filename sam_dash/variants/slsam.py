"""SL-SAM: SAM on a few layers, drawn by a bandit that prefers those with large gradients.

    p_l    = (1 - 0.1) softmax(q)_l + 0.1/P,   K = keep P of the P layers drawn without replacement
    eps(w) = rho u(mask * grad L(w)),   h(w) = mask * grad L(w + eps),   u(v) = v / ||v||
    q_l   += eta_b ||g_l|| / max_l ||g_l|| / min(1, K p_l)   for the layers drawn

Our reading of arXiv:2602.09395, whose estimator, step size and number of layers we do not know. keep = 1 is SAM.
Deviation: a layer that is not drawn gets h = 0, but the base optimiser's momentum and weight decay still move it, and
its gradient is computed all the same: nothing is saved here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from sam_dash.maths.contract import TINY, Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Keep = Annotated[float, Knob("K/P", "share of the layers that is drawn; 1 is SAM", 0.01, 1.0)]
Learn = Annotated[float, Knob("η_b", "step size of the bandit", 0.0, 100.0)]
DEFAULTS = dict.fromkeys(("rho", "keep", "learn"), "ours")


class State(NamedTuple):
    """`q` (d,): the bandit's score of each layer, on all its coordinates."""

    q: Tensor


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
def slsam(L: Oracle, w: Tensor, s: State, *, rho: Radius = 0.05, keep: Keep = 0.5, learn: Learn = 0.1) -> Step:
    """One step."""
    assert L.layout is not None, "SL-SAM needs to know the layers"
    assert L.noise is not None, "SL-SAM needs noise"
    q, z = L.layout.first(s.q, "layer"), L.layout.first(L.noise[0], "layer")
    p = 0.9 * q.softmax(0) + 0.1 / len(q)
    K = max(1, round(keep * len(q)))
    drawn = (p.log() - (-(z + TINY).log()).log()).topk(K).indices  # the Gumbel top-k trick
    active = (0 * q).index_fill(0, drawn, 1.0)
    mask = L.layout.spread(active, "layer")
    g = mask * L.grad(w)
    eps = rho * unit(g)
    size = L.layout.norms(g, "layer")
    q = q + learn * active * size / (size.max() + TINY) / (K * p).clamp(max=1)
    return Step(mask * L.grad(w + eps), eps, g, State(L.layout.spread(q, "layer")), {"active": mask.mean()})
