"""A module whose layers can be tapped: run with each layer replaced, or linearised into its inputs and deltas."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sam_dash.maths.fast import pooling
from sam_dash.maths.fast.factors import Factor, linear, own_forward
from sam_dash.maths.fast.factors_added import Added, added
from sam_dash.maths.fast.factors_conv import conv
from sam_dash.maths.fast.factors_embedding import tokens
from sam_dash.maths.fast.factors_norm import group_norm, group_norm_each, layer_norm
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.maths.flat import Layout, as_written, guard

Tap = Callable[[int, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Maker = Callable[..., Factor]
CHANGED = {int, float, bool, str, Tensor, type(None)}


def maker(layer: nn.Module) -> Maker | None:
    """The function that makes the factors of a layer, or None where there is none."""
    if type(layer) is nn.Linear:
        return linear
    if type(layer) is nn.Conv2d:
        known = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return conv if known else None
    if type(layer) is nn.GroupNorm:
        return group_norm
    if type(layer) is nn.LayerNorm:
        return layer_norm if layer.bias is not None else None
    if type(layer) is nn.Embedding:
        return None if layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse else tokens
    return added if type(layer) is Added else None


class Taps:
    """A copy of a module whose parametrised layers can be tapped: `run` calls `tap(l, input)` in place of layer l."""

    def __init__(self, module: nn.Module) -> None:
        guard(module)
        self.module = copy.deepcopy(module, {id(b): b for b in module.buffers()})  # with its buffers, which may change
        self.pairs = list(zip(self.module.modules(), module.modules(), strict=True))
        self.layout = Layout.of(module)
        self.layers = [m for m in self.module.modules() if any(True for _ in m.parameters(recurse=False))]
        self.makers = [maker(m) for m in self.layers]
        unknown = [type(m).__name__ for m, make in zip(self.layers, self.makers, strict=True) if make is None]
        if unknown or sum(len(list(m.parameters())) for m in self.layers) != len(self.layout.names):
            raise NotFactoredError(f"no factored gradient for {', '.join(unknown) or 'shared parameters, or frozen'}")
        if not as_written(module):
            raise NotFactoredError("hooks, or parameters besides weight and bias")
        self.tap: Tap | None = None
        self.shapes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for part in self.module.modules():
            if getattr(part, "inplace", False):
                part.inplace = False  # type: ignore[assignment]  # outputs are kept
            if pooling.written_out(part):
                part.forward = pooling.max_pool
        for index, layer in enumerate(self.layers):
            layer.forward = functools.partial(self._forward, index)

    def follow(self) -> None:
        """Take over the numbers, texts and tensors that people change in a module between steps."""
        for own, part in self.pairs:
            for name, value in vars(part).items():
                if type(value) in CHANGED and name not in ("inplace", "training") and not name.startswith("_"):
                    own.__dict__[name] = value

    def _forward(self, index: int, h: Tensor) -> Tensor:
        return self.tap(index, h) if self.tap else own_forward(self.layers[index], h)

    def run(self, w: Tensor, x: Tensor, tap: Tap | None) -> Tensor:
        """The logits at w with every parametrised layer replaced by `tap`."""
        self.tap = tap
        try:
            return functional_call(self.module, self.layout.unflatten(w), (x,))
        finally:
            self.tap = None

    def linearise(self, w: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Pair]]]:
        """The logits at w, and their pullback to every layer's inputs and deltas, without weight gradients."""
        inputs: dict[int, Tensor] = {}
        heads: dict[int, Tensor] = {}  # what the deltas are gradients of

        def tap(index: int, h: Tensor) -> Tensor:
            if index in heads:
                raise NotFactoredError("a layer that does not run exactly once")
            layer = self.layers[index]
            if isinstance(layer, nn.GroupNorm):  # its fused kernel sums the deltas over positions
                affine = torch.stack([layer.weight, layer.bias]).expand(len(h), -1, -1).detach().requires_grad_()
                inputs[index], heads[index] = h.new_empty(len(h), 0), affine
                return group_norm_each(layer, h, affine)
            out = own_forward(layer, h)
            out = out if out.requires_grad else out.requires_grad_()
            inputs[index], heads[index] = h.detach(), out
            return out

        with torch.enable_grad():
            out = self.run(w.detach(), x, tap)
        if len(heads) < len(self.layers):
            raise NotFactoredError("a layer that does not run exactly once")
        order = range(len(self.layers))

        def pull(cotangent: Tensor) -> list[Pair]:
            deltas = torch.autograd.grad(out, [heads[i] for i in order], cotangent, retain_graph=True)
            return [(inputs[i], deltas[i]) for i in order]

        return out.detach(), pull

    def factors(self, pairs: Sequence[Pair], m: int) -> list[Factor]:
        """The gradients of every layer in micro-batches of m, from its inputs and deltas."""
        known = zip(self.makers, self.layers, pairs, strict=True)
        return [make(layer, X, D, m) for make, layer, (X, D) in known if make is not None]

    def output_shapes(self, w: Tensor, x: Tensor) -> list[tuple[int, ...]]:
        """The output shape of each layer for inputs like x; one forward per shape of x."""
        if x.shape not in self.shapes:
            found: list[tuple[int, tuple[int, ...]]] = []

            def tap(index: int, h: Tensor) -> Tensor:
                out = own_forward(self.layers[index], h)
                found.append((index, out.shape))
                return out

            with torch.no_grad():
                self.run(w, x, tap)
            if sorted(index for index, _ in found) != list(range(len(self.layers))):
                raise NotFactoredError("a layer that does not run exactly once")
            self.shapes[x.shape] = [shape for _, shape in sorted(found)]
        return self.shapes[x.shape]
