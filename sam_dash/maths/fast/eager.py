"""The oracle by plain autograd: for one run at a time, without the price of function transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.maths.oracle import Oracle


@dataclass(frozen=True)
class EagerOracle(Oracle):
    """The oracle by plain autograd, without per-sample gradients: `factored` has them for less."""

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses.  (d,) -> (n,)."""
        with torch.no_grad():
            return self.losses_fn(w, self.batch)

    def grad(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss.  (d,) -> (d,)."""
        n, total = len(self.batch[1]), None
        for part in zip(*(a.split(self.chunk or n) for a in self.batch), strict=True):
            losses, v = self._forward(w, part)
            g = torch.autograd.grad(losses.sum() / n, v)[0]
            total = g if total is None else total + g
        assert total is not None, "a batch of no samples"
        return total

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Losses (n,) and p (n,) -> grad of sum_i p_i l_i (d,), from one forward."""
        losses, v = self._forward(w, self.batch)
        return losses.detach(), lambda p: torch.autograd.grad(losses, v, p, retain_graph=True)[0]

    def grads(self, w: Tensor) -> Tensor:
        """Raise NotFactoredError."""
        raise NotFactoredError("per-sample gradients by plain autograd")

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian times v (d,); forward derivatives of group norms do not take images channels last."""
        x, y = self.batch
        return Oracle(self.losses_fn, (x.clone(memory_format=torch.contiguous_format), y)).hvp(w, v)

    def _forward(self, w: Tensor, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, y = batch
        with torch.enable_grad():
            v = w.detach().requires_grad_()
            return self.losses_fn(v, (x, y)), v
