"""One layer's gradients in a stack of micro-batches, and those of all layers together: what `chain` computes with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam_dash.maths.fast.factors import lengths
from sam_dash.maths.fast.unformed import Each, Multiple, NotFactoredError


class Layer(NamedTuple):
    """Weight (S, o, i) and bias (S, 1, o), or None where there is none."""

    weight: Tensor
    bias: Tensor | None


def views(flat: Tensor, shapes: Sequence[tuple[int, int, bool]]) -> list[Layer]:
    """The layers (outputs, inputs, bias) of weights or of a gradient (S, d), without a copy."""
    sizes = [size for o, i, bias in shapes for size in ((o * i, o) if bias else (o * i,))]
    pieces = iter(flat.split_with_sizes(sizes, 1))
    return [Layer(next(pieces).view(-1, o, i), next(pieces).unsqueeze(1) if bias else None) for o, i, bias in shapes]


def affine(layer: Layer, h: Tensor) -> Tensor:
    """h W^T + b.  (S, B, i) -> (S, B, o)."""
    weight = layer.weight.mT
    return torch.bmm(h, weight) if layer.bias is None else torch.baddbmm(layer.bias, h, weight)


def write_gradient(out: Layer, X: Tensor, D: Tensor) -> None:
    """Write the gradient of a layer with inputs X (S, B, i) and deltas D (S, B, o)."""
    torch.bmm(D.mT, X, out=out.weight)
    if out.bias is not None:
        torch.sum(D, 1, keepdim=True, out=out.bias)


@dataclass(frozen=True)
class Part:
    """One layer's gradients in S G micro-batches of m: X (S G, m, i), D (S G, m, o); formed where that is cheaper.

    `source` are the inputs (S, B, i) that X is cut from: at the same inputs, products with X are known from the norms.
    """

    X: Tensor
    D: Tensor
    bias: bool
    weight: Tensor | None = None
    source: Tensor | None = None

    @classmethod
    def of(cls, X: Tensor, D: Tensor, bias: bool, m: int) -> Part:
        """From inputs X (S, B, i) and deltas D (S, B, o)."""
        source = X
        X, D = (a.reshape(-1, m, a.shape[-1]) for a in (X, D))
        (i, o) = X.shape[2], D.shape[2]
        return cls(X, D, bias, torch.bmm(D.mT, X) if m * (i + o) >= i * o else None, source)

    @functools.cached_property
    def gram(self) -> Tensor:
        """X X^T, + 1 where there is a bias; (S G, m, m)."""
        gram = lengths(self.X).unsqueeze(2) if self.X.shape[1] == 1 else torch.bmm(self.X, self.X.mT)
        return gram.add_(1) if self.bias else gram

    @property
    def shape(self) -> tuple[int, int, bool]:
        """(outputs, inputs, whether there is a bias) of the layer."""
        return self.D.shape[2], self.X.shape[2], self.bias

    def squares(self) -> Tensor:
        """||g_j||^2 (S G,)."""
        D = self.D
        if self.weight is not None:
            squares = self.weight.square().sum((1, 2))
            return squares + D.sum(1).square().sum(1) if self.bias else squares
        if D.shape[1] == 1:
            return lengths(D).mul_(self.gram.squeeze(2)).squeeze(1)
        return torch.bmm(D, D.mT).mul_(self.gram).sum((1, 2))

    def total(self, out: Layer, scale: Tensor | None) -> None:
        """Write sum_j scale_j g_j, of S stacks."""
        S, (o, i, _) = len(out.weight), self.shape
        D = (self.D if scale is None else self.D * scale.view(-1, 1, 1)).reshape(S, -1, o)
        if self.weight is None or scale is not None:
            write_gradient(out, self.X.reshape(S, -1, i), D)
            return
        torch.sum(self.weight.view(S, -1, o, i), 1, out=out.weight)
        if out.bias is not None:
            torch.sum(D, 1, keepdim=True, out=out.bias)

    def perturbed(self, layer: Layer, h: Tensor, scale: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The outputs (S, B, o) for inputs h (S, B, i) with s_j g_j added in micro-batch j, and d -> d_in."""
        S, G = scale.shape
        if self.weight is not None:
            (o, i), b = self.weight.shape[1:], layer.bias
            W = torch.addcmul(layer.weight.unsqueeze(1), scale.view(S, G, 1, 1), self.weight.view(S, G, o, i))
            W = W.view(-1, o, i)
            if b is not None:
                b = (b + scale.unsqueeze(2) * self.D.sum(1).view(S, G, o)).view(-1, 1, o)
            out = affine(Layer(W, b), h.reshape(S * G, -1, i))
            return out.view(S, -1, o), lambda d: torch.bmm(d.view(S * G, -1, o), W).view(h.shape)
        s = scale.view(-1, 1, 1)
        out = affine(layer, h)
        _add_multiple(out, self.gram if h is self.source else _products(h, self.X, self.bias), s, self.D)

        def pull(d: Tensor) -> Tensor:
            d_in = torch.bmm(d, layer.weight)
            _add_multiple(d_in, _products(d, self.D, False), s, self.X)
            return d_in

        return out, pull


def _products(H: Tensor, X: Tensor, one: bool) -> Tensor:
    """H X^T + one in every micro-batch; X may be of other samples than H, as in n-SAM."""
    H = H.reshape(len(X), -1, X.shape[2])
    inner = (H * X).sum(2, keepdim=True) if X.shape[1] == H.shape[1] == 1 else torch.bmm(H, X.mT)
    return inner.add_(1) if one else inner


def _add_multiple(out: Tensor, inner: Tensor, s: Tensor, D: Tensor) -> None:
    """Add s inner D to `out`, in place."""
    out = out.view(len(D), -1, D.shape[2])
    (out.addcmul_ if inner.shape[1] == inner.shape[2] == 1 else out.baddbmm_)(inner * s, D)


def combined(parts: Sequence[Part], S: int, scale: Tensor | None) -> Tensor:
    """sum_j scale_j g_j of all layers (S, d); scale (S, G), None: 1."""
    flat = parts[0].D.new_empty(S, _size(parts))
    for part, out in zip(parts, views(flat, [part.shape for part in parts]), strict=True):
        part.total(out, scale)
    return flat


def _size(parts: Sequence[Part]) -> int:
    return sum(o * (i + bias) for o, i, bias in (part.shape for part in parts))


@dataclass(frozen=True)
class Gradient(Multiple):
    """c_j g_j of the S stacks' G micro-batches: `scale` (S, G) the c_j, None: 1. Where G = 1: `flat`, no parts."""

    parts: Sequence[Part]
    stacks: int
    scale: Tensor | None = None
    known: dict[str, Tensor] = field(default_factory=dict)
    flat: Tensor | None = None

    @classmethod
    def whole(cls, flat: Tensor) -> Gradient:
        """The gradients (S, d) of one micro-batch a stack."""
        return cls((), len(flat), flat=flat)

    def norm(self, dim: int | None = None) -> Tensor:
        """||c_j g_j|| (S, G); rounding may leave a ghost norm a little below zero."""
        lengths = self.lengths()
        return lengths if self.scale is None else lengths * self.scale.abs()

    def _lengths(self) -> Tensor:
        if self.flat is not None:
            return self.flat.norm(dim=1, keepdim=True)
        squares = self.parts[0].squares()
        for part in self.parts[1:]:
            squares = squares + part.squares()
        return squares.clamp_min_(0).sqrt_().view(self.stacks, -1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(S, d)."""
        if self.flat is not None:
            return tuple(self.flat.shape)
        return self.stacks, _size(self.parts)

    @property
    def groups(self) -> int:
        """G."""
        return 1 if self.flat is not None else len(self.parts[0].X) // self.stacks

    @property
    def like(self) -> Tensor:
        """A tensor of the same kind of numbers."""
        return self.parts[0].X if self.flat is None else self.flat

    def new_zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros like the gradients' numbers."""
        return self.like.new_zeros(shape)

    def mean(self) -> Tensor:
        """The mean over the micro-batches (S, d)."""
        if self.flat is not None:
            return self.flat if self.scale is None else self.flat * self.scale
        return combined(self.parts, self.stacks, self.scale).div_(self.groups)

    def added_to(self, W: Tensor) -> Tensor:
        """W + c g (S, d), for one micro-batch a stack."""
        assert self.flat is not None
        return W + self.flat if self.scale is None else torch.addcmul(W, self.scale, self.flat)

    def scaled(self, c: Any) -> Gradient:
        """c: a number, (S, 1) or (S, G)."""
        G = self.groups
        if isinstance(c, Tensor) and c.shape not in ((), (self.stacks, 1), (self.stacks, G)):
            raise NotFactoredError("more than a scalar times a factored gradient")
        if self.scale is not None:
            return replace(self, scale=self.scale * c)
        c = c.expand(self.stacks, G) if isinstance(c, Tensor) else self.like.new_full((self.stacks, G), c)
        return replace(self, scale=c)


@dataclass(frozen=True)
class PerSample(Each):
    """Gradients of all samples of the only micro-batch."""

    parts: Sequence[Part]
    stacks: int

    def norm(self, dim: int) -> Tensor:
        """||g_i|| (S, n)."""
        return Gradient(self.parts, self.stacks).norm()

    def weighted(self, p: Tensor) -> Gradient:
        """sum_i p_i g_i, p (S, n)."""
        return Gradient.whole(combined(self.parts, len(p), p))
