"""RW-SAM: one perturbation for the whole batch, from a gradient that weights sharp samples more.

    p      = softmax(lambda ||grad l_i(w)||)
    eps(w) = rho u,   u = sum_i p_i grad l_i(w), divided by its norm if `normalised`
    h(w)   = grad L(w + eps)

with ||grad l_i|| estimated by one probe, |l_i(w + delta z) - l_i(w)| / delta, z Rademacher and shared by the batch.
Luo et al., arXiv:2509.18001.
Deviation: delta = 0.1/sqrt(d), so that ||delta z|| = 0.1 for a network of any size (the paper's value is not known
to us); `scale = standardised` (z-scores of the norms) and `normalised = False` are ours, for comparison. A finite
difference, not a forward-mode derivative: one product a layer, not two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from sam_dash.maths.contract import TINY, Cost, Knob, Radius, Step, spread, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Norms = Annotated[Literal["one-probe", "exact"], Knob("norms", "how per-sample gradient norms are found")]
Scale = Annotated[Literal["raw", "standardised"], Knob("scale", "norms as they are, or as z-scores in the batch")]
Weighting = Annotated[float, Knob("λ", "how strongly sharp samples are favoured; 0 is SAM", 0.0, 1000.0)]
Normalised = Annotated[bool, Knob("normalised", "divide the weighted gradient by its norm, as SAM does")]


DEFAULTS = {
    "rho": "ours (SAM's)", "lam": "ours (the paper's value is not known to us)", "norms": "paper", "scale": "paper",
    "normalised": "paper",
}  # fmt: skip


def cost(*, norms: str, **_: Any) -> Cost:
    """Exact norms are by-products of per-sample gradients; a probe is one more forward."""
    return Cost(gradients=2, forwards=int(norms == "one-probe"), per_sample=int(norms == "exact"))


@variant(
    "RW-SAM",
    ref="arXiv:2509.18001",
    cost=cost,
    is_sam_at={"lam": 0.0},
    noise=1,
    noiseless_at={"norms": "exact"},
    defaults=DEFAULTS,
    chained=True,
    family="rwsam",
)
def rwsam(
    L: Oracle,
    w: Tensor,
    s: Any,
    *,
    rho: Radius = 0.05,
    lam: Weighting = 0.5,
    norms: Norms = "one-probe",
    scale: Scale = "raw",
    normalised: Normalised = True,
) -> Step:
    """One step."""
    if norms == "exact":
        grads = L.grads(w)
        p = weights(grads.norm(dim=-1), lam, scale)
        g = p @ grads
    else:
        assert L.noise is not None, "RW-SAM needs one probe"
        delta = 0.1 / w.shape[-1] ** 0.5
        losses, pull = L.pullback(w)
        p = weights((L.losses(w.add(L.noise[0], alpha=delta)) - losses).abs() / delta, lam, scale)
        g = pull(p)
    eps = rho * (unit(g) if normalised else g)
    return Step(L.grad(w + eps), eps, g, info=spread(p))


def weights(sharp: Tensor, lam: float, scale: str) -> Tensor:
    """softmax(lambda x), x the norms or their z-scores.  (..., n) -> (..., n)."""
    if scale == "standardised":
        sharp = (sharp - sharp.mean(-1, keepdim=True)) / (sharp.std(-1, correction=0, keepdim=True) + TINY)
    return (lam * sharp).softmax(-1)
