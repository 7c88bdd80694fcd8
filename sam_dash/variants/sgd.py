"""SGD: descend the gradient itself; the baseline, the same for every m.

h(w) = grad L(w)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.maths.contract import Cost, Step, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle


@variant(
    "SGD",
    ref="Robbins & Monro, 1951",
    cost=Cost(gradients=1),
    no_m="it has no perturbation, and gradients of micro-batches average to the batch's",
    chained=True,
    family="sgd",
)
def sgd(L: Oracle, w: Tensor, s: Any) -> Step:
    """One step."""
    g = L.grad(w)
    return Step(g, g.new_zeros(g.shape), g)
