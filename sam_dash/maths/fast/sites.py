"""The torch functions whose parameters have factored gradients: how each runs on all micro-batches at once.

A site is one such function with its parameters `weight` and `bias`, under the names that `factors` know from layers.
Inputs h and outputs lead with the micro-batch, (G, ...); a factor takes them as rows or images that lead with samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional as F

from sam_dash.maths.fast.convolution import Convolution
from sam_dash.maths.fast.factors import Factor, linear
from sam_dash.maths.fast.factors_conv import conv
from sam_dash.maths.fast.factors_embedding import embedding
from sam_dash.maths.fast.factors_norm import group_norm, group_norm_each, layer_norm

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Site:
    """A function and its parameters; a bias is there where it is one that is trained."""

    weight: Tensor = field(compare=False)
    bias: Tensor | None = field(compare=False)
    merges: ClassVar[bool] = True  # whether the rows of several uses are those of one

    def forward(self, h: Tensor) -> Tensor:
        """The plain outputs for inputs that lead with samples, as `factors.own_forward` asks for them."""
        raise NotImplementedError

    def rows(self, h: Tensor) -> Tensor:
        """h (G, ...) as the inputs of `forward`, which lead with samples."""
        raise NotImplementedError

    def first(self, h: Tensor) -> tuple[Tensor, Tensor, Any]:
        """The plain outputs, the inputs to keep, and what the deltas are gradients of."""
        x = self.rows(h)
        out = self.forward(x)
        return out, x.detach(), get_gradient_edge(out)

    def factor(self, X: Tensor, D: Tensor, G: int) -> Factor:
        """The gradients of G micro-batches, from inputs and deltas."""
        raise NotImplementedError

    def shape(self, h: Tensor, _out: Tensor) -> tuple[int, ...]:
        """The shape (G, ...) of the outputs for h (G, ...)."""
        return tuple(h.shape)


@dataclass(frozen=True)
class Linear(Site):
    """F.linear; rows are all that share the weights."""

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight, self.bias)

    def rows(self, h: Tensor) -> Tensor:
        return h.reshape(-1, h.shape[-1])

    def factor(self, X: Tensor, D: Tensor, G: int) -> Factor:
        return linear(self, X, D, len(X) // G)

    def shape(self, h: Tensor, out: Tensor) -> tuple[int, ...]:
        return *h.shape[:-1], out.shape[-1]


@dataclass(frozen=True)
class Embedding(Site):
    """F.embedding; rows are the indices."""

    padding_idx: int | None

    def forward(self, h: Tensor) -> Tensor:
        return F.embedding(h, self.weight, self.padding_idx)

    def rows(self, h: Tensor) -> Tensor:
        return h.reshape(-1)

    def factor(self, X: Tensor, D: Tensor, G: int) -> Factor:
        return embedding(self, X, D, len(X) // G)

    def shape(self, h: Tensor, out: Tensor) -> tuple[int, ...]:
        return *h.shape, out.shape[-1]


@dataclass(frozen=True)
class Conv(Site):
    """F.conv2d; images (G, m, c, H, W) lead with all samples."""

    merges: ClassVar[bool] = False
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """(height, width)."""
        return tuple(self.weight.shape[2:])

    def forward(self, h: Tensor) -> Tensor:
        return Convolution.of(self)(h, self.weight, self.bias)

    def rows(self, h: Tensor) -> Tensor:
        return h.flatten(0, 1)

    def factor(self, X: Tensor, D: Tensor, G: int) -> Factor:
        return conv(self, X, D, len(X) // G)

    def shape(self, h: Tensor, out: Tensor) -> tuple[int, ...]:
        return *h.shape[:2], *out.shape[1:]


@dataclass(frozen=True)
class LayerNorm(Site):
    """F.layer_norm with scale and shift; rows are what is normalised."""

    normalized_shape: tuple[int, ...]
    eps: float

    def forward(self, h: Tensor) -> Tensor:
        return F.layer_norm(h, self.normalized_shape, self.weight, self.bias, self.eps)

    def rows(self, h: Tensor) -> Tensor:
        return h.reshape(-1, *self.normalized_shape)

    def factor(self, X: Tensor, D: Tensor, G: int) -> Factor:
        return layer_norm(self, X, D, len(X) // G)


@dataclass(frozen=True)
class GroupNorm(Site):
    """F.group_norm with a scale and shift of each sample's own: the fused kernel sums deltas over positions."""

    merges: ClassVar[bool] = False
    num_groups: int
    eps: float

    def forward(self, h: Tensor) -> Tensor:
        return F.group_norm(h, self.num_groups, self.weight, self.bias, self.eps)

    def rows(self, h: Tensor) -> Tensor:
        return h.flatten(0, 1)

    def first(self, h: Tensor) -> tuple[Tensor, Tensor, Any]:
        x = self.rows(h)
        affine = torch.stack([self.weight, self.bias]).detach().expand(len(x), -1, -1).requires_grad_()  # type: ignore
        return group_norm_each(self, x, affine), x.new_empty(len(x), 0), affine

    def factor(self, X: Tensor, D: Tensor, G: int) -> Factor:
        return group_norm(self, X, D, len(X) // G)


def joined(pairs: list[Pair], G: int) -> Pair:
    """The rows of several uses, micro-batch by micro-batch."""
    if len(pairs) == 1:
        return pairs[0]
    X, D = (torch.cat([a.unflatten(0, (G, -1)) for a in part], 1).flatten(0, 1) for part in zip(*pairs, strict=True))
    return X, D


def of_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Site]:
    """F.linear's arguments."""
    return x, Linear(weight, bias)


def of_embedding(
    x: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> tuple[Tensor, Site] | None:  # fmt: skip
    """F.embedding's arguments."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        return None
    return x, Embedding(weight, None, padding_idx)


def of_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Site] | None:  # fmt: skip
    """F.conv2d's arguments; None for grouped ones, padding by name and an image alone."""
    if groups != 1 or isinstance(padding, str) or x.ndim != 4:
        return None
    return x, Conv(weight, bias, *(two(a) for a in (stride, padding, dilation)))


def of_layer_norm(
    x: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Site] | None:
    """F.layer_norm's arguments; None without a scale or a shift."""
    if weight is None or bias is None:
        return None
    return x, LayerNorm(weight, bias, tuple(normalized_shape), eps)


def of_group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Site] | None:
    """F.group_norm's arguments; None without a scale or a shift."""
    if weight is None or bias is None:
        return None
    return x, GroupNorm(weight, bias, num_groups, eps)


def two(a: Any) -> tuple[int, int]:
    """A number, or a pair of them, as a pair."""
    return (a, a) if isinstance(a, int) else tuple(a) * (2 // len(a))


RULES: dict[Any, Callable[..., tuple[Tensor, Site] | None]] = {
    F.linear: of_linear, F.embedding: of_embedding, F.conv2d: of_conv, F.layer_norm: of_layer_norm,
    F.group_norm: of_group_norm,
}  # fmt: skip
