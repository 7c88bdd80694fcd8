"""ESAM: SAM on part of the weights (SWP), descending the part of the batch whose loss rises most (SDS).

    eps(w) = rho/beta u                 u = mask * g / ||g||, mask_j ~ Bernoulli(beta)      (form "coordinates")
                                        u = mask * g / ||mask * g||, one mask for a tensor  (form "tensors")
    h(w)   = grad of the mean over the gamma B samples whose l_i(w + eps) - l_i(w) is largest, at w + eps

Du et al., ICLR 2022, arXiv:2110.03141. beta = gamma = 1 is SAM.
Deviation: "coordinates" is the paper's SWP, "tensors" the code's, whose first step keeps all; the paper prints
1 - beta for beta (its author says that the code is right). The code's ">" may keep no sample; we take the top k. Where
nothing is perturbed (no tensor kept, a gradient of 0) no loss rises, and h is the gradient of the whole batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Kept = Annotated[float, Knob("β", "share of the weights that is perturbed", 0.01, 1.0)]
Chosen = Annotated[float, Knob("γ_s", "share of the batch that is descended", 0.01, 1.0)]
Form = Annotated[Literal["tensors", "coordinates"], Knob("SWP", "what is kept or not as one")]
DEFAULTS = dict.fromkeys(("rho", "beta", "gamma_s", "swp"), "official code (dydjw9/Efficient_SAM, run.sh)")


def cost(*, gamma_s: float, **_: Any) -> Cost:
    """A gradient, a forward to choose by, and a gradient on the chosen."""
    return Cost(gradients=1 + gamma_s, forwards=1)


@variant(
    "ESAM",
    ref="arXiv:2110.03141",
    cost=cost,
    is_sam_at={"beta": 1.0, "gamma_s": 1.0},
    noise=1,
    law="uniform",
    layered=True,
    defaults=DEFAULTS,
    family="rwsam",
)
def esam(
    L: Oracle, w: Tensor, s: Any, *,
    rho: Radius = 0.05, beta: Kept = 0.6, gamma_s: Chosen = 0.5, swp: Form = "tensors",
) -> Step:  # fmt: skip
    """One step."""
    assert L.noise is not None, "ESAM needs noise"
    assert L.layout is not None, "ESAM needs to know the tensors"
    losses, pull = L.pullback(w)
    g = pull(losses * 0 + 1 / L.n)
    if swp == "coordinates":
        u = (L.noise[0] < beta) * unit(g)
    else:
        kept = L.layout.spread(L.layout.first(L.noise[0], "tensor"), "tensor") < beta
        u = unit(kept * g if L.t else g)
    eps = rho / beta * u
    rise = L.losses(w + eps) - losses
    worst = rise.topk(max(1, round(gamma_s * L.n))).indices
    h = L.take(worst).grad(w + eps)
    return Step(h.where((eps != 0).any(), g), eps, g)
