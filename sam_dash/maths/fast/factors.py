"""One layer's gradients in G micro-batches, as factors: their norms, their sum, and the layer perturbed by them.

`of(layer, X, D, m)` builds a factor from the layer's inputs X (n, ...) and back-propagated deltas D (n, ...) in
n/m micro-batches of m consecutive samples. Gradients are in the order of the layer's parameters: weight, bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PASSES = 48  # rows, by time on a CPU


def own_forward(layer: nn.Module, h: Tensor) -> Tensor:
    """The layer's own outputs, whatever its instance's `forward` has been replaced by."""
    return type(layer).forward(layer, h)


def in_groups(a: Tensor, m: int) -> Tensor:
    """a (G, ...) in groups of m, (G // m, m, ...); what is left over is left out."""
    return a[: len(a) // m * m].unflatten(0, (-1, m))


def lengths(a: Tensor) -> Tensor:
    """||a_i||^2, (..., n, i) -> (..., n); a norm is one kernel, without a copy."""
    out: Tensor = torch.linalg.vector_norm(a, dim=-1)
    return out.square_()


class Factor(Protocol):
    """The gradients g_j (G of them) of one layer's d_l parameters."""

    def squares(self) -> Tensor:
        """||g_j||^2 (G,)."""

    def dense(self) -> Tensor:
        """g_j (G, d_l)."""

    def total(self, scale: Tensor) -> Tensor:
        """sum_j scale_j g_j (d_l,)."""

    def along(self, v: Tensor) -> Tensor:
        """g_j . v, (d_l,) -> (G,)."""

    def grouped(self, m: int) -> Factor:
        """The sums of m consecutive g_j (G // m of them); those left over are left out."""

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
        if self.X.shape[1] == 1:
            return (lengths(self.X) + self.bias).mul_(lengths(self.D)).squeeze(1)
        return ((self.X @ self.X.mT + self.bias) * (self.D @ self.D.mT)).sum((1, 2))

    def dense(self) -> Tensor:
        return dense(self).dense()

    def total(self, scale: Tensor) -> Tensor:
        D = (scale[:, None, None] * self.D).flatten(0, 1)
        weight = (D.mT @ self.X.flatten(0, 1)).flatten()
        return torch.cat([weight, D.sum(0)]) if self.bias else weight

    def along(self, v: Tensor) -> Tensor:
        o, i = self.D.shape[2], self.X.shape[2]
        out = self.X @ v[: o * i].view(o, i).mT
        if self.bias:
            out += v[o * i :]
        return out.mul_(self.D).sum((1, 2))

    def grouped(self, m: int) -> LowRank | Dense:
        X, D = (in_groups(a, m).flatten(1, 2) for a in (self.X, self.D))
        return cheaper(LowRank(X, D, self.bias))

    def weighted(self, p: Tensor) -> LowRank | Dense:
        D = p[:, None, None] * self.D
        return cheaper(LowRank(self.X.flatten(0, 1)[None], D.flatten(0, 1)[None], self.bias))

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        rows, s = h.reshape(len(self.X), -1, h.shape[-1]), scale[:, None, None]
        if layer.weight.requires_grad:
            out: Tensor = Along.apply(rows, layer.weight, layer.bias, self.X, self.D, s, self.bias)
        else:  # then something else is differentiated, forward
            out = along(rows, layer.weight, layer.bias, self.X, self.D, s, self.bias)
        return out.reshape(*h.shape[:-1], out.shape[-1])


def along(h: Tensor, W: Tensor, b: Tensor | None, X: Tensor, D: Tensor, s: Tensor, bias: bool) -> Tensor:
    """The rows h (G, r, i) of micro-batch j by W + s_j D_j^T X_j, of which W alone is formed; with `bias`, b too."""
    return torch.baddbmm(F.linear(h, W, b), (h @ X.mT).add_(bias).mul_(s), D)


class Along(torch.autograd.Function):
    """`along`, whose gradients for W and b depend on neither s, X nor D: they are a plain layer's."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, W: Tensor, b: Tensor | None, X: Tensor, D: Tensor, s: Tensor, bias: bool
    ) -> Tensor:
        """(G, r, i) -> (G, r, o)."""
        ctx.save_for_backward(h, W, X, D, s)
        return along(h, W, b, X, D, s, bias)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        """The gradients for h, W and the bias."""
        h, W, X, D, s = ctx.saved_tensors
        rows = d.flatten(0, 1)
        d_in = torch.baddbmm((rows @ W).view(h.shape), (d @ D.mT).mul_(s), X) if ctx.needs_input_grad[0] else None
        d_bias = rows.sum(0) if ctx.needs_input_grad[2] else None
        return d_in, rows.mT @ h.flatten(0, 1), d_bias, None, None, None, None


@dataclass(frozen=True)
class Dense:
    """The gradients formed: weight (G, o, i), bias (G, o) or None."""

    weight: Tensor
    bias: Tensor | None

    def squares(self) -> Tensor:
        squares = lengths(self.weight.flatten(1))
        return squares if self.bias is None else squares + self.bias.square().sum(1)

    def dense(self) -> Tensor:
        weight = self.weight.flatten(1)
        return weight if self.bias is None else torch.cat([weight, self.bias], 1)

    def total(self, scale: Tensor) -> Tensor:
        weight = scale @ self.weight.flatten(1)
        return weight if self.bias is None else torch.cat([weight, scale @ self.bias])

    def along(self, v: Tensor) -> Tensor:
        weight = self.weight.flatten(1)
        out = weight @ v[: weight.shape[1]]
        return out if self.bias is None else out + self.bias @ v[weight.shape[1] :]

    def grouped(self, m: int) -> Self:
        return type(self)(
            in_groups(self.weight, m).sum(1), None if self.bias is None else in_groups(self.bias, m).sum(1)
        )

    def weighted(self, p: Tensor) -> Self:
        weight = torch.tensordot(p, self.weight, 1)[None]
        return type(self)(weight, None if self.bias is None else (p @ self.bias)[None])

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        rows, bias = h.reshape(len(self.weight), -1, h.shape[-1]), self.biases(layer, scale)
        bias = None if bias is None else bias[:, None]
        if layer.weight.requires_grad:
            out: Tensor = By.apply(rows, layer.weight, bias, self.weight, scale)
        else:  # then something else is differentiated, forward
            out = each(rows, shift(layer.weight, self.weight, scale), bias)
        return out.reshape(*h.shape[:-1], out.shape[-1])

    def biases(self, layer: Any, scale: Tensor) -> Tensor | None:
        """The bias of each micro-batch (G, o)."""
        return None if self.bias is None else layer.bias + scale[:, None] * self.bias


def shift(W: Tensor, E: Tensor, s: Tensor) -> Tensor:
    """The weights W + s_j E_j of all G micro-batches, (G, *W)."""
    return torch.addcmul(W, s.view(-1, *[1] * W.ndim), E)


def each(h: Tensor, weight: Tensor, b: Tensor | None) -> Tensor:
    """The rows h (G, r, i) of micro-batch j by weight j of (G, o, i), with biases (G, 1, o)."""
    return h @ weight.mT if b is None else torch.baddbmm(b, h, weight.mT)


class By(torch.autograd.Function):
    """Rows of micro-batch j by W + s_j E_j; the gradient for W depends on neither s nor E: it is a plain layer's."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, b: Tensor | None, E: Tensor, s: Tensor) -> Tensor:
        """(G, r, i) -> (G, r, o)."""
        weight = shift(W, E, s)
        ctx.save_for_backward(h, weight)
        return each(h, weight, b)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        """The gradients for h, W and the bias."""
        h, weight = ctx.saved_tensors
        d_in = d @ weight if ctx.needs_input_grad[0] else None
        d_bias = d.sum(1, keepdim=True) if ctx.needs_input_grad[2] else None
        return d_in, d.flatten(0, 1).mT @ h.flatten(0, 1), d_bias, None, None


def dense(low: LowRank) -> Dense:
    """The gradients D^T X, formed."""
    return Dense(low.D.mT @ low.X, low.D.sum(1) if low.bias else None)


def cheaper(low: LowRank) -> LowRank | Dense:
    """The form whose products take fewer multiplications: r (i + o) against i o."""
    (r, i), o = low.X.shape[1:], low.D.shape[2]
    return low if r * (i + o) < i * o else dense(low)


def linear(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """The factor of a linear layer; see the module.

    Of sequences, whose rows outgrow the layer, both ways are counted to the end: three products of r rows with each
    other, or one that forms and a few passes over what is formed, as dear as `PASSES` rows.
    """
    G = len(X) // m
    sequences = X.ndim > 2
    low = LowRank(X.reshape(G, -1, X.shape[-1]), D.reshape(G, -1, D.shape[-1]), layer.bias is not None)
    if not sequences:
        return cheaper(low)
    (r, i), o = low.X.shape[1:], low.D.shape[2]
    return low if 3 * r * r * (i + o) < (r + PASSES) * i * o else dense(low)
