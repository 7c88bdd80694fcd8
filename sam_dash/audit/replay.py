"""The loop's own gradients, taken once more: of a whole forward, or of some of its samples.

What the loop's backward sent to the outputs is sent again, at the recorded weights, buffers, generators and autocast:
whatever the loss, its scale or its share of an accumulation, J^T dL/dz is the gradient that the loop had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors
from torch.utils import _pytree as pytree

from sam_dash.audit.watch import Forward, Watch
from sam_dash.maths import generators
from sam_dash.maths.live import dense


class Replay:
    """Gradients (d,) of recorded forwards, in float64, each computed once."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.known: dict[tuple[int, tuple[int, int] | None], Tensor] = {}

    def gradient(self, forward: Forward, rows: tuple[int, int] | None = None) -> Tensor:
        """The gradient that the loop's backward through this forward had, of all samples or of rows [a, b).  (d,)."""
        key = (id(forward), rows)
        if key not in self.known:
            self.known[key] = self._gradient(forward, rows)
        return self.known[key]

    def _gradient(self, forward: Forward, rows: tuple[int, int] | None) -> Tensor:
        model, parameters = self.watch.model, self.watch.parameters
        kind = parameters[0].device.type
        on, dtype = forward.autocast
        with self._as_it_was(forward), torch.enable_grad():
            with torch.autocast(kind, dtype, on):
                outputs = model(*forward.args, **forward.kwargs)
            tensors = [a for a in pytree.tree_leaves(outputs) if isinstance(a, Tensor)]
            pairs = [(a, c) for a, c in zip(tensors, forward.cotangents, strict=True) if c is not None]
            if rows is not None:
                pairs = [(a, _only(c, *rows)) for a, c in pairs]
            found = torch.autograd.grad([a for a, _ in pairs], parameters, [c for _, c in pairs], allow_unused=True)
            return dense(found, parameters).double()

    @contextmanager
    def _as_it_was(self, forward: Forward) -> Iterator[None]:
        """The model with what it had before the forward; in the end with what it has now, bit for bit."""
        parts, drawn = list(self.watch.model.modules()), generators.states(self.watch.parameters)
        flags = [part.training for part in parts]
        try:
            with held(self.watch.model, self.watch.parameters, forward.weights, forward.buffers):
                for part, training in zip(parts, forward.training, strict=True):
                    part.training = training
                generators.put(forward.generators)
                yield
        finally:
            for part, training in zip(parts, flags, strict=True):
                part.training = training
            generators.put(drawn)


@contextmanager
def held(
    model: nn.Module, parameters: Sequence[Tensor], weights: Tensor, buffers: Sequence[Tensor] | None = None
) -> Iterator[None]:
    """A context in which a model has these weights (d,), and buffers if given; in the end it has its own again."""
    own = list(model.buffers())
    now = [p.detach().clone() for p in parameters], [b.clone() for b in own]
    try:
        with torch.no_grad():
            _put(parameters, _unflatten_dense_tensors(weights, parameters))
            if buffers is not None:
                _put(own, buffers)
        yield
    finally:
        with torch.no_grad():
            _put(parameters, now[0])
            _put(own, now[1])


def _put(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for a, value in zip(into, values, strict=True):
        a.copy_(value)


def _only(cotangent: Tensor, a: int, b: int) -> Tensor:
    """The derivatives of rows [a, b), 0 elsewhere."""
    out = torch.zeros_like(cotangent)
    out[a:b] = cotangent[a:b]
    return out
