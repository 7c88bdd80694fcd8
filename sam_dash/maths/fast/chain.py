"""Factored gradients of a ReLU perceptron, written out: a stack of S seeds in one pass, without autograd.

What `factored` does for any network, for the one that is timed in microseconds: a chain of linear layers with ReLU in
between, where recording a graph costs more than the products. A variant's step runs on it unchanged, on weights (S, d)
in place of (d,). With inputs a (S, B, i), weights W (S, o, i) and micro-batches of m = B/G samples,

    z = a W^T + b          d_in = d W          g_j = D_j^T X_j   kept as X_j (m, i) and D_j (m, o)

and at w + s_j g_j either the extra products of `factored` or, where micro-batches are large, S G formed weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash.maths.contract import Step
from sam_dash.maths.fast.chain_parts import Gradient, Layer, Part, PerSample, affine, views, write_gradient
from sam_dash.maths.fast.unformed import Groups, NotFactoredError, Shifted
from sam_dash.maths.flat import as_written
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Oracle


@dataclass(frozen=True)
class Chain:
    """The layers of a perceptron: (outputs, inputs, whether there is a bias) of each."""

    shapes: tuple[tuple[int, int, bool], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Chain:
        """The chain that a module is; NotFactoredError if it is another network."""
        if not as_written(module):
            raise NotFactoredError("hooks, or parameters besides weight and bias")
        parts = [p for p in (module if type(module) is nn.Sequential else [module]) if type(p) is not nn.Identity]
        parts = parts[1:] if parts and type(parts[0]) is nn.Flatten else parts
        linear: list[Any] = parts[::2]
        between = parts[1::2]
        if (
            len(parts) % 2 == 0
            or any(type(p) is not nn.Linear for p in linear)
            or any(type(p) is not nn.ReLU for p in between)
            or len({id(p) for p in linear}) < len(linear)
        ):
            raise NotFactoredError("not a chain of linear layers and ReLU")
        return cls(tuple((p.out_features, p.in_features, p.bias is not None) for p in linear))

    def layers(self, W: Tensor) -> list[Layer]:
        """W (S, d) as views."""
        return views(W, self.shapes)

    def forward(self, W: Tensor, x: Tensor) -> tuple[list[Layer], list[Tensor], Tensor]:
        """The layers at W, their inputs (S, B, i), and the outputs (S, B, C)."""
        layers, inputs, h = self.layers(W), [], x if x.ndim == 3 else x.flatten(2)
        for k, layer in enumerate(layers):
            h = h.relu_() if k else h
            inputs.append(h)
            h = affine(layer, h)
        return layers, inputs, h


def chain_or_none(module: nn.Module) -> Chain | None:
    """The chain that a module is, if it is one."""
    try:
        return Chain.of(module)
    except NotFactoredError:
        return None


def backward(layers: Sequence[Layer], inputs: Sequence[Tensor], d: Tensor) -> list[Tensor]:
    """The deltas of all layers from those of the last, (S, B, o) each."""
    deltas = [d]
    for layer, a in zip(reversed(layers), reversed(inputs[1:]), strict=False):
        deltas.append(mask_(torch.bmm(deltas[-1], layer.weight), a))
    return deltas[::-1]


def shifted(
    layers: Sequence[Layer], x: Tensor, eps: Gradient
) -> tuple[Tensor, list[Tensor], list[Callable[[Tensor], Tensor]]]:
    """The outputs (S, B, C) with every micro-batch of x (S, B, i) at w + eps_j, none of which is formed; the inputs of
    all layers, and what takes the deltas back through each.
    """
    scale = eps.scale if eps.scale is not None else x.new_ones(eps.stacks, eps.groups)
    h, inputs, pulls = x, [], []
    for k, (layer, part) in enumerate(zip(layers, eps.parts, strict=True)):
        h = h.relu_() if k else h
        inputs.append(h)
        h, pull = part.perturbed(layer, h, scale)
        pulls.append(pull)
    return h, inputs, pulls


def weight_gradients(chain: Chain, inputs: Sequence[Tensor], deltas: Sequence[Tensor]) -> Tensor:
    """The gradient (S, d) from the inputs and deltas of all layers."""
    S = len(deltas[0])
    flat = deltas[0].new_empty(S, sum(o * (i + bias) for o, i, bias in chain.shapes))
    for layer, a, d in zip(chain.layers(flat), inputs, deltas, strict=True):
        write_gradient(layer, a, d)
    return flat


def mask_(d: Tensor, a: Tensor) -> Tensor:
    """d where the ReLU's output a is positive, else 0; in place."""
    return torch.ops.aten.threshold_backward.grad_input(d, a, 0, grad_input=d)


@dataclass(frozen=True, kw_only=True)
class ChainOracle(Groups):
    """The oracle of all micro-batches of S stacks at once, as `FactoredOracle` is of one.

    Batch (S, B, ...), (S, B); weights (S, d); noise (K, S, d).
    """

    chain: Chain
    places: list[tuple[Tensor, list[Layer]]] = field(default_factory=list)  # where gradients were asked for
    labels: list[Tensor] = field(default_factory=list)  # as numbers, once they are

    @property
    def samples(self) -> int:
        """The number n of samples of each stack."""
        return self.batch[1].shape[1]

    def losses(self, W: Tensor) -> Tensor:
        """Per-sample losses of the only micro-batch, (S, d) -> (S, n)."""
        self.one_group()
        return self.loss.values(self.chain.forward(W, self._x)[2], self.batch[1])

    def grad(self, W: Any) -> Any:
        """At w: the micro-batches' gradients, factored. At w + eps_j: their mean (S, d)."""
        self.before_the_descent()
        if not isinstance(W, Shifted):
            return self._first(W)[1](1 / self.m, self.m)
        h = self._shifted(W.w, W.eps) if W.eps.flat is None else self._mean(W.eps.added_to(W.w))
        self.descents.append(h)
        return h

    def _mean(self, W: Tensor) -> Tensor:
        """The gradient of the mean loss at weights that are formed (S, d)."""
        layers, inputs, out = self.chain.forward(W, self._x)
        deltas = backward(layers, inputs, self._error(out).div_(self.samples))
        return weight_gradients(self.chain, inputs, deltas)

    def _shifted(self, W: Tensor, eps: Gradient) -> Tensor:
        """The mean gradient with every micro-batch at W + eps_j, none of which is formed."""
        layers = next((layers for at, layers in self.places if at is W), None)
        out, inputs, pulls = shifted(layers or self.chain.layers(W), self._x, eps)
        deltas = [self._error(out).div_(self.samples)]
        for pull, a in zip(reversed(pulls[1:]), reversed(inputs[1:]), strict=True):
            deltas.append(mask_(pull(deltas[-1]), a))
        return weight_gradients(self.chain, inputs, deltas[::-1])

    def grads(self, W: Tensor) -> PerSample:
        """Per-sample gradients."""
        self.one_group()
        return PerSample(self._first(W)[1](1.0, 1).parts, len(W))

    def pullback(self, W: Tensor) -> tuple[Tensor, Callable[[Tensor], Gradient]]:
        """Losses (S, n) and p (S, n) -> grad of sum_i p_i l_i, factored."""
        self.one_group()
        out, pull = self._first(W)
        return self.loss.values(out, self.batch[1]), lambda p: pull(p.unsqueeze(2), self.m)

    def _error(self, out: Tensor) -> Tensor:
        """The gradient of the losses by the outputs, (S, n, C)."""
        if not self.labels:
            self.labels.append(self.loss.targets(self.batch[1], out))
        return self.loss.error(out, self.labels[0])

    @functools.cached_property
    def _x(self) -> Tensor:
        """The inputs (S, n, i)."""
        return self.batch[0].flatten(2)

    def _first(self, W: Tensor) -> tuple[Tensor, Callable[[Any, int], Gradient]]:
        layers, inputs, out = self.chain.forward(W, self._x)
        self.places.append((W, layers))
        if self.seen is not None:
            self.seen(out)

        def pull(p: Any, m: int) -> Gradient:
            deltas = backward(layers, inputs, self._error(out).mul_(p))
            if m == self.samples:
                return Gradient.whole(weight_gradients(self.chain, inputs, deltas))
            shapes = zip(inputs, deltas, self.chain.shapes, strict=True)
            return Gradient([Part.of(X, D, bias, m) for X, D, (_, _, bias) in shapes], len(W))

        return out, pull


def chain_step(
    step: Callable[..., Step], m: int | None, chain: Chain, loss: Loss, seen: Callable[[Tensor], None] | None = None
) -> Callable[..., Step]:  # fmt: skip
    """The m-version of `step` for S stacks at once: an oracle whose batch, noise and weights have a leading S.

    Knobs are numbers, or (S, 1) where they differ. `.eps` and `.g` are factored (`unformed.formed`), all else (S, d).
    m = None: the whole batch.
    `seen` is called with the outputs (S, n, C) of every pass at weights that are not perturbed.
    """

    def stacked(L: Oracle, W: Tensor, s: Any, **knobs: Any) -> Step:
        if s != ():
            raise NotFactoredError("a step with a state")
        full = None if L.full is None else ChainOracle(loss, L.full.batch, L.full.batch[1].shape[1], chain=chain)
        noise = None if L.noise is None else L.noise.transpose(0, 1)
        size = m or L.batch[1].shape[1]
        oracle = ChainOracle(loss, L.batch, size, noise, full, L.t, L.rate, seen=seen, chain=chain)
        out = step(oracle, W, s, **knobs)
        plain = isinstance(out.aside, tuple) and isinstance(out.moves, tuple)
        if plain and out.h is out.g and isinstance(out.eps, Tensor) and oracle.places[0][0] is W:  # at w itself: SGD
            g = out.g.mean()
            return Step(g, out.eps, g, (), dict(out.info))
        return oracle.ended(out)

    return stacked
