"""A module as it is, as an oracle: its own forward and autograd are used.

Whatever trains by plain autograd can be asked here: straight-through functions, checkpointing, DataParallel, mixed
dtypes, recurrent layers, outputs and batches of any structure.

Randomness: every forward of one batch starts from the state of the generators that its first forward started from, so
that dropout has one mask in all passes; afterwards they stand where that first forward left them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from sam_dash.maths.flat import check_per_sample
from sam_dash.maths.generators import put, states
from sam_dash.maths.live import Live, call
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.samples import cut, each, samples


@dataclass
class Draws:
    """The states of the generators before and after the first forward of a batch; its losses (n,) at the clean w."""

    before: dict[str, Tensor] | None = None
    after: dict[str, Tensor] = field(default_factory=dict)
    losses: Tensor | None = None

    @property
    def drawn(self) -> bool:
        """Whether a forward of this batch moves the generators."""
        return any(not torch.equal(state, self.after[name]) for name, state in (self.before or {}).items())

    @contextmanager
    def repeated(self, live: Live) -> Iterator[None]:
        """Within, a forward of this batch: the first goes on from where the generators are, others repeat it."""
        live.rewind()
        if self.before is None:
            self.before = states(live.parameters)
            yield
            self.after = states(live.parameters)
        else:
            put(self.before)
            yield
            put(self.after)


@dataclass(frozen=True, kw_only=True)
class LiveOracle(Oracle):
    """What `Oracle` is, of a `Live` module on a batch in parts, each (x, y) of any structure and in memory at once.

    `chunk` cuts the full data, whose gradient all micro-batches ask for.
    """

    live: Live
    parts: tuple[tuple[Any, Draws], ...]

    @classmethod
    def on(cls, live: Live, *batches: Any, chunk: int | None = None, **facts: Any) -> LiveOracle:
        """The oracle of one batch, or of several as one, with generators of its own."""
        parts = batches if chunk is None else cut(batches[0], chunk)
        return cls(none, batches[0], chunk=chunk, live=live, parts=tuple((part, Draws()) for part in parts), **facts)

    @cached_property
    def sizes(self) -> list[int]:
        """The number of samples of each part."""
        return [samples(part) for part, _ in self.parts]

    @property
    def here(self) -> int:
        """The number of samples in this process."""
        return sum(self.sizes)

    @property
    def n(self) -> int:
        """The number of samples."""
        return self.here

    @property
    def labels(self) -> Tensor:
        """What belongs to the samples beside the inputs: y (n, ...)."""
        return torch.cat([y for (_, y), _ in self.parts])

    @property
    def clean(self) -> Tensor | None:
        """Per-sample losses (n,) at the clean w, where they were found."""
        found = [draws.losses for _, draws in self.parts]
        if len(found) == 1:
            return found[0]
        return None if any(a is None for a in found) else torch.cat(cast(list[Tensor], found))

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses.  (d,) -> (n,)."""
        return self.live.without_graph(lambda: torch.cat([each.to(w) for each in self._forwards(w)]))

    def _forwards(self, w: Tensor) -> Iterator[Tensor]:
        """The losses of each part."""
        for (part, draws), n in zip(self.parts, self.sizes, strict=True):
            yield _forward(self.live, part, draws, n, w)

    def grad(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss.  (d,) -> (d,)."""
        return self.live.perturbed(self.gradient(w))

    def gradient(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss by all that is trained.  (d,) -> (d + rest,)."""
        if self.chunk is None:
            return self._pull(w, None)
        if self.live.whole is None or self.live.whole[0] is not w:
            self.live.whole = w, self._pull(w, None)
        return self.live.whole[1]

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Losses (n,) and p (n,) -> grad of sum_i p_i l_i (d,), from one forward; anew where the weights have moved."""
        losses, pull = self.pulled(w)
        return losses, lambda p: self.live.perturbed(pull(p))

    def pulled(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """`pullback` by all that is trained: losses (n,) and p (n,) -> (d + rest,). Of several parts, anew each."""
        if len(self.parts) > 1:
            return self.losses(w), lambda p: self._pull(w, p)
        with torch.enable_grad():
            losses = _forward(self.live, *self.parts[0], self.sizes[0], w)
        kept = losses.detach().to(w)
        held = [losses]
        del losses

        def pull(p: Tensor) -> Tensor:
            if self.live.at is not w:
                held.clear()
            return self._pull(w, p, *held)

        return kept, pull

    def grads(self, w: Tensor) -> Tensor:
        """Per-sample gradients, a backward each.  (d,) -> (n, d)."""
        eye = torch.eye(self.n, dtype=w.dtype, device=w.device)
        return torch.stack([self._pull(w, row)[: self.live.layout.d] for row in eye])

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of the mean loss at w times v.  (d,), (d,) -> (d,)."""
        live, products = self.live, []
        for (part, draws), size in zip(self.parts, self.sizes, strict=True):
            with torch.enable_grad():
                loss = _forward(live, part, draws, size, w).mean() * live.scale
                grads = torch.autograd.grad(loss, live.parameters, create_graph=True, allow_unused=True)
                dots = zip(grads, live.layout.unflatten(v).values(), strict=True)
                along = sum((g * a.to(g)).sum() for g, a in dots if g is not None)
                product = torch.autograd.grad(cast(Tensor, along), live.parameters, allow_unused=True)
            products.append(live.flat(product, w) * (size / self.here))
        return torch.stack(products).sum(0)

    def take(self, index: Tensor) -> LiveOracle:
        """The oracle of those samples only, with masks of its own."""
        parts, start = [], 0
        for (part, _), size in zip(self.parts, self.sizes, strict=True):
            own = index[(index >= start) & (index < start + size)] - start
            if len(own):
                parts.append(each(part, operator.itemgetter(own)))
            start += size
        facts: dict[str, Any] = {
            "noise": self.noise,
            "full": self.full,
            "t": self.t,
            "rate": self.rate,
            "counts": self.counts,
        }
        return LiveOracle.on(self.live, *parts, layout=self.layout, **facts)

    def _pull(self, w: Tensor, p: Tensor | None, held: Tensor | None = None) -> Tensor:
        """The gradient (d + rest,) of the mean loss, or of sum_i p_i l_i; one part's graph at a time is in memory."""
        out, live = [], self.live
        weights = [None] * len(self.parts) if p is None else p.split(self.sizes)
        for (part, draws), size, q in zip(self.parts, self.sizes, weights, strict=True):
            flat = live.flat(self._derivatives(part, draws, size, w, q, held), w)
            out.append(flat if q is not None or size == self.here else flat * (size / self.here))
        return out[0] if len(out) == 1 else torch.stack(out).sum(0)

    def _derivatives(
        self, part: Any, draws: Draws, n: int, w: Tensor, q: Tensor | None, held: Tensor | None
    ) -> Sequence[Tensor | None]:
        """The gradients of the mean loss of a part, or of sum_i q_i l_i; of a graph that is held, if there is one."""
        live, keep = self.live, held is not None
        with torch.enable_grad():
            losses = _forward(live, part, draws, n, w) if held is None else held
            each = losses.new_full((n,), live.scale / n) if q is None else q.to(losses) * live.scale
            if live.reentrant:
                return accumulated(losses, each, live, keep)
            try:
                return torch.autograd.grad(losses, live.trained, each, allow_unused=True, retain_graph=keep)
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
        live.reentrant = True
        return self._derivatives(part, draws, n, w, q, None)


def accumulated(losses: Tensor, q: Tensor, live: Live, keep: bool) -> list[Tensor | None]:
    """The gradients of sum_i q_i l_i by `backward`, which is all that reentrant checkpoints know."""
    before = [(p, p.grad) for p in live.module.parameters()]
    try:
        for p, _ in before:
            p.grad = None
        losses.backward(q, retain_graph=keep)
        return [p.grad for p in live.trained]
    finally:
        for p, grad in before:
            p.grad = grad


def none(*_: Any) -> Any:
    """The losses of a `LiveOracle` are its own."""
    raise NotImplementedError


def check_repeats(live: Live, batch: Any, w: Tensor) -> None:
    """ValueError where two forwards at one w under the same generators differ: passes would be of different losses."""
    live.write(w)
    before, oracle, versions = states(live.parameters), LiveOracle.on(live, batch), _versions(live)
    first, again = oracle.losses(w), oracle.losses(w)
    put(before)
    for name, version in _versions(live).items():
        if version != versions[name]:
            raise ValueError(
                f"the model changes its own parameters as it runs, {name!r} for one, as nn.Embedding with max_norm "
                "does: they would be others in each pass; change them after each step instead"
            )
    slack = 1e-3 if torch.is_autocast_enabled(w.device.type) else min(1e-3, 100 * _coarsest(live, first))
    if not torch.allclose(first, again, rtol=slack, atol=slack, equal_nan=True):
        apart = float((first - again).abs().max())
        raise ValueError(
            f"two forwards of the same batch at the same weights differ by up to {apart:.2g}: "
            "something random in the model does not come from torch's generators, or the model changes as it runs; the "
            "perturbation would fit that"
        )


def _coarsest(live: Live, losses: Tensor) -> float:
    """The largest relative rounding among the parameters and the losses: sums on a GPU may differ by some of it."""
    return max(torch.finfo(a.dtype).eps for a in (losses, *live.parameters))


def _versions(live: Live) -> dict[str, int]:
    """How often each parameter that is perturbed has been written to."""
    return {name: p._version for name, p in zip(live.layout.names, live.parameters, strict=True)}


def _forward(live: Live, batch: Any, draws: Draws, n: int, w: Tensor) -> Tensor:
    """Per-sample losses (n,) of a batch of n samples at w."""
    x, y = batch
    live.write(w)
    with draws.repeated(live):
        losses = live.loss(call(live.module, x), y)
    check_per_sample(losses, n)
    if w is live.clean and draws.losses is None:
        draws.losses = losses.detach()
    return losses
