"""Hessian-vector products of a ReLU perceptron, written out: S stacked runs and k vectors each, without autograd.

Pearlmutter's R-operator (Neural Computation, 1994): every quantity x of the two passes of a gradient has a derivative
R(x) along a vector of weights V and biases v. With inputs a, deltas d, masks 1[a > 0], which stay, and softmax p,

    R(z) = a V^T + R(a) W^T + v     R(a) = R(z) 1[a > 0]     R(d) = p (R(z) - p . R(z)) / n at the output
    H V  = R(d)^T a + d^T R(a)      R(d_in) = (R(d) W + d V) 1[a > 0]

Six products a layer where a gradient has three. `curvature.hvp` is the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_dash.maths.chain import Chain, backward, mask_
from sam_dash.maths.chain_parts import Layer, affine
from sam_dash.maths.oracle import Batch


class Piece(NamedTuple):
    """What one piece of N samples is linearised into: inputs and deltas of the layers, probabilities (S, N, C)."""

    inputs: Sequence[Tensor]
    deltas: Sequence[Tensor]
    p: Tensor

    def take(self, runs: Sequence[int]) -> Piece:
        """The same of those runs only."""
        i = list(runs)
        return Piece([a[i] for a in self.inputs], [d[i] for d in self.deltas], self.p[i])


@dataclass(frozen=True)
class Hessian:
    """V (S, k, d) -> H_s v (S, k, d), H_s the Hessian of the mean loss of run s."""

    chain: Chain
    W: Tensor
    pieces: Sequence[Piece]

    @classmethod
    def of(cls, chain: Chain, W: Tensor, batch: Batch, size: int) -> Hessian:
        """At W (S, d), on samples (S, n, ...), (S, n), `size` of them linearised together."""
        n = batch[1].shape[1]
        layers = chain.layers(W)
        pieces = []
        for x, y in zip(*(a.split(size, 1) for a in batch), strict=True):
            _, inputs, out = chain.forward(W, x)
            p = out.softmax(2)
            pieces.append(Piece(inputs, backward(layers, inputs, (p - F.one_hot(y, p.shape[2])) / n), p))
        return cls(chain, W, pieces)

    def take(self, runs: Sequence[int]) -> Hessian:
        """The same of those runs only."""
        return replace(self, W=self.W[list(runs)], pieces=[piece.take(runs) for piece in self.pieces])

    def __call__(self, V: Tensor) -> Tensor:
        """The products."""
        layers, vectors = self.chain.layers(self.W), self.chain.layers(V.flatten(0, 1))
        n = sum(piece.p.shape[1] for piece in self.pieces)
        out = _product(layers, vectors, self.pieces[0], n, V.shape[1])
        for piece in self.pieces[1:]:
            out += _product(layers, vectors, piece, n, V.shape[1])
        return out


def _product(layers: Sequence[Layer], vectors: Sequence[Layer], piece: Piece, n: int, k: int) -> Tensor:
    """One piece's part. The k derivatives of a sample are k rows: R(a) is (S, N k, i), so W is not copied k times."""
    S, N, _ = piece.p.shape
    ahead: list[Tensor] = []  # R(a) of the layers after the first; it is zero there
    for layer, v, a in zip(layers, vectors, piece.inputs, strict=True):
        o, i = layer.weight.shape[1:]
        if ahead:
            _mask_each(ahead[-1], a, k)
        bias = None if v.bias is None else v.bias.reshape(S, 1, k * o)
        z = affine(Layer(v.weight.reshape(S, k * o, i), bias), a).view(S, N * k, o)
        ahead.append(z.baddbmm_(ahead[-1], layer.weight.mT) if ahead else z)
    z, p = ahead.pop().view(S, N, k, -1), piece.p.unsqueeze(2)
    u = p * z
    u = u.addcmul_(p, u.sum(3, keepdim=True), value=-1).div_(n)
    flat: list[Tensor] = []
    for j in reversed(range(len(layers))):
        layer, v, a, d = layers[j], vectors[j], piece.inputs[j], piece.deltas[j]
        o, i = layer.weight.shape[1:]
        u = u.view(S, N, k * o)
        weight = (u.mT @ a).view(S, k, o, i)
        if j:
            weight += (d.mT @ ahead[j - 1].view(S, N, k * i)).view(S, o, k, i).transpose(1, 2)
        flat = [weight.view(S, k, -1), *([] if v.bias is None else [u.sum(1).view(S, k, o)]), *flat]
        if j:
            moved = d @ v.weight.unflatten(0, (S, k)).transpose(1, 2).reshape(S, o, k * i)
            u = _mask_each(moved.view(S, N * k, i).baddbmm_(u.view(S, N * k, o), layer.weight), a, k)
    return torch.cat(flat, 2)


def _mask_each(u: Tensor, a: Tensor, k: int) -> Tensor:
    """u (S, N k, i) where the ReLU's output a (S, N, i) is positive, else 0; in place."""
    if k == 1:
        return mask_(u, a)
    return u.view(*a.shape[:2], k, -1).mul_((a > 0).unsqueeze(2)).view(u.shape)
