"""A module as it is, as an oracle: its own parameters are written in place, its own forward and autograd are used.

Whatever trains by plain autograd can be asked here: straight-through functions, checkpointing, DataParallel, mixed
dtypes, recurrent layers, outputs and batches of any structure. `Live.held` puts everything back, bit for bit.

Randomness: every forward of one batch starts from the state of the generators that its first forward started from, so
that dropout has one mask in all passes; afterwards they stand where that first forward left them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from sam_dash.maths.flat import Layout
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.samples import arguments, cut, each, samples

Losses = Callable[[Any, Any], Tensor]  # (outputs, y) -> (n,)


def call(module: nn.Module, x: Any) -> Any:
    """The module's outputs for x: a dict gives its keyword arguments, a tuple or list its arguments."""
    args, kwargs = arguments(x)
    return module(*args, **kwargs)


@dataclass(eq=False)
class Live:
    """Some parameters of a module as one vector w (d,), of the widest of their dtypes."""

    module: nn.Module
    loss: Losses
    parameters: list[nn.Parameter]
    layout: Layout
    clean: Tensor | None = None  # w while it is held
    at: Tensor | None = None  # the w that is written
    used: set[int] = field(default_factory=set)  # the parameters that had a gradient
    losses: list[Tensor] = field(default_factory=list)  # of the batch at the clean w, part by part
    buffers: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # and what they are before every forward
    kept: list[Tensor] = field(default_factory=list)  # the parameters before they were first written
    whole: tuple[Tensor, Tensor] | None = None  # a w and the full data's gradient there
    scale: float = 1.0  # what losses are multiplied by before each backward, and gradients divided by after it

    @classmethod
    def of(cls, module: nn.Module, loss: Losses, parameters: list[nn.Parameter]) -> Live:
        """The module as a function of these parameters of it."""
        names = {id(p): name for name, p in module.named_parameters()}
        layout = Layout(tuple(names[id(p)] for p in parameters), tuple(p.shape for p in parameters))
        return cls(module, loss, parameters, layout)

    def read(self) -> Tensor:
        """A copy of the parameters (d,)."""
        flat = [p.detach().reshape(-1) for p in self.parameters]
        dtype = torch.float32
        for part in flat:
            dtype = torch.promote_types(dtype, part.dtype)
        return torch.cat([part.to(dtype) for part in flat])

    def write(self, w: Tensor) -> None:
        """Give the parameters the values of w (d,)."""
        if w is self.at:
            return
        if not self.kept:
            self.kept = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(cast(list[Tensor], self.parameters), tuple(self.layout.unflatten(w.detach()).values()))
        self.at = w

    @contextmanager
    def held(self) -> Iterator[Tensor]:
        """The parameters as w (d,). In the end they and the buffers are what they were, bit for bit."""
        self.buffers = [(b, b.clone()) for b in self.module.buffers()]
        self.clean = self.at = self.read()
        self.used, self.losses = set(), []
        try:
            yield self.clean
        finally:
            if self.kept:
                with torch.no_grad():
                    torch._foreach_copy_(cast(list[Tensor], self.parameters), self.kept)
            self.rewind()
            self.kept = []
            self.clean = self.at = self.whole = None

    def rewind(self) -> None:
        """Give the buffers the values that they were held with."""
        with torch.no_grad():
            for b, value in self.buffers:
                b.copy_(value)

    def flat(self, grads: Sequence[Tensor | None], w: Tensor) -> Tensor:
        """Gradients of the parameters as one vector (d,); 0 where there is none."""
        self.used |= {i for i, g in enumerate(grads) if g is not None}
        parts = zip(grads, self.parameters, strict=True)
        flat = torch.cat([(torch.zeros_like(p) if g is None else g).detach().reshape(-1).to(w) for g, p in parts])
        return flat if self.scale == 1 else flat / self.scale


@dataclass
class Draws:
    """The states of the generators before and after the first forward of a batch; its losses (n,) at the clean w."""

    before: dict[str, Tensor] | None = None
    after: dict[str, Tensor] = field(default_factory=dict)
    losses: Tensor | None = None

    @contextmanager
    def repeated(self, live: Live) -> Iterator[None]:
        """Within, a forward of this batch: the first goes on from where the generators are, others repeat it."""
        live.rewind()
        if self.before is None:
            self.before = states(live)
            yield
            self.after = states(live)
        else:
            put(live, self.before)
            yield
            put(live, self.after)


def states(live: Live) -> dict[str, Tensor]:
    """The states of torch's own generators on the devices of the parameters, and on the CPU."""
    devices = {p.device for p in live.parameters if p.device.type == "cuda"}
    return {"cpu": torch.get_rng_state()} | {str(d): torch.cuda.get_rng_state(d) for d in devices}


def put(live: Live, found: dict[str, Tensor]) -> None:
    """Set the generators to those states."""
    for device, state in found.items():
        if device == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, device)


@dataclass(frozen=True, kw_only=True)
class LiveOracle(Oracle):
    """What `Oracle` is, of a `Live` module on a batch (x, y) of any structure. `chunk` cuts the full data only."""

    live: Live
    draws: Draws = field(default_factory=Draws)

    @classmethod
    def on(cls, live: Live, batch: Any, **facts: Any) -> LiveOracle:
        """The oracle of one batch, with generators of its own."""
        return cls(lambda w, of: _forward(live, Draws(), w, of), batch, live=live, **facts)

    @property
    def n(self) -> int:
        """The number of samples."""
        return samples(self.batch)

    def losses(self, w: Tensor) -> Tensor:
        """Per-sample losses.  (d,) -> (n,)."""
        with torch.no_grad():
            return _forward(self.live, self.draws, w, self.batch).to(w)

    def grad(self, w: Tensor) -> Tensor:
        """Gradient of the mean loss.  (d,) -> (d,)."""
        if self.chunk is None:
            return self._pull(w, None)
        if self.live.whole is None or self.live.whole[0] is not w:  # all micro-batches ask for the full data's
            parts = [LiveOracle.on(self.live, part) for part in cut(self.batch, self.chunk)]
            self.live.whole = w, torch.stack([part.grad(w) * (part.n / self.n) for part in parts]).sum(0)
        return self.live.whole[1]

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Losses (n,) and p (n,) -> grad of sum_i p_i l_i (d,), from one forward; anew where the weights have moved."""
        with torch.enable_grad():
            losses = _forward(self.live, self.draws, w, self.batch)
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
        return torch.stack([self._pull(w, row) for row in eye])

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of the mean loss at w times v.  (d,), (d,) -> (d,)."""
        live = self.live
        with torch.enable_grad():
            loss = _forward(live, self.draws, w, self.batch).mean() * live.scale
            grads = torch.autograd.grad(loss, live.parameters, create_graph=True, allow_unused=True)
            parts = live.layout.unflatten(v).values()
            along = sum((g * part.to(g)).sum() for g, part in zip(grads, parts, strict=True) if g is not None)
            product = torch.autograd.grad(cast(Tensor, along), live.parameters, allow_unused=True)
        return live.flat(product, w)

    def take(self, index: Tensor) -> LiveOracle:
        """The oracle of those samples only, with masks of its own."""
        part = each(self.batch, lambda leaf: leaf[index])
        facts = {"noise": self.noise, "full": self.full, "t": self.t, "rate": self.rate, "counts": self.counts}
        return LiveOracle.on(self.live, part, layout=self.layout, **facts)

    def _pull(self, w: Tensor, p: Tensor | None, held: Tensor | None = None) -> Tensor:
        with torch.enable_grad():
            losses = _forward(self.live, self.draws, w, self.batch) if held is None else held
            loss = (losses.mean() if p is None else losses @ p.to(losses)) * self.live.scale
            grads = torch.autograd.grad(loss, self.live.parameters, allow_unused=True, retain_graph=held is not None)
            return self.live.flat(grads, w)


def check_repeats(live: Live, batch: Any, w: Tensor) -> None:
    """ValueError where two forwards at one w under the same generators differ: passes would be of different losses."""
    before, oracle = states(live), LiveOracle.on(live, batch)
    first, again = oracle.losses(w), oracle.losses(w)
    put(live, before)
    if not torch.allclose(first, again, rtol=1e-3, atol=1e-5, equal_nan=True):
        apart = float((first - again).abs().max())
        raise ValueError(
            f"two forwards of the same batch at the same weights differ by up to {apart:.2g}: "
            "something random in the model does not come from torch's generators, or the model changes as it runs; the "
            "perturbation would fit that"
        )


def _forward(live: Live, draws: Draws, w: Tensor, batch: Any) -> Tensor:
    """Per-sample losses (n,) at w; ValueError for a loss that is not one number a sample."""
    x, y = batch
    live.write(w)
    with draws.repeated(live):
        losses = live.loss(call(live.module, x), y)
    n = samples(batch)
    if not isinstance(losses, Tensor) or losses.shape != (n,):
        found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"the loss of {n} samples is {found}; expected one number a sample, ({n},): pass per-sample losses, "
            "such as torch.nn.CrossEntropyLoss(reduction='none')"
        )
    if w is live.clean and draws.losses is None:
        draws.losses = losses.detach()
    return losses
