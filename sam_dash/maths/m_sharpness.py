"""m-sharpness of fixed weights: how far the loss of a micro-batch of m samples rises within rho of w.

    s_m(w) = mean_I [ f_I(w + rho u(grad f_I(w))) - f_I(w) ],   u(v) = v / ||v||,  I the disjoint micro-batches of m

(Foret et al., ICLR 2021, arXiv:2010.01412, section 4.2). One ascent step is not the maximum over the ball: each term
is a lower bound of it. This m belongs to the measurement; the one a network was trained with is another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad_and_value

from sam_dash.maths.contract import unit
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.noise import of_groups
from sam_dash.maths.oracle import Batch, LossesFn, mean_loss


def method(rho: float) -> str:
    """The method as it is stored, in at most 64 characters."""
    return f"one ascent step at rho = {rho:g}: a lower bound of the maximum"


def m_sharpness(
    losses_fn: LossesFn,
    w: Tensor,
    batch: Batch,
    *,
    m: Sequence[int],
    rho: float,
    generator: torch.Generator | None = None,
) -> dict[int, Estimate]:
    """s_m(w) for each m, the micro-batches of all m cut from one (random) order of the samples.

    The error is the sampling error over the micro-batches: their standard deviation over the root of their number.
    """

    def rise(one: Batch) -> Tensor:
        f = mean_loss(losses_fn, one)
        g, here = grad_and_value(f)(w)
        return f(w + rho * unit(g)) - here

    found = of_groups(rise, w, batch, m, generator)
    return {size: Estimate.of_mean(rises, method(rho)) for size, rises in found.items()}
