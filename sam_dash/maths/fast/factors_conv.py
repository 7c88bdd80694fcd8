"""Convolutions as `factors`: kernels that are formed, or, for many channels at few positions, overlaps of patches.

A kernel's gradient in a micro-batch is D^T X, with patches X (r, i) and deltas D (r, o), r = m times the positions. As
in a linear layer its norm takes X X^T, and what it adds to the outputs H X^T, with H the patches of the second pass:
both come from pixels (`overlaps`), so that patches are never unfolded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam_dash.maths.fast.convolution import Convolution
from sam_dash.maths.fast.factors import Factor, in_groups
from sam_dash.maths.fast.factors_kernels import Kernels, each_kernel
from sam_dash.maths.fast.overlaps import Overlaps, pixels


def conv(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """The cheaper form: half the multiplications of forming the kernels, or fewer, pay for overlaps."""
    (c, seen), (o, positions) = ((a.shape[1], a[0, 0].numel()) for a in (X, D))
    overlapping = m * (seen**2 * c + positions**2 * o)
    if 2 * overlapping < positions * o * layer.weight[0].numel():
        return Overlapping(layer, X, D, m, Overlaps.of(layer, X.shape[2:], D.shape[2:]))
    return formed(layer, X, D, m)


def formed(layer: Any, X: Tensor, D: Tensor, m: int) -> Kernels:
    """The gradients of the kernels themselves."""
    weight = each_kernel(Convolution.of(layer), D, X, layer.weight, m)
    bias = None if layer.bias is None else D.sum((2, 3)).unflatten(0, (-1, m)).sum(1)
    return Kernels(weight.flatten(2), bias)


@dataclass(frozen=True)
class Overlapping:
    """D^T X of micro-batches of m: images X (n, c, H, W), deltas D (n, o, p, q)."""

    layer: Any
    X: Tensor
    D: Tensor
    m: int
    where: Overlaps

    @property
    def bias(self) -> bool:
        """Whether the layer has one."""
        return self.layer.bias is not None

    def squares(self) -> Tensor:
        D = pixels(self.D, self.m)
        return self.products(self.X).mul_(D @ D.mT).sum((1, 2))

    def products(self, h: Tensor) -> Tensor:
        """(H, 1) (X, 1)^T for inputs h, where there is a bias; else H X^T."""
        return self.where.products(h, self.X, self.m).add_(self.bias)

    def dense(self) -> Tensor:
        return formed(self.layer, self.X, self.D, self.m).dense()

    def total(self, scale: Tensor) -> Tensor:
        D = self.D * scale.repeat_interleave(self.m).view(-1, 1, 1, 1)
        weight = Convolution.of(self.layer).back(D, self.X, self.layer.weight, (False, True))[1].flatten()
        return torch.cat([weight, D.sum((0, 2, 3))]) if self.bias else weight

    def along(self, v: Tensor) -> Tensor:
        W = self.layer.weight
        weight, bias = v[: W.numel()].view(W.shape), v[W.numel() :] if self.bias else None
        out = Convolution.of(self.layer)(self.X, weight, bias)
        return out.mul_(self.D).sum((1, 2, 3)).view(-1, self.m).sum(1)

    def grouped(self, m: int) -> Factor:
        X, D = (in_groups(a, m * self.m).flatten(0, 1) for a in (self.X, self.D))
        return conv(self.layer, X, D, m * self.m)

    def weighted(self, p: Tensor) -> Factor:
        return conv(self.layer, self.X, self.D * p.view(-1, 1, 1, 1), len(p))

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        if not layer.weight.requires_grad:
            return formed(self.layer, self.X, self.D, self.m).perturbed(layer, h, scale)
        out: Tensor = Along.apply(h, layer.weight, layer.bias, self, scale.view(-1, 1, 1))
        return out


class Along(torch.autograd.Function):
    """The convolution of micro-batch j by W + s_j g_j, with s (G, 1, 1)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, b: Tensor | None, g: Overlapping, s: Tensor) -> Tensor:
        """(n, c, H, W) -> (n, o, p, q)."""
        ctx.save_for_backward(h, W)
        ctx.g, ctx.s = g, s
        h = h.contiguous(memory_format=torch.channels_last)
        out = Convolution.of(g.layer)(h, W, b).contiguous(memory_format=torch.channels_last)
        pixels(out, g.m).baddbmm_(g.products(h).mul_(s), pixels(g.D, g.m))
        return out

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        """The gradients for h, W and the bias."""
        (h, W), g = ctx.saved_tensors, ctx.g
        d = d.contiguous(memory_format=torch.channels_last)
        d_in, d_W = Convolution.of(g.layer).back(d, h, W, (ctx.needs_input_grad[0], True))
        if d_in is not None:
            d_in = d_in.contiguous(memory_format=torch.channels_last)
            inner = (pixels(d, g.m) @ pixels(g.D, g.m).mT).mul_(ctx.s)
            pixels(d_in, g.m).baddbmm_(g.where.spread(inner, g.m), pixels(g.X, g.m))
        return d_in, d_W, d.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None
