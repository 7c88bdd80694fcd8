"""Convolutions as `factors` whose kernels are formed: one for each micro-batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sam_dash.maths.fast.convolution import Convolution
from sam_dash.maths.fast.factors import Dense, shift


class Kernels(Dense):
    """The kernels' gradients in G micro-batches, (G, o, i), and the layer perturbed by a grouped convolution."""

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        kernels = self.weight.view(-1, *layer.weight.shape)
        bias = self.biases(layer, scale)
        if not layer.weight.requires_grad:  # then something else is differentiated, forward
            return each(Convolution.of(layer), h, shift(layer.weight, kernels, scale), bias)
        out: Tensor = By.apply(h, layer.weight, bias, kernels, scale, Convolution.of(layer))
        return out


class By(torch.autograd.Function):
    """Convolution of micro-batch j by W + s_j E_j, E (G, o, c, kh, kw), with a bias of its own (G, o).

    The gradient for W depends on neither s nor E, so it is that of a plain convolution.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, b: Tensor | None, E: Tensor, s: Tensor, how: Convolution) -> Tensor:
        """(n, c, h, w) -> (n, o, p, q)."""
        weight = shift(W, E, s)
        ctx.save_for_backward(h, W, weight)
        ctx.how = how
        return each(how, h, weight, b)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        """The gradients for h, W and the bias."""
        h, W, weight = ctx.saved_tensors
        d_in = each_back(ctx.how, d, h, weight) if ctx.needs_input_grad[0] else None
        d_bias = d.unflatten(0, (len(weight), -1)).sum((1, 3, 4)) if ctx.needs_input_grad[2] else None
        return d_in, ctx.how.back(d, h, W, (False, True))[1], d_bias, None, None, None


def each(how: Convolution, h: Tensor, weight: Tensor, b: Tensor | None) -> Tensor:
    """Micro-batch j of h (n, c, h, w) by kernel j of (G, o, c, kh, kw): one grouped convolution."""
    G, bias = len(weight), None if b is None else b.flatten()
    return from_groups(how(to_groups(h, len(h) // G), weight.flatten(0, 1), bias, G), G)


def each_back(how: Convolution, d: Tensor, h: Tensor, weight: Tensor) -> Tensor:
    """The gradient for h of `each`."""
    G, m = len(weight), len(h) // len(weight)
    like = h.new_empty(m, G * h.shape[1], *h.shape[2:])  # of h only the shape matters
    return from_groups(how.back(to_groups(d, m), like, weight.flatten(0, 1), (True, False), G)[0], G)


def each_kernel(how: Convolution, d: Tensor, h: Tensor, W: Tensor, m: int) -> Tensor:
    """The gradients for W in micro-batches of m, (G, o, c, kh, kw)."""
    G = len(h) // m
    like = h.new_empty(G * len(W), *W.shape[1:])
    weight: Tensor = how.back(to_groups(d, m), to_groups(h, m), like, (False, True), G)[1]
    return weight.reshape(G, *W.shape)


def to_groups(a: Tensor, m: int) -> Tensor:
    """(G m, c, ...) -> (m, G c, ...): the micro-batches side by side, as a grouped convolution takes them."""
    return a.unflatten(0, (-1, m)).transpose(0, 1).flatten(1, 2)


def from_groups(a: Tensor, G: int) -> Tensor:
    """(m, G c, ...) -> (G m, c, ...): what `to_groups` does, undone."""
    return a.unflatten(1, (G, -1)).transpose(0, 1).flatten(0, 1)
