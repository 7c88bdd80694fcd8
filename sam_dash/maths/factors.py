"""One layer's gradients in G micro-batches, as factors: their norms, their sum, and the layer perturbed by them.

`of(layer, X, D, m)` builds a factor from the layer's inputs X (n, ...) and back-propagated deltas D (n, ...) in
n/m micro-batches of m consecutive samples. Gradients are in the order of the layer's parameters: weight, bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def plain(layer: nn.Module, h: Tensor) -> Tensor:
    """The layer's own outputs, whatever its instance's `forward` has been replaced by."""
    return type(layer).forward(layer, h)


class Factor(Protocol):
    """The gradients g_j (G of them) of one layer's d_l parameters."""

    def squares(self) -> Tensor:
        """||g_j||^2 (G,)."""

    def dense(self) -> Tensor:
        """g_j (G, d_l)."""

    def total(self, scale: Tensor) -> Tensor:
        """sum_j scale_j g_j (d_l,)."""

    def weighted(self, p: Tensor) -> Factor:
        """sum_j p_j g_j, as the gradient of a single micro-batch; the g_j are those of single samples."""

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        """The layer's outputs for inputs h (n, ...) with scale_j g_j added to its parameters in micro-batch j."""


@dataclass(frozen=True)
class LowRank:
    """D^T X: X (G, r, i) and D (G, r, o), r = m times the positions that share the weights."""

    X: Tensor
    D: Tensor
    bias: bool

    def squares(self) -> Tensor:
        """The ghost norm (Goodfellow, arXiv:1510.01799)."""
        return ((self.X @ self.X.mT + self.bias) * (self.D @ self.D.mT)).sum((1, 2))

    def dense(self) -> Tensor:
        return dense(self).dense()

    def total(self, scale: Tensor) -> Tensor:
        D = (scale[:, None, None] * self.D).flatten(0, 1)
        weight = (D.mT @ self.X.flatten(0, 1)).flatten()
        return torch.cat([weight, D.sum(0)]) if self.bias else weight

    def weighted(self, p: Tensor) -> LowRank | Dense:
        D = p[:, None, None] * self.D
        return cheaper(LowRank(self.X.flatten(0, 1)[None], D.flatten(0, 1)[None], self.bias))

    def extra(self, H: Tensor, scale: Tensor) -> Tensor:
        """What the perturbation adds to the outputs for inputs H (G, r, i): (G, r, o)."""
        return (H @ self.X.mT + self.bias) @ (scale[:, None, None] * self.D)

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out = plain(layer, h)
        return out + self.extra(h.reshape(self.X.shape), scale).reshape(out.shape)


@dataclass(frozen=True)
class Dense:
    """The gradients formed: weight (G, o, i), bias (G, o) or None."""

    weight: Tensor
    bias: Tensor | None

    def squares(self) -> Tensor:
        squares = self.weight.square().sum((1, 2))
        return squares if self.bias is None else squares + self.bias.square().sum(1)

    def dense(self) -> Tensor:
        weight = self.weight.flatten(1)
        return weight if self.bias is None else torch.cat([weight, self.bias], 1)

    def total(self, scale: Tensor) -> Tensor:
        return scale @ self.dense()

    def weighted(self, p: Tensor) -> Dense:
        weight = torch.tensordot(p, self.weight, 1)[None]
        return Dense(weight, None if self.bias is None else (p @ self.bias)[None])

    def extra(self, H: Tensor, scale: Tensor) -> Tensor:
        """What the perturbation adds to the outputs for inputs H (G, r, i): (G, r, o)."""
        out = H @ (scale[:, None, None] * self.weight).mT
        return out if self.bias is None else out + (scale[:, None] * self.bias)[:, None]

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out = plain(layer, h)
        return out + self.extra(h.reshape(len(self.weight), -1, h.shape[-1]), scale).reshape(out.shape)


def dense(low: LowRank) -> Dense:
    """The same gradients, formed."""
    return Dense(low.D.mT @ low.X, low.D.sum(1) if low.bias else None)


def cheaper(low: LowRank) -> LowRank | Dense:
    """The form whose products take fewer multiplications: r (i + o) against i o."""
    (r, i), o = low.X.shape[1:], low.D.shape[2]
    return low if r * (i + o) < i * o else dense(low)


def linear(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """See the module."""
    G = len(X) // m
    X, D = X.reshape(G, -1, X.shape[-1]), D.reshape(G, -1, D.shape[-1])
    return cheaper(LowRank(X, D, layer.bias is not None))


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
        return self.dense().square().sum(1)

    def dense(self) -> Tensor:
        weight = self.weight.flatten(1)
        return weight if self.bias is None else torch.cat([weight, self.bias], 1)

    def total(self, scale: Tensor) -> Tensor:
        return scale @ self.dense()

    def weighted(self, p: Tensor) -> Kernels:
        weight = torch.tensordot(p, self.weight, 1)[None]
        return Kernels(weight, None if self.bias is None else (p @ self.bias)[None])

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        G = len(scale)
        weight = (layer.weight + scale.reshape(G, 1, 1, 1, 1) * self.weight).flatten(0, 1)
        bias = None if self.bias is None else (layer.bias + scale[:, None] * self.bias).flatten()
        m = len(h) // G
        out = F.conv2d(to_groups(h, m), weight, bias, layer.stride, layer.padding, layer.dilation, G)
        return out.unflatten(1, (G, -1)).transpose(0, 1).flatten(0, 1)


def to_groups(a: Tensor, m: int) -> Tensor:
    """(G m, c, ...) -> (m, G c, ...): the micro-batches side by side, as a grouped convolution takes them."""
    return a.unflatten(0, (-1, m)).transpose(0, 1).flatten(1, 2)


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

    def weighted(self, p: Tensor) -> Affine:
        weight, bias = (torch.tensordot(p, a, 1)[None] for a in (self.weight, self.bias))
        return replace(self, weight=weight, bias=bias)

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        G, *shape = self.weight.shape
        s = scale.reshape(G, 1, *[1] * len(shape))
        weight = layer.weight.reshape(shape) + s * self.weight[:, None]
        bias = layer.bias.reshape(shape) + s * self.bias[:, None]
        normal = self.normalise(h)
        out = normal.reshape(G, -1, *normal.shape[1:]) * weight + bias
        return out.reshape(h.shape)


def _affine(X: Tensor, D: Tensor, m: int, over: tuple[int, ...], normalise: Callable[[Tensor], Tensor]) -> Factor:
    def grouped(a: Tensor) -> Tensor:
        summed = a.sum(over, keepdim=True) if over else a
        return summed.reshape(len(a) // m, m, *summed.shape[1:]).sum(1)

    return Affine(grouped(D * normalise(X)), grouped(D), normalise)


def group_norm(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """See the module."""

    def normalise(h: Tensor) -> Tensor:  # as a layer norm: group_norm has memory formats that vmap refuses
        groups = h.reshape(len(h), layer.num_groups, -1)
        return F.layer_norm(groups, groups.shape[2:], eps=layer.eps).reshape(h.shape)

    return _affine(X, D, m, tuple(range(2, X.ndim)), normalise)


def layer_norm(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """See the module."""
    positions = tuple(range(1, X.ndim - len(layer.normalized_shape)))
    return _affine(X, D, m, positions, lambda h: F.layer_norm(h, layer.normalized_shape, eps=layer.eps))


Maker = Callable[..., Factor]


def maker(layer: nn.Module) -> Maker | None:
    """How to make the factors of a layer, or None where that is not known."""
    if type(layer) is nn.Linear:
        return linear
    if type(layer) is nn.Conv2d:
        plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return conv if plain else None
    if type(layer) is nn.GroupNorm:
        return group_norm
    if type(layer) is nn.LayerNorm:
        return layer_norm if layer.bias is not None else None
    return None
