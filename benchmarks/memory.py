"""Peak memory of a call on the CPU: bytes in the tensors that it makes and that live at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.problems import BATCHES, NETWORKS, problem, spec
from benchmarks.report import Row, at_most
from benchmarks.timing import Ratio
from sam_dash.problems.stack import Stack
from sam_dash.runs.loop import steps
from sam_dash.runs.steppers import stepper

LIMIT = 3  # of an SGD step's peak


class Peak(TorchDispatchMode):
    """Counts the storages that operators make while it is on; `most` is the largest sum of those alive."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Run the operator and look at what came out."""
        out = func(*args, **(kwargs or {}))
        known = {id(a.untyped_storage()) for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)}
        for a in tree_leaves(out):
            if isinstance(a, torch.Tensor) and id(storage := a.untyped_storage()) not in known | self.live.keys():
                self.live[id(storage)] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, id(storage))
        self.most = max(self.most, self.now)
        return out

    def _freed(self, key: int) -> None:
        self.now -= self.live.pop(key, 0)


def peak(call: Callable[[], object]) -> int:
    """Bytes at the peak of one call, the second: the first fills caches."""
    call()
    with Peak() as found:
        call()
    return found.most


def step(P: Stack, variant: str, m: int | None, B: int, **knobs: object) -> Callable[[], object]:
    """One training step a call."""
    run = [spec(variant, m, B, **knobs)] * len(P.seeds)
    loop = steps(P, run, stepper(P, run).take)
    return lambda: next(loop)


def rows() -> Iterator[Row]:
    """m-SAM at m = 1 and 8, and RW-SAM, against an SGD step of the same network."""
    for name, (make, shape, B) in NETWORKS.items():
        P = problem(make(), shape, BATCHES * B)
        base = peak(step(P, "sgd", None, B))
        sides = {f"m-SAM, m = {m}": step(P, "sam", m, B) for m in (1, 8, B)}
        sides["RW-SAM, exact norms"] = step(P, "rwsam", None, B, norms="exact")
        for side, call in sides.items():
            ratio = peak(call) / base
            what = f"{name}: {side}, peak memory against an SGD step"
            yield at_most(what, Ratio(ratio, ratio, ratio), LIMIT, f"an SGD step: {base / 1e6:.3g} MB")
