"""Exact m-SAM at the price of SAM: gradients of micro-batches kept as the factors they are made of.

The gradient of a micro-batch j in a linear layer is D_j^T X_j, of rank at most m: X its inputs (m, i), D its
back-propagated deltas (m, o). So a weight perturbed by s_j times it need not be formed:

    z = h W^T + b + s_j (h X_j^T + 1) D_j          ||g_j||^2 = sum over layers of sum((X_j X_j^T + 1) * (D_j D_j^T))

(the 1 is the bias's). `FactoredOracle` answers a variant's questions for all G = B/m micro-batches at once with such
gradients. They can be scaled, normed and added to w, which is all that SAM, USAM and RW-SAM ask; see `unformed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sam_dash.maths.contract import Step
from sam_dash.maths.fast.factors import Factor
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.fast.unformed import Each, Groups, Multiple, NotFactoredError, Shifted
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Oracle


def norms(factors: Sequence[Factor]) -> Tensor:
    """||g_j|| over all layers (G,); rounding may leave a ghost norm a little below zero."""
    return torch.stack([f.squares() for f in factors]).sum(0).clamp_min(0).sqrt()


@dataclass(frozen=True)
class Factored(Multiple):
    """c_j g_j for the G micro-batches: `factors` hold g_j, `scale` (G,) the c_j."""

    factors: Sequence[Factor]
    scale: Tensor
    known: dict[str, Tensor] = field(default_factory=dict, compare=False, kw_only=True)

    def norm(self, dim: int | None = None) -> Tensor:
        """||c_j g_j||, (G,) or a scalar where G = 1."""
        lengths = self.scale.abs() * self.lengths()
        return lengths.squeeze(0) if dim is None and len(lengths) == 1 else lengths

    def _lengths(self) -> Tensor:
        return norms(self.factors)

    def dense(self) -> Tensor:
        """All c_j g_j (G, d), formed: for tests."""
        return self.scale[:, None] * torch.cat([f.dense() for f in self.factors], 1)

    def mean(self) -> Tensor:
        """The mean of the c_j g_j (d,)."""
        return torch.cat([f.total(self.scale) for f in self.factors]) / len(self.scale)

    def scaled(self, c: Any) -> Factored:
        """c: a number or (G,)."""
        if isinstance(c, Factored) or (isinstance(c, Tensor) and c.shape not in ((), self.scale.shape)):
            raise NotFactoredError("more than a scalar times a factored gradient")
        return replace(self, scale=self.scale * c)


@dataclass(frozen=True)
class PerSample(Each):
    """The gradients of all samples of the only micro-batch, as factors of n micro-batches of one."""

    factors: Sequence[Factor]

    def norm(self, dim: int) -> Tensor:
        """||g_i|| (n,)."""
        return norms(self.factors)

    def weighted(self, p: Tensor) -> Factored:
        """sum_i p_i g_i, p (n,)."""
        return Factored([f.weighted(p) for f in self.factors], p.new_ones(1))


@dataclass(frozen=True, kw_only=True)
class FactoredOracle(Groups):
    """The oracle of all G = n/m micro-batches at once."""

    taps: Taps

    @property
    def samples(self) -> int:
        """The number n of samples."""
        return len(self.batch[1])

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses of the only micro-batch, (d,) -> (n,)."""
        self.one_group()
        with torch.no_grad():
            return self.loss.values(self.taps.run(w, self.batch[0], None), self.batch[1])

    def grad(self, w: Tensor | Shifted) -> Tensor | Factored:
        """At w: the micro-batches' gradients, factored. At w + eps_j: their mean (d,)."""
        self.before_the_descent()
        if not isinstance(w, Shifted):
            losses, factors = self._first(w)
            return Factored(
                factors(torch.full_like(losses, 1 / self.m), self.m), losses.new_ones(len(losses) // self.m)
            )

        def tap(index: int, h: Tensor) -> Tensor:
            return w.eps.factors[index].perturbed(self.taps.layers[index], h, w.eps.scale)

        with torch.enable_grad():
            v = w.w.detach().requires_grad_()
            out = self.taps.run(v, self.batch[0], tap)
        self.descents.append(torch.autograd.grad(out, v, self._error(out.detach()).div_(len(out)))[0])
        return self.descents[0]

    def grads(self, w: Tensor) -> PerSample:
        """Per-sample gradients."""
        self.one_group()
        losses, factors = self._first(w)
        return PerSample(factors(torch.ones_like(losses), 1))

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Factored]]:
        """Losses (n,) and p (n,) -> grad of sum_i p_i l_i, factored."""
        self.one_group()
        losses, factors = self._first(w)
        return losses, lambda p: Factored(factors(p, self.m), p.new_ones(1))

    def _error(self, out: Tensor) -> Tensor:
        """The gradient of the losses by the outputs (n, C)."""
        return self.loss.error(out, self.loss.targets(self.batch[1], out))

    def _first(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor, int], list[Factor]]]:
        """Losses (n,) at w; and p (n,), m -> the factors of sum_i p_i l_i over each micro-batch of m."""
        out, pull = self.taps.linearise(w, self.batch[0])
        if self.seen is not None:
            self.seen(out)
        error = self._error(out)
        return self.loss.values(out, self.batch[1]), lambda p, m: self.taps.factors(pull(p[:, None] * error), m)


def factored_step(
    step: Callable[..., Step], m: int, taps: Taps, loss: Loss, seen: Callable[[Tensor], None] | None = None
) -> Callable[..., Step]:  # fmt: skip
    """The m-version of `step`, as `per_micro_batch`, `.eps` and `.g` factored; NotFactoredError if it asks for more.

    `seen` is called with the outputs (n, C) of every pass at weights that are not perturbed.
    """

    def m_step(L: Oracle, w: Tensor, s: Any, **knobs: Any) -> Step:
        if s != ():
            raise NotFactoredError("a step with a state")
        oracle = FactoredOracle(loss, L.batch, m, L.noise, L.full, L.t, L.rate, seen=seen, taps=taps)
        return oracle.ended(step(oracle, w, s, **knobs))

    return m_step
