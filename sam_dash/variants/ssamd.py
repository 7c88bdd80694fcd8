"""SSAM-D: SAM on a random mask that evolves: small gradients are dropped, as many others grown.

    eps(w) = rho mask * g / ||g||,   g = grad L(w),   mask of density 1 - s, random at first
    h(w)   = grad L(w + eps)
    at t = 0 and every `refresh` steps, after the perturbation, for the steps to come: of the live entries drop the
    share drop_t with the smallest |g|, grow as many of the others at random

Mi et al., NeurIPS 2022, arXiv:2210.05177; code: Mi-Peng/Sparse-Sharpness-Aware-Minimization. s = 0 is SAM, s = 1 SGD.
Deviation: drop_t = drop (lr_t - lr_min) / (lr_max - lr_min), which is the code's drop/2 (1 + cos(pi t/T)) under a
cosine schedule, and never more than drop. As many are dropped as there are others to grow (the code may drop more).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Sparsity = Annotated[float, Knob("s", "share of the weights that is not perturbed; 0 is SAM", 0.0, 1.0)]
Refresh = Annotated[int, Knob("steps per mask", "steps from one mask to the next", 1, 10_000)]
Drop = Annotated[float, Knob("drop", "share of the mask that moves, at the largest learning rate", 0.0, 1.0)]
DEFAULTS = {
    "rho": "official code (README, CIFAR-10)", "sparsity": "official code (README)", "refresh": "ours (an epoch)",
    "drop": "official code (config)",
}  # fmt: skip


class State(NamedTuple):
    """`mask` (d,): 1 where a weight is perturbed. It is the one decision that is kept: its past matters."""

    mask: Tensor


@variant(
    "SSAM-D",
    ref="arXiv:2210.05177",
    cost=Cost(gradients=2),
    is_sam_at={"sparsity": 0.0},
    init=lambda w: State(0 * w),
    noise=1,
    law="uniform",
    no_m="its mask is dropped and grown by the gradient of the batch; a mean of the micro-batches' masks is none",
    defaults=DEFAULTS,
    family="nusam",
)
def ssamd(
    L: Oracle, w: Tensor, s: State, *,
    rho: Radius = 0.1, sparsity: Sparsity = 0.5, refresh: Refresh = 16, drop: Drop = 0.5,
) -> Step:  # fmt: skip
    """One step."""
    assert L.noise is not None, "SSAM-D needs noise"
    g, z, mask = L.grad(w), L.noise[0], s.mask
    live = round((1 - sparsity) * w.numel())
    if L.t == 0:
        mask = (0 * w).index_fill(0, z.topk(live).indices, 1.0)
    eps = rho * mask * unit(g)
    if L.t % refresh == 0:
        moved = min(round(drop * min(L.rate, 1.0) * live), w.numel() - live)
        kept = g.abs().where(mask > 0, -1.0).topk(live - moved).indices
        grown = z.where(mask == 0, -1.0).topk(moved).indices
        mask = (0 * w).index_fill(0, kept, 1.0).index_fill(0, grown, 1.0)
    return Step(L.grad(w + eps), eps, g, State(mask))
