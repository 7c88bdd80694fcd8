"""Max pooling of 2 x 2 windows, written out for autograd: torch's is slow on the CPU in channels-first format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Larger(torch.autograd.Function):
    """The larger of every two neighbours along a dimension; where they are equal the first has the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        """Half as long in that dimension."""
        first, second = x.unflatten(dim, (-1, 2)).unbind(dim + 1)
        ctx.save_for_backward((second > first).to(x))
        ctx.dim = dim
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        """The gradient for x."""
        (later,) = ctx.saved_tensors
        out = d.new_empty(*d.shape[: ctx.dim + 1], 2, *d.shape[ctx.dim + 1 :])
        first, second = out.unbind(ctx.dim + 1)
        torch.mul(d, later, out=second)
        torch.sub(d, second, out=first)
        return out.flatten(ctx.dim, ctx.dim + 1), None


def written_out(layer: nn.Module) -> bool:
    """Whether `max_pool` is what the layer computes."""
    return (
        type(layer) is nn.MaxPool2d
        and layer.kernel_size in (2, (2, 2))
        and layer.stride in (2, (2, 2))
        and layer.padding in (0, (0, 0))
        and layer.dilation in (1, (1, 1))
        and not (layer.return_indices or layer.ceil_mode)
    )


def max_pool(h: Tensor) -> Tensor:
    """h (n, c, H, W) -> (n, c, H // 2, W // 2). The columns come first: of equal numbers torch takes the upper left.

    Forward derivatives (where h does not require a gradient) are torch's.
    """
    if h.requires_grad and h.is_contiguous() and h.shape[2] % 2 == h.shape[3] % 2 == 0:
        return Larger.apply(Larger.apply(h, 3), 2)
    return F.max_pool2d(h, 2)
