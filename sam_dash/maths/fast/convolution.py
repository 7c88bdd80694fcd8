"""A two-dimensional convolution and its gradients, as functions of its kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Two = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A convolution without its kernels: how they move over an image."""

    stride: Two
    padding: Two
    dilation: Two

    @classmethod
    def of(cls, layer: Any) -> Convolution:
        """The convolution of an `nn.Conv2d`."""
        return cls(layer.stride, layer.padding, layer.dilation)

    def __call__(self, h: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1) -> Tensor:
        """The outputs for h (n, c, H, W)."""
        return F.conv2d(h, weight, bias, self.stride, self.padding, self.dilation, groups)

    def back(self, d: Tensor, h: Tensor, weight: Tensor, asked: tuple[bool, bool], groups: int = 1) -> Any:
        """The gradients for h and for the weight from that of the outputs, None where not asked for."""
        return torch.ops.aten.convolution_backward(
            d, h, weight, None, self.stride, self.padding, self.dilation, False, [0, 0], groups, [*asked, False]
        )[:2]
