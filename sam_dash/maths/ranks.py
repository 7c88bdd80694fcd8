"""One batch spread over several processes: m counts samples, wherever they lie.

With n samples on each of R ranks, B = n R:

    m divides n        micro-batches lie within a rank; the descended gradient is averaged over all ranks
    m = k n, k | R     k consecutive ranks share one perturbation; their gradients are averaged, then the descended one

What is sent is flat and sent by us, once for each gradient, so that wrappers of the module do not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils import _pytree as pytree

from sam_dash.maths.devices import sizes
from sam_dash.maths.live_oracle import LiveOracle


def within(model: nn.Module) -> nn.Module:
    """The module in a wrapper of torch's that sends gradients, or splits batches, by itself."""
    return model.module if isinstance(model, DistributedDataParallel | DataParallel) else model


@dataclass
class Ranks:
    """The processes that train together; of one process, nothing is sent. `groups`: k -> this rank's k neighbours."""

    size: int = 1
    rank: int = 0
    groups: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def here(cls) -> Ranks:
        """All ranks of the default process group; every rank must call this, since groups are made together."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return cls()
        size, rank = dist.get_world_size(), dist.get_rank()
        groups: dict[int, Any] = {size: dist.group.WORLD}
        for k in range(2, size):
            if size % k == 0:
                made = [dist.new_group(list(range(start, start + k))) for start in range(0, size, k)]
                groups[k] = made[rank // k]
        return cls(size, rank, groups)

    def sharing(self, m: int, n: int) -> int:
        """How many ranks share a perturbation; ValueError with the m that are possible for n samples a rank."""
        if m <= n and n % m == 0:
            return 1
        if m % n == 0 and m // n in self.groups:
            return m // n
        possible = [of.m for of in reversed(sizes(n * self.size, self.size))]
        over = f" of {n} samples" if self.size == 1 else f" of {n} samples on each of {self.size} ranks"
        raise ValueError(
            f"m = {m} does not divide this batch{over}; choose one of {', '.join(map(str, possible))}"
            + ("; drop_last=True may help" if self.size == 1 else "")
        )

    def mean(self, a: Tensor, k: int | None = None) -> Tensor:
        """The mean over k neighbouring ranks, or over all: one all-reduce."""
        k = self.size if k is None else k
        if k == 1:
            return a
        out = a.clone()
        dist.all_reduce(out, group=self.groups[k])
        return out.div_(k)

    def means(self, tree: Any) -> Any:
        """The means over all ranks of all tensors of a structure, in one all-reduce."""
        leaves, spec = pytree.tree_flatten(tree)
        at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        if self.size == 1 or not at:
            return tree
        flat = self.mean(torch.cat([leaves[i].reshape(-1).double() for i in at]))
        for i, part in zip(at, flat.split([leaves[i].numel() for i in at]), strict=True):
            leaves[i] = part.view_as(leaves[i]).to(leaves[i])
        return pytree.tree_unflatten(leaves, spec)


@dataclass(frozen=True, kw_only=True)
class SharedOracle(LiveOracle):
    """What `LiveOracle` is, of the samples of k neighbouring ranks, of which this one holds some."""

    ranks: Ranks = field(default_factory=Ranks)
    k: int = 1

    @property
    def n(self) -> int:
        """The number of samples on all k ranks."""
        return self.k * super().n

    @property
    def labels(self) -> Tensor:
        """What belongs to the samples of all k ranks beside the inputs, in their order: y (n, ...)."""
        return self._gathered(super().labels)

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses of all k ranks, in their order.  (d,) -> (n,)."""
        return self._gathered(super().losses(w))

    def gradient(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss by all that is trained.  (d,) -> (d + rest,)."""
        return self.ranks.mean(super().gradient(w), self.k)

    def pulled(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Losses (n,) and p (n,) -> grad of sum_i p_i l_i (d + rest,)."""
        losses, pull = super().pulled(w)
        own = slice(self.ranks.rank % self.k * len(losses), (self.ranks.rank % self.k + 1) * len(losses))
        return self._gathered(losses), lambda p: self.ranks.mean(pull(p[own]), self.k) * self.k

    def grads(self, w: Tensor) -> Tensor:
        """Refused: (n, d) numbers would have to be sent."""
        raise ValueError("per-sample gradients of several ranks are not sent; choose an m that divides the local batch")

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of the mean loss at w times v.  (d,), (d,) -> (d,)."""
        return self.ranks.mean(super().hvp(w, v), self.k)

    def take(self, index: Tensor) -> LiveOracle:
        """Refused: the samples lie on several ranks."""
        raise ValueError("a step on some of the samples of several ranks; choose an m that divides the local batch")

    def _gathered(self, a: Tensor) -> Tensor:
        parts = [torch.empty_like(a) for _ in range(self.k)]
        dist.all_gather(parts, a.contiguous(), group=self.ranks.groups[self.k])
        return torch.cat(parts)
