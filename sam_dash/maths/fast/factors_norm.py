"""Norm layers as `factors`: their scales and shifts, per micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from sam_dash.maths.fast.factors import Factor, in_groups


@dataclass(frozen=True)
class Affine:
    """The gradients of a norm layer's scale and shift (G, *shape), of the shape that broadcasts to a sample."""

    weight: Tensor
    bias: Tensor
    normalise: Callable[[Tensor], Tensor]

    def squares(self) -> Tensor:
        return (self.weight.square() + self.bias.square()).flatten(1).sum(1)

    def dense(self) -> Tensor:
        return torch.cat([self.weight.flatten(1), self.bias.flatten(1)], 1)

    def total(self, scale: Tensor) -> Tensor:
        return scale @ self.dense()

    def along(self, v: Tensor) -> Tensor:
        return self.dense() @ v

    def grouped(self, m: int) -> Affine:
        return replace(self, weight=in_groups(self.weight, m).sum(1), bias=in_groups(self.bias, m).sum(1))

    def weighted(self, p: Tensor) -> Affine:
        weight, bias = (torch.tensordot(p, a, 1)[None] for a in (self.weight, self.bias))
        return replace(self, weight=weight, bias=bias)

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        G, *shape = self.weight.shape
        s = scale.reshape(G, 1, *[1] * len(shape))
        weight = layer.weight.reshape(shape) + s * self.weight[:, None]
        bias = layer.bias.reshape(shape) + s * self.bias[:, None]
        normal = self.normalise(h)
        out = torch.addcmul(bias, normal.reshape(G, -1, *normal.shape[1:]), weight)
        return out.reshape(h.shape)


def _affine(X: Tensor, D: Tensor, m: int, over: tuple[int, ...], normalise: Callable[[Tensor], Tensor]) -> Factor:
    def grouped(a: Tensor) -> Tensor:
        summed = a.sum(over, keepdim=True) if over else a
        return summed.reshape(len(a) // m, m, *summed.shape[1:]).sum(1)

    return Affine(grouped(D * normalise(X)), grouped(D), normalise)


@dataclass(frozen=True)
class GroupAffine:
    """The gradients of a group norm's scale and shift, (G, 2, c)."""

    both: Tensor

    def squares(self) -> Tensor:
        return self.both.square().sum((1, 2))

    def dense(self) -> Tensor:
        return self.both.flatten(1)

    def total(self, scale: Tensor) -> Tensor:
        return scale @ self.dense()

    def along(self, v: Tensor) -> Tensor:
        return self.dense() @ v

    def grouped(self, m: int) -> GroupAffine:
        return GroupAffine(in_groups(self.both, m).sum(1))

    def weighted(self, p: Tensor) -> GroupAffine:
        return GroupAffine(torch.tensordot(p, self.both, 1)[None])

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        affine = torch.stack([layer.weight, layer.bias]) + scale[:, None, None] * self.both
        return group_norm_each(layer, h, affine.repeat_interleave(len(h) // len(scale), 0))


def group_norm_each(layer: Any, h: Tensor, affine: Tensor) -> Tensor:
    """A group norm whose scale and shift (n, 2, c) are each sample's own: the samples as groups of one large sample."""
    n = len(h)
    one = h.reshape(1, -1, *h.shape[2:])
    weight, bias = affine.unbind(1)
    return F.group_norm(one, n * layer.num_groups, weight.flatten(), bias.flatten(), layer.eps).view(h.shape)


def group_norm(_layer: Any, _X: Tensor, D: Tensor, m: int) -> Factor:
    """From the gradients of each sample's own scale and shift, D (n, 2, c)."""
    return GroupAffine(D.unflatten(0, (-1, m)).sum(1))


def layer_norm(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """The factor of a layer norm; see the module."""
    positions = tuple(range(1, X.ndim - len(layer.normalized_shape)))

    def normalise(h: Tensor) -> Tensor:
        """The kernel; written out in a forward derivative, of which torch 2.13's second is wrong (pytorch#196700)."""
        if forward_ad._current_level < 0:
            return F.layer_norm(h, layer.normalized_shape, eps=layer.eps)
        over = tuple(range(-len(layer.normalized_shape), 0))
        var, mean = torch.var_mean(h, over, correction=0, keepdim=True)
        return (h - mean) * (var + layer.eps).rsqrt()

    return _affine(X, D, m, positions, normalise)
