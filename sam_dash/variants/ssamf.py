"""SSAM-F: SAM on the weights whose Fisher information is largest.

    eps(w) = rho mask * g / ||g||,   mask the (1 - s) d largest scores,   g = grad L(w)
    h(w)   = grad L(w + eps)
    score  = mean_i (grad l_i(w))^2, the diagonal of the empirical Fisher, at t = 0 and every `refresh` steps, for the
             steps to come: no score is known in the first one, which is SGD, as in the code

Mi et al., NeurIPS 2022, arXiv:2210.05177; code: Mi-Peng/Sparse-Sharpness-Aware-Minimization. s = 0 is SAM (in the first
step too), s = 1 is SGD; the norm is of the unmasked gradient. At m < B all micro-batches share the mask of their mean
score.
Deviation: the score is of the samples at hand, at w before the step, not of N_F more after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Sparsity = Annotated[float, Knob("s", "share of the weights that is not perturbed; 0 is SAM", 0.0, 1.0)]
Refresh = Annotated[int, Knob("steps per mask", "steps from one mask to the next", 1, 10_000)]
DEFAULTS = {
    "rho": "official code (README, CIFAR-10)", "sparsity": "official code (README)", "refresh": "ours (an epoch)",
}  # fmt: skip


class State(NamedTuple):
    """`score` (d,): the diagonal of the empirical Fisher information."""

    score: Tensor


def cost(*, refresh: int, **_: Any) -> Cost:
    """Per-sample gradients in one of so many steps."""
    return Cost(gradients=2 + 1 / refresh, per_sample=1 / refresh, period=refresh)


@variant(
    "SSAM-F",
    ref="arXiv:2210.05177",
    cost=cost,
    is_sam_at={"sparsity": 0.0},
    init=lambda w: State(0 * w),
    defaults=DEFAULTS,
    family="nusam",
)
def ssamf(
    L: Oracle, w: Tensor, s: State, *, rho: Radius = 0.1, sparsity: Sparsity = 0.5, refresh: Refresh = 16
) -> Step:
    """One step."""
    live = round((1 - sparsity) * w.numel()) if L.t or not sparsity else 0
    mask = (0 * w).index_fill(0, s.score.topk(live).indices, 1.0)
    g = L.grad(w)
    eps = rho * mask * unit(g)
    score = s.score if L.t % refresh else L.grads(w).square().mean(0)
    return Step(L.grad(w + eps), eps, g, State(score))
