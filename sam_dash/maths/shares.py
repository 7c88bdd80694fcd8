"""How a batch's weights are spread over its samples: what each tenth of them holds, most weighted first.

    tenth j = sum_i p_(i) |[i - 1, i] meets [(j - 1) n/10, j n/10]|,   p_(1) >= ... >= p_(n), summing to 1

A sample that lies across a border counts to both sides in proportion, so that n need not be a multiple of 10, and
equal weights are 1/10 each: the increments of the Lorenz curve (Publications of the ASA, 1905) at its tenths.
"""

from __future__ import annotations

import torch
from torch import Tensor

TENTHS = 10


def tenths(ordered: Tensor) -> Tensor:
    """The share that each tenth holds, from weights in falling order.  (..., n) -> (..., 10), of sum 1."""
    n = ordered.shape[-1]
    rank = torch.arange(n, dtype=ordered.dtype, device=ordered.device).unsqueeze(1)
    border = torch.arange(TENTHS, dtype=ordered.dtype, device=ordered.device) * n / TENTHS
    inside = (rank + 1).minimum(border + n / TENTHS) - rank.maximum(border)
    return ordered @ inside.clamp_min(0)


def series(ordered: Tensor) -> dict[str, Tensor]:
    """The series recorded of a run's weights, by quantity: the largest, the largest n/10 (rounded), and each tenth.

    (S, T, n), in falling order -> (S, T) each.
    """
    top = max(1, round(ordered.shape[-1] / TENTHS))
    found = {"p_max": ordered[..., 0], "p_top": ordered[..., :top].sum(-1)}
    return found | {f"p_tenth@{j}": share for j, share in enumerate(tenths(ordered).unbind(-1), 1)}
