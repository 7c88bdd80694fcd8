"""Arrays that are added to every sample, such as positions: the module, and its gradients as `factors`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash.maths.fast.factors import Dense, Factor, own_forward


class Added(nn.Module):
    """h + weight, of one sample's shape, such as (T, C)."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, h: Tensor) -> Tensor:
        """(n, *shape) -> (n, *shape)."""
        return h + self.weight


@dataclass(frozen=True)
class Sums(Dense):
    """The sums of the deltas of each micro-batch (G, *shape)."""

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out, moved = own_forward(layer, h), scale.view(-1, *[1] * (h.ndim - 1)) * self.weight
        return (out.unflatten(0, (len(scale), -1)) + moved[:, None]).flatten(0, 1)


def added(_layer: Any, _X: Tensor, D: Tensor, m: int) -> Factor:
    """The factor of an added array; see the module."""
    return Sums(D.unflatten(0, (-1, m)).sum(1), None)
