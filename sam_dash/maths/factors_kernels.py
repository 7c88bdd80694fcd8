"""Convolutions as `factors`: formed kernels, or patches of low rank where channels are many and positions few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_dash.maths.factors import Dense, Factor, LowRank, plain


@dataclass(frozen=True)
class Convolved:
    """A convolution's gradients as a linear layer's on unfolded patches, and the way the layer is perturbed by them."""

    inner: LowRank | Dense
    way: Callable[[LowRank | Dense, Any, Tensor, Tensor], Tensor]

    def squares(self) -> Tensor:
        return self.inner.squares()

    def dense(self) -> Tensor:
        return self.inner.dense()

    def total(self, scale: Tensor) -> Tensor:
        return self.inner.total(scale)

    def along(self, v: Tensor) -> Tensor:
        return self.inner.along(v)

    def grouped(self, m: int) -> Convolved:
        return replace(self, inner=self.inner.grouped(m))

    def weighted(self, p: Tensor) -> Convolved:
        return replace(self, inner=self.inner.weighted(p))

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        return self.way(self.inner, layer, h, scale)


def unfold(layer: Any, h: Tensor) -> Tensor:
    """The patches that a convolution multiplies, (n, positions, i)."""
    return F.unfold(h, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT


def by_patches(inner: LowRank | Dense, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
    """The plain convolution, and products with patches: for many channels at few positions."""
    out = plain(layer, h)
    patches = unfold(layer, h)
    extra = inner.extra(patches.reshape(len(scale), -1, patches.shape[-1]), scale)
    return out + extra.reshape(len(h), -1, out.shape[1]).mT.reshape(out.shape)


def by_groups(inner: LowRank | Dense, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
    """One grouped convolution with the kernels of all micro-batches, for gradients that are formed."""
    assert isinstance(inner, Dense)
    kernels = inner.weight.view(-1, *layer.weight.shape)
    if layer.weight.requires_grad:
        out: Tensor = Grouped.apply(h, layer.weight, kernels, scale, layer)
    else:
        out = convolve(h, shift(layer.weight, kernels, scale), len(kernels), layer)
    if inner.bias is None:
        return out
    bias = layer.bias + scale[:, None] * inner.bias
    return (out.unflatten(0, (len(scale), -1)) + bias[:, None, :, None, None]).flatten(0, 1)


def shift(W: Tensor, E: Tensor, s: Tensor) -> Tensor:
    """The kernels W + s_j E_j of all G micro-batches, (G o, c, kh, kw)."""
    return torch.addcmul(W, s.view(-1, 1, 1, 1, 1), E).flatten(0, 1)


def convolve(h: Tensor, weight: Tensor, G: int, layer: Any) -> Tensor:
    """Each micro-batch of h convolved with its own kernels: one grouped convolution."""
    grouped = to_groups(h, len(h) // G)
    return from_groups(F.conv2d(grouped, weight, None, layer.stride, layer.padding, layer.dilation, G), G)


class Grouped(torch.autograd.Function):
    """Convolution of micro-batch j by W + s_j E_j, E (G, o, c, kh, kw): one grouped convolution.

    The gradient for W depends on neither s nor E, so it is that of a plain convolution.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, E: Tensor, s: Tensor, layer: Any) -> Tensor:
        weight = shift(W, E, s)
        ctx.save_for_backward(h, W, weight)
        ctx.G, ctx.how = len(E), (layer.stride, layer.padding, layer.dilation)
        return convolve(h, weight, len(E), layer)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        h, W, weight = ctx.saved_tensors
        rest = None, *ctx.how, False, [0, 0]
        back = torch.ops.aten.convolution_backward
        d_in = None
        if ctx.needs_input_grad[0]:
            m = len(h) // ctx.G
            groups = back(to_groups(d, m), to_groups(h, m), weight, *rest, ctx.G, [True, False, False])[0]
            d_in = from_groups(groups, ctx.G)
        return d_in, back(d, h, W, *rest, 1, [False, True, False])[1], None, None, None


def to_groups(a: Tensor, m: int) -> Tensor:
    """(G m, c, ...) -> (m, G c, ...): the micro-batches side by side, as a grouped convolution takes them."""
    return a.unflatten(0, (-1, m)).transpose(0, 1).flatten(1, 2)


def from_groups(a: Tensor, G: int) -> Tensor:
    """(m, G c, ...) -> (G m, c, ...): what `to_groups` does, undone."""
    return a.unflatten(1, (G, -1)).transpose(0, 1).flatten(0, 1)


def conv(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """See the module."""
    G, r = len(X) // m, m * D.shape[2] * D.shape[3]
    o, i = D.shape[1], layer.weight[0].numel()
    if r * (i + o) < i * o:
        patches, deltas = unfold(layer, X).reshape(G, r, i), D.flatten(2).mT.reshape(G, r, o)
        return Convolved(LowRank(patches, deltas, layer.bias is not None), by_patches)
    weight = torch.ops.aten.convolution_backward(
        to_groups(D, m), to_groups(X, m), X.new_empty(G * o, *layer.weight.shape[1:]), None,
        layer.stride, layer.padding, layer.dilation, False, [0, 0], G, [False, True, False],
    )[1]  # fmt: skip
    bias = None if layer.bias is None else D.unflatten(0, (G, m)).sum((1, 3, 4))
    return Convolved(Dense(weight.reshape(G, o, i), bias), by_groups)
