"""m-sharpness of S stacked runs at once: one pass at w, and for each m one forward at weights that are not formed.

The twin of `m_sharpness.m_sharpness`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.passes import Net, at_each_size
from sam_dash.maths.m_sharpness import method
from sam_dash.maths.oracle import Batch


def m_sharpness(
    net: Net, W: Tensor, batch: Batch, *, m: Sequence[int], rho: float, generators: Sequence[torch.Generator] = ()
) -> list[dict[int, Estimate]]:
    """s_m(w) of each run, at W (S, d) on samples (S, n, ...), (S, n)."""
    radius = W.new_tensor(rho)
    found = at_each_size(net, W, batch, m, generators, lambda f, here: f(radius) - here)
    return [{size: Estimate.of_mean(rises, method(rho)) for size, rises in run.items()} for run in found]
