"""CUDA graphs: the kernels of a step recorded once and replayed.

A step of a small network is dozens of small operations, each launched from Python; a replay launches them all at once.
It always does the same to the same memory, so what goes in is copied into buffers, what comes out is copied out, and a
number that Python reads at every step, such as t, would be frozen: a step that reads one is not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sam_dash.maths.base import Descent
from sam_dash.runs.steppers import Moment, Scalars, Take

Capture = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]
"""Record a function of no arguments: what replays it, and its outputs, which every replay overwrites."""

WARM_UP = 3  # runs before one is recorded: libraries choose their kernels in the first


class NotRecordedError(Exception):
    """The step does something that a recording would not repeat rightly."""


class Moving:
    """Stands for a number that changes from step to step: all uses of it are refused."""

    def refuse(self, *_: Any) -> NoReturn:
        """Raise NotRecordedError."""
        raise NotRecordedError("the step reads its number or the learning rate")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = refuse
    __int__ = __float__ = __index__ = __round__ = __neg__ = __abs__ = __hash__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = refuse
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = refuse

    @classmethod
    def __torch_function__(cls, *_: Any) -> NoReturn:
        cls().refuse()


def cuda_graph(call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Record on the GPU; a step that waits for the GPU raises before the recording, which it would break."""
    before, side, mode = torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.get_sync_debug_mode()
    side.wait_stream(before)
    try:
        with torch.cuda.stream(side):
            call()
            torch.cuda.set_sync_debug_mode("error")
            for _ in range(WARM_UP - 1):
                call()
        torch.cuda.set_sync_debug_mode(mode)
        before.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = call()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.set_stream(before)  # a recording that fails leaves its own
    return graph.replay, out


class Recorded:
    """A `Take` that replays a recording of another; arguments of other shapes than the first it hands on."""

    def __init__(self, take: Take, W: Tensor, state: Any, at: Moment, capture: Capture) -> None:
        given, self.tree = pytree.tree_flatten(_tensors(W, state, at))
        self.take, self.kinds = take, _kinds(given)
        self.buffers = [a.clone() for a in given]
        self.held: list[tuple[Tensor, int] | None] = [None] * len(given)
        w, s, batch, noise, full, counts = pytree.tree_unflatten(self.buffers, self.tree)
        frozen = Moment(batch, noise, full or None, counts, Moving(), Moving())  # type: ignore[arg-type]
        self.replay, out = capture(lambda: take(w, s, frozen))
        self.outputs, self.shape = pytree.tree_flatten(out)
        if not all(isinstance(a, Tensor) for a in self.outputs):
            raise NotRecordedError("the step returns more than tensors")

    def __call__(self, W: Tensor, state: Any, at: Moment) -> tuple[Descent, Any, Scalars]:
        """One step; what it returns is the caller's."""
        given, tree = pytree.tree_flatten(_tensors(W, state, at))
        if tree != self.tree or _kinds(given) != self.kinds:
            return self.take(W, state, at)
        for i, (a, buffer, held) in enumerate(zip(given, self.buffers, self.held, strict=True)):
            if held is None or held[0] is not a or held[1] != a._version:  # the full data stay as they are
                buffer.copy_(a)
                self.held[i] = a, a._version
        self.replay()
        return pytree.tree_unflatten([a.clone() for a in self.outputs], self.shape)


def _tensors(W: Tensor, state: Any, at: Moment) -> Any:
    return W, state, at.batch, at.noise, at.full or (), at.counts


def _kinds(tensors: Sequence[Tensor]) -> list[tuple[torch.Size, torch.dtype, torch.device]]:
    return [(a.shape, a.dtype, a.device) for a in tensors]
