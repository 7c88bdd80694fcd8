"""What a variant may do with gradients that are not formed: scale them and add them to w. All else is refused.

`factored` and `chain` answer a variant's step with such gradients of all micro-batches at once. Where a step asks for
more, `NotFactoredError` says so, and the plain vmapped step, which is the definition, is taken instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

from sam_dash.maths.contract import Step
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Batch


class NotFactoredError(Exception):
    """The network has a layer, or the variant an operation, that factored gradients do not have."""


def refuse(*_: Any) -> Any:
    """Raise NotFactoredError: arithmetic beyond a scalar times an unformed gradient."""
    raise NotFactoredError("arithmetic of a gradient that is not formed")


class Unformed:
    """No arithmetic, and no attribute of a tensor."""

    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = __mul__ = __rmul__ = __truediv__ = refuse
    __matmul__ = __rmatmul__ = __pow__ = __getitem__ = refuse

    def __getattr__(self, name: str) -> Any:
        raise NotFactoredError(f"{name} of what is not formed")

    @classmethod
    def __torch_function__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotFactoredError(f"{getattr(func, '__name__', func)} of what is not formed")


@dataclass(frozen=True)
class Shifted(Unformed):
    """w + eps_j for each micro-batch j."""

    w: Tensor
    eps: Any


class Multiple(Unformed, ABC):
    """c_j g_j for each micro-batch j: times a scalar, and added to w.

    `known` is what was found of the g_j, shared by all multiples of them.
    """

    known: dict[str, Tensor]

    @abstractmethod
    def _lengths(self) -> Tensor:
        """||g_j|| of all micro-batches."""

    @abstractmethod
    def mean(self) -> Tensor:
        """The mean over the micro-batches: (d,), or (S, d) of stacks."""

    def lengths(self) -> Tensor:
        """||g_j|| of all micro-batches, found once."""
        if "lengths" not in self.known:
            self.known["lengths"] = self._lengths()
        return self.known["lengths"]

    @abstractmethod
    def scaled(self, c: Any) -> Self:
        """The gradients times c, one number or one for each micro-batch; NotFactoredError for anything else."""

    def __mul__(self, c: Any) -> Self:
        return self.scaled(c)

    __rmul__ = __mul__

    def __truediv__(self, c: Any) -> Self:
        return self.scaled(1 / c)

    @classmethod
    def __torch_function__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.add, Tensor.__add__) and isinstance(args[1], cls):
            return Shifted(*args)
        if func in (Tensor.mul, Tensor.__mul__) and isinstance(args[1], cls):
            return args[1].scaled(args[0])
        return super().__torch_function__(func, _types, args, kwargs)


def formed(g: Any) -> Tensor:
    """The mean gradient (d,), or (S, d) of stacks, from the micro-batches' where it has not been formed."""
    return g.mean() if isinstance(g, Multiple) else g


class Each(Unformed, ABC):
    """The gradients g_i of all samples of the only micro-batch: weighted and added up by p @ g."""

    @abstractmethod
    def weighted(self, p: Tensor) -> Multiple:
        """sum_i p_i g_i."""

    @classmethod
    def __torch_function__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.matmul, Tensor.__matmul__) and isinstance(args[1], cls):
            return args[1].weighted(args[0])
        return super().__torch_function__(func, _types, args, kwargs)


@dataclass(frozen=True)
class Groups:
    """The common part of oracles of all micro-batches of m: `noise`, `full`, `t` and `rate` as in `Oracle`.

    `descents` are the mean gradients at w + eps_j so far; `seen` is called with the outputs of every pass at w.
    """

    loss: Loss
    batch: Batch
    m: int
    noise: Tensor | None = None
    full: Any = None
    t: int = 0
    rate: float = 1.0
    descents: list[Tensor] = field(default_factory=list)
    seen: Callable[[Tensor], None] | None = None

    @property
    def samples(self) -> int:
        """The number of samples of all micro-batches."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        raise NotFactoredError(f"{name} of micro-batches that are not taken apart")

    def one_group(self) -> None:
        """Raise NotFactoredError for more than one micro-batch: single samples are known of one only."""
        if self.m != self.samples:
            raise NotFactoredError("weights of samples within more than one micro-batch")

    def before_the_descent(self) -> None:
        """Raise NotFactoredError after a descent: places that depend on its mean gradient are not known."""
        if self.descents:
            raise NotFactoredError("a gradient after the descent gradients have been averaged")

    def ended(self, out: Step) -> Step:
        """The step of all micro-batches, whose g is not formed: one ascent along a gradient at w, one descent."""
        if not isinstance(out.g, Multiple) or not isinstance(out.eps, Multiple):
            raise NotFactoredError("a step that is not one perturbation along a gradient at w")
        plain = isinstance(out.aside, tuple) and isinstance(out.moves, tuple)
        if not self.descents or out.h is not self.descents[0] or not plain:
            raise NotFactoredError("a descent that is not the gradient at w + eps")
        return Step(out.h, out.eps, out.g, (), dict(out.info))
