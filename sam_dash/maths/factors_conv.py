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
class Patches:
    """A convolution as a linear layer on unfolded patches, of low rank; for many channels at few positions."""

    inner: LowRank | Dense
    unfold: Callable[[Tensor], Tensor]

    def squares(self) -> Tensor:
        return self.inner.squares()

    def dense(self) -> Tensor:
        return self.inner.dense()

    def total(self, scale: Tensor) -> Tensor:
        return self.inner.total(scale)

    def weighted(self, p: Tensor) -> Patches:
        return replace(self, inner=self.inner.weighted(p))

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out = plain(layer, h)
        patches = self.unfold(h)  # (n, positions, i)
        extra = self.inner.extra(patches.reshape(len(scale), -1, patches.shape[-1]), scale)
        return out + extra.reshape(len(h), -1, out.shape[1]).mT.reshape(out.shape)


@dataclass(frozen=True)
class Kernels:
    """A convolution's gradients formed: weight (G, o, c, kh, kw), bias (G, o) or None; one grouped convolution each."""

    weight: Tensor
    bias: Tensor | None

    def squares(self) -> Tensor:
        squares = self.weight.flatten(1).square().sum(1)
        return squares if self.bias is None else squares + self.bias.square().sum(1)

    def dense(self) -> Tensor:
        weight = self.weight.flatten(1)
        return weight if self.bias is None else torch.cat([weight, self.bias], 1)

    def total(self, scale: Tensor) -> Tensor:
        weight = scale @ self.weight.flatten(1)
        return weight if self.bias is None else torch.cat([weight, scale @ self.bias])

    def weighted(self, p: Tensor) -> Kernels:
        weight = torch.tensordot(p, self.weight, 1)[None]
        return Kernels(weight, None if self.bias is None else (p @ self.bias)[None])

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out: Tensor = Grouped.apply(h, layer.weight, scale.view(-1, 1, 1, 1, 1) * self.weight, layer)
        if self.bias is None:
            return out
        bias = layer.bias + scale[:, None] * self.bias
        return (out.unflatten(0, (len(scale), -1)) + bias[:, None, :, None, None]).flatten(0, 1)


class Grouped(torch.autograd.Function):
    """Convolution of micro-batch j by W + E_j, E (G, o, c, kh, kw): one grouped convolution.

    The gradient for W does not depend on E, so it is that of a plain convolution.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, E: Tensor, layer: Any) -> Tensor:
        G = len(E)
        weight = (W + E).flatten(0, 1)
        ctx.save_for_backward(h, W, weight)
        ctx.G, ctx.how = G, (layer.stride, layer.padding, layer.dilation)
        return from_groups(
            F.conv2d(to_groups(h, len(h) // G), weight, None, layer.stride, layer.padding, layer.dilation, G), G
        )

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
        return d_in, back(d, h, W, *rest, 1, [False, True, False])[1], None, None


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

        def unfold(h: Tensor) -> Tensor:
            return F.unfold(h, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT

        patches, deltas = unfold(X).reshape(G, r, i), D.flatten(2).mT.reshape(G, r, o)
        return Patches(LowRank(patches, deltas, layer.bias is not None), unfold)
    weight = torch.ops.aten.convolution_backward(
        to_groups(D, m), to_groups(X, m), X.new_zeros(G * o, *layer.weight.shape[1:]), None,
        layer.stride, layer.padding, layer.dilation, False, [0, 0], G, [False, True, False],
    )[1]  # fmt: skip
    bias = None if layer.bias is None else D.unflatten(0, (G, m)).sum((1, 3, 4))
    return Kernels(weight.unflatten(0, (G, o)), bias)
