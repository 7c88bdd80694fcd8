"""Hessian-vector products of a ReLU perceptron, written out: S stacked runs and k vectors each, without autograd.

Pearlmutter's R-operator (Neural Computation, 1994): every quantity x of the two passes of a gradient has a derivative
R(x) along a vector of weights V and biases v. With inputs a, deltas d, masks 1[a > 0], which stay, and outputs o,

    R(z) = a V^T + R(a) W^T + v     R(a) = R(z) 1[a > 0]     R(d) = d^2l/do^2 R(z) / n at the output
    H V  = R(d)^T a + d^T R(a)      R(d_in) = (R(d) W + d V) 1[a > 0]

Six products a layer where a gradient has three. `curvature.hvp`, by autograd, is the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_dash.maths.fast.chain import Chain, backward, mask_
from sam_dash.maths.fast.chain_parts import Layer, affine
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Batch


@dataclass(frozen=True)
class Hessian:
    """V (S, k, d) -> H_s v (S, k, d), H_s the Hessian of the mean loss of run s at W (S, d).

    The pass that it is linearised along: inputs and deltas of the layers, (S, n, ...), and `Loss.mean` (S, n, C).
    """

    chain: Chain
    loss: Loss
    W: Tensor
    inputs: Sequence[Tensor]
    deltas: Sequence[Tensor]
    mean: Tensor

    @classmethod
    def of(cls, chain: Chain, loss: Loss, W: Tensor, batch: Batch) -> Hessian:
        """On samples (S, n, ...), (S, n)."""
        layers, inputs, out = chain.forward(W, batch[0])
        error = loss.error(out, loss.targets(batch[1], out)).div_(out.shape[1])
        return cls(chain, loss, W, inputs, backward(layers, inputs, error), loss.mean(out))

    def take(self, runs: Sequence[int]) -> Hessian:
        """The products of those runs only."""
        i = list(runs)
        inputs, deltas = ([a[i] for a in layers] for layers in (self.inputs, self.deltas))
        return Hessian(self.chain, self.loss, self.W[i], inputs, deltas, self.mean[i])

    def __call__(self, V: Tensor) -> Tensor:
        """The k derivatives of a sample are k rows: R(a) is (S, n k, i), so that W is not copied k times."""
        (S, k, _), n = V.shape, self.mean.shape[1]
        layers, vectors = self.chain.layers(self.W), self.chain.layers(V.flatten(0, 1))
        ahead: list[Tensor] = []  # R(a) of the layers after the first, where it is zero; the last is R(z)
        for layer, v, a in zip(layers, vectors, self.inputs, strict=True):
            o, i = layer.weight.shape[1:]
            if ahead:
                _mask_each(ahead[-1], a, k)
            bias = None if v.bias is None else v.bias.reshape(S, 1, k * o)
            z = affine(Layer(v.weight.reshape(S, k * o, i), bias), a).view(S, n * k, o)
            ahead.append(z.baddbmm_(ahead[-1], layer.weight.mT) if ahead else z)
        u = self.loss.curved(self.mean.unsqueeze(2), ahead.pop().view(S, n, k, -1)).div_(n)
        flat: list[Tensor] = []
        for j in reversed(range(len(layers))):
            layer, v, a, d = layers[j], vectors[j], self.inputs[j], self.deltas[j]
            o, i = layer.weight.shape[1:]
            u = u.view(S, n, k * o)
            weight = (u.mT @ a).view(S, k, o, i)
            if j:
                weight += (d.mT @ ahead[j - 1].view(S, n, k * i)).view(S, o, k, i).transpose(1, 2)
            flat = [weight.view(S, k, -1), *([] if v.bias is None else [u.sum(1).view(S, k, o)]), *flat]
            if j:
                moved = d @ v.weight.unflatten(0, (S, k)).transpose(1, 2).reshape(S, o, k * i)
                u = _mask_each(moved.view(S, n * k, i).baddbmm_(u.view(S, n * k, o), layer.weight), a, k)
        return torch.cat(flat, 2)


def _mask_each(u: Tensor, a: Tensor, k: int) -> Tensor:
    """u (S, n k, i) where the ReLU's output a (S, n, i) is positive, else 0; in place."""
    if k == 1:
        return mask_(u, a)
    return u.view(*a.shape[:2], k, -1).mul_((a > 0).unsqueeze(2)).view(u.shape)
