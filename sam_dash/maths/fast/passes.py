"""What is asked of the per-sample gradients of S stacked runs at W (S, d), without forming them, in one pass.

Two kinds of networks answer: a perceptron, all runs at once (`chain`), and any whose layers have factors, one run
(`taps`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from sam_dash.maths.contract import TINY
from sam_dash.maths.curvature import ELEMENTS
from sam_dash.maths.fast.chain import Chain, backward, chain_or_none, shifted, weight_gradients
from sam_dash.maths.fast.chain_parts import Gradient, Layer, Part, affine
from sam_dash.maths.fast.factored import norms
from sam_dash.maths.fast.factors import Factor, lengths
from sam_dash.maths.fast.taps import Pair, Taps
from sam_dash.maths.loss import Loss
from sam_dash.maths.noise import check_sizes
from sam_dash.maths.oracle import Batch


class Pass(Protocol):
    """The gradients g_i of n samples, by layers."""

    def squares(self, m: int) -> Tensor:
        """||mean of m consecutive g_i||^2 in each layer, (S, layers, n // m); samples left over are left out."""

    def total(self, first: int = 0) -> Tensor:
        """sum_i g_i from sample `first` on (S, d)."""

    def along(self, v: Tensor) -> Tensor:
        """g_i . v in each layer, (S, d) -> (S, layers, n)."""

    def moved(self, m: int) -> Callable[[Tensor], Tensor]:
        """t -> the outputs of every sample at w + t u_j, u_j the unit gradient of its micro-batch j of m consecutive
        samples, (S, n // m * m, C); those left over are left out.
        """


class Net(Protocol):
    """A network that can be linearised, and its loss."""

    @property
    def loss(self) -> Loss:
        """The loss of its outputs."""

    def linearise(self, W: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Pass]]:
        """The outputs (S, n, C) at W (S, d) for x (S, n, ...), and their pullback to per-sample gradients."""

    def floats(self, W: Tensor, x: Tensor) -> int:
        """The number of floats that the layers put out for one sample of x, of all S runs."""

    def sizes(self) -> list[int]:
        """The number of parameters of each layer."""


def net(module: nn.Module, loss: Loss) -> Net:
    """The fastest way through a module; NotFactoredError where there is none."""
    chain = chain_or_none(module)
    return Perceptron(chain, loss) if chain else Tapped(Taps(module), loss)


def linearise(net: Net, W: Tensor, piece: Batch) -> tuple[Tensor, Pass]:
    """The outputs (S, n, C), and the gradients of the loss of every sample."""
    out, pull = net.linearise(W, piece[0])
    return out, pull(net.loss.error(out, net.loss.targets(piece[1], out)))


def shuffled(batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
    """Each run's samples in an order of its own generator; without generators, as they are."""
    if not generators:
        return batch
    orders = [torch.randperm(batch[1].shape[1], generator=g).to(batch[1].device) for g in generators]
    x, y = (torch.stack([of[order] for of, order in zip(a, orders, strict=True)]) for a in batch)
    return x, y


def pieces(net: Net, W: Tensor, batch: Batch, multiple: int) -> Iterator[Batch]:
    """The batch in pieces, multiples of `multiple` samples, whose layers' outputs hold at most `ELEMENTS` floats."""
    size = max(multiple, ELEMENTS // net.floats(W, batch[0]) // multiple * multiple)
    return zip(*(a.split(size, 1) for a in batch), strict=True)


def at_each_size(
    net: Net, W: Tensor, batch: Batch, m: Sequence[int], generators: Sequence[torch.Generator],
    each: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor],
) -> list[dict[int, Tensor]]:  # fmt: skip
    """`each(f, f(0))` (..., groups) of every micro-batch of each m, f(t) the losses (S, n) at w + t u_j; for each run.

    `each` returns (..., S, n), whose means over the micro-batches are taken. u_j is the unit gradient of micro-batch j.
    Samples that fill no micro-batch are left out.
    """
    check_sizes(m, batch[1].shape[1])
    batch = shuffled(batch, generators)
    found: dict[int, list[Tensor]] = {size: [] for size in m}
    for x, y in pieces(net, W, batch, math.lcm(*m)):
        out, at = linearise(net, W, (x, y))
        for size in m:
            if cut := y.shape[1] // size * size:  # the last piece may be shorter than a group
                labels = y[:, :cut]
                values = each(_losses(net.loss, at.moved(size), labels), net.loss(out[:, :cut], labels))
                found[size].append(values.unflatten(-1, (-1, size)).mean(-1))
    joined = {size: torch.cat(parts, -1) for size, parts in found.items()}
    return [{size: joined[size].select(-2, s) for size in m} for s in range(len(W))]


def _losses(loss: Loss, outputs: Callable[[Tensor], Tensor], y: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda t: loss(outputs(t), y)


@dataclass(frozen=True)
class Perceptron:
    """A perceptron, all S runs at once; see `chain`."""

    chain: Chain
    loss: Loss

    def linearise(self, W: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Pass]]:
        layers, inputs, out = self.chain.forward(W, x)
        found = [lengths(a).add_(bias) for a, (_, _, bias) in zip(inputs, self.chain.shapes, strict=True)]
        return out, lambda d: _ChainPass(self.chain, layers, inputs, backward(layers, inputs, d), found)

    def floats(self, W: Tensor, x: Tensor) -> int:
        return len(W) * sum(o for o, _, _ in self.chain.shapes)

    def sizes(self) -> list[int]:
        return [o * (i + bias) for o, i, bias in self.chain.shapes]


@dataclass(frozen=True)
class _ChainPass:
    chain: Chain
    layers: Sequence[Layer]
    inputs: Sequence[Tensor]
    deltas: Sequence[Tensor]
    lengths: Sequence[Tensor]  # ||(a_i, 1)||^2 of every layer (S, n)

    def squares(self, m: int) -> Tensor:
        if m == 1:
            return torch.stack([lengths(d).mul_(a) for a, d in zip(self.lengths, self.deltas, strict=True)], 1)
        S = len(self.deltas[0])
        return torch.stack([p.squares().view(S, -1) for p in self._parts(m)], 1).clamp_min_(0).div_(m * m)

    def _parts(self, m: int) -> list[Part]:
        cut = self.lengths[0].shape[1] // m * m
        layers = zip(self.inputs, self.deltas, self.chain.shapes, strict=True)
        return [Part.of(X[:, :cut], D[:, :cut], bias, m) for X, D, (_, _, bias) in layers]

    def total(self, first: int = 0) -> Tensor:
        return weight_gradients(self.chain, [X[:, first:] for X in self.inputs], [D[:, first:] for D in self.deltas])

    def along(self, v: Tensor) -> Tensor:
        layers = zip(self.chain.layers(v), self.inputs, self.deltas, strict=True)
        return torch.stack([affine(layer, X).mul_(D).sum(2) for layer, X, D in layers], 1)

    def moved(self, m: int) -> Callable[[Tensor], Tensor]:
        g = Gradient(self._parts(m), len(self.deltas[0]))
        u = g / (g.norm() + m * TINY)
        x = self.inputs[0][:, : g.groups * m]
        return lambda t: shifted(self.layers, x, u * t)[0]


@dataclass(frozen=True)
class Tapped:
    """A network whose layers have factors, one run; see `taps`."""

    taps: Taps
    loss: Loss

    def linearise(self, W: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Pass]]:
        out, pull = self.taps.linearise(W[0], x[0])
        return out[None], lambda d: _TapsPass(self.taps, W[0], x[0], pull(d[0]))

    def floats(self, W: Tensor, x: Tensor) -> int:
        return sum(map(math.prod, self.taps.output_shapes(W[0], x[0, :1])))

    def sizes(self) -> list[int]:
        return list(self.taps.layout.sizes().values())


@dataclass(frozen=True)
class _TapsPass:
    taps: Taps
    w: Tensor
    x: Tensor
    pairs: Sequence[Pair]

    @functools.cached_property
    def each(self) -> list[Factor]:
        """The gradients of single samples."""
        return self.taps.factors(self.pairs, 1)

    def squares(self, m: int) -> Tensor:
        return torch.stack([f.squares() for f in self._grouped(m)])[None].clamp_min(0) / m**2

    def _grouped(self, m: int) -> list[Factor]:
        return self.each if m == 1 else [f.grouped(m) for f in self.each]

    def total(self, first: int = 0) -> Tensor:
        n = len(self.pairs[0][0])
        scale = (torch.arange(n, device=self.pairs[0][0].device) >= first).to(self.pairs[0][1])
        return torch.cat([f.total(scale) for f in self.each])[None]

    def along(self, v: Tensor) -> Tensor:
        parts = v[0].split(list(self.taps.layout.sizes().values()))
        return torch.stack([f.along(part) for f, part in zip(self.each, parts, strict=True)])[None]

    def moved(self, m: int) -> Callable[[Tensor], Tensor]:
        factors = self._grouped(m)
        length = norms(factors) + m * TINY
        x = self.x[: len(length) * m]

        def outputs(t: Tensor) -> Tensor:
            def tap(index: int, h: Tensor) -> Tensor:
                return factors[index].perturbed(self.taps.layers[index], h, t / length)

            return self.taps.run(self.w, x, tap)[None]

        return outputs
