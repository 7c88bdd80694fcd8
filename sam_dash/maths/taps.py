"""Taps on the layers of a network: their inputs and back-propagated deltas, which factored gradients are made of."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp

from sam_dash.maths.factors import Factor, maker, plain
from sam_dash.maths.flat import Layout, guard

Tap = Callable[[int, Tensor], Tensor]


class NotFactoredError(Exception):
    """The network has a layer, or the variant an operation, that factored gradients do not have."""


class Taps:
    """A copy of a module whose parametrised layers can be tapped: `run` calls `tap(l, input)` in place of layer l."""

    def __init__(self, module: nn.Module) -> None:
        guard(module)
        self.module = copy.deepcopy(module)
        self.layout = Layout.of(module)
        self.layers = [m for m in self.module.modules() if any(True for _ in m.parameters(recurse=False))]
        self.makers = [maker(m) for m in self.layers]
        unknown = [type(m).__name__ for m, make in zip(self.layers, self.makers, strict=True) if make is None]
        if unknown or sum(len(list(m.parameters())) for m in self.layers) != len(self.layout.names):
            raise NotFactoredError(f"no factored gradient for {', '.join(unknown) or 'shared parameters'}")
        self.tap: Tap | None = None
        self.shapes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for index, layer in enumerate(self.layers):
            layer.forward = functools.partial(self._forward, index)

    def _forward(self, index: int, h: Tensor) -> Tensor:
        return self.tap(index, h) if self.tap else plain(self.layers[index], h)

    def run(self, w: Tensor, x: Tensor, tap: Tap | None) -> Tensor:
        """The logits at w with every parametrised layer replaced by `tap`."""
        self.tap = tap
        try:
            return functional_call(self.module, self.layout.unflatten(w), (x,))
        finally:
            self.tap = None

    def linearise(self, w: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], list[tuple[Tensor, Tensor]]]]:
        """The logits at w, and their pullback to every layer's inputs and deltas, without weight gradients."""
        zeros = [x.new_zeros(s) for s in self.output_shapes(w, x)]

        def outputs(deltas: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            inputs = list(deltas)

            def tap(index: int, h: Tensor) -> Tensor:
                inputs[index] = h
                return plain(self.layers[index], h) + deltas[index]

            return self.run(w, x, tap), inputs

        out, pull, inputs = vjp(outputs, zeros, has_aux=True)  # type: ignore[misc]
        return out, lambda cotangent: list(zip(inputs, pull(cotangent)[0], strict=True))

    def factors(self, pairs: Sequence[tuple[Tensor, Tensor]], m: int) -> list[Factor]:
        """The gradients of every layer in micro-batches of m, from its inputs and deltas."""
        known = zip(self.makers, self.layers, pairs, strict=True)
        return [make(layer, X, D, m) for make, layer, (X, D) in known if make is not None]

    def output_shapes(self, w: Tensor, x: Tensor) -> list[tuple[int, ...]]:
        """The output shape of each layer for inputs like x; one forward per shape of x."""
        if x.shape not in self.shapes:
            found: list[tuple[int, tuple[int, ...]]] = []

            def tap(index: int, h: Tensor) -> Tensor:
                out = plain(self.layers[index], h)
                found.append((index, out.shape))
                return out

            with torch.no_grad():
                self.run(w, x, tap)
            if sorted(index for index, _ in found) != list(range(len(self.layers))):
                raise NotFactoredError("a layer that does not run exactly once")
            self.shapes[x.shape] = [shape for _, shape in sorted(found)]
        return self.shapes[x.shape]
