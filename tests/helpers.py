"""Plain twins and small problems that the tests share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from sam_dash.maths.contract import Step
from sam_dash.maths.draws import draw
from sam_dash.maths.flat import Layout, flatten, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, Loss
from sam_dash.maths.oracle import Oracle
from sam_dash.variants import Variant


def labels(loss: Loss, *shape: int, C: int = 3) -> Tensor:
    """Random labels of so many samples, of the kind that the loss takes for C outputs."""
    if loss.key == "cross_entropy":
        return torch.randint(0, C, shape)
    if loss.key == "mse":
        return torch.randn(*shape, C).double()
    return torch.randint(0, 2, (*shape, C)).double()


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A float64 perceptron, initialised by the global generator."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [activation()] * bool(i) + [nn.Linear(a, b)]
    return nn.Sequential(*layers).double()


class Made(nn.Module):
    """A module of a function of its parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.made = forward

    def forward(self, *args, **named):
        return self.made(self, *args, **named)


@dataclass(frozen=True)
class CountingOracle(Oracle):
    """An oracle that counts what a step asks for; of a part of its samples, that part."""

    calls: Counter = field(default_factory=Counter)
    share: float = 1.0

    def losses(self, w: Tensor) -> Tensor:
        self.calls["forwards"] += self.share
        return super().losses(w)

    def grad(self, w: Tensor) -> Tensor:
        self.calls["gradients"] += self.share
        return super().grad(w)

    def grads(self, w: Tensor) -> Tensor:
        self.calls["gradients"] += self.share
        self.calls["per_sample"] += self.share
        return super().grads(w)

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        self.calls["products"] += self.share
        return super().hvp(w, v)

    def take(self, index: Tensor) -> Oracle:
        return replace(super().take(index), share=self.share * len(index) / self.n)

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        losses, pull = super().pullback(w)
        self.calls["forwards"] -= self.share  # super() asks for the losses once more
        self.calls["gradients"] += self.share
        self.calls["backwards"] -= self.share  # the first is the gradient's own

        def counted(p: Tensor) -> Tensor:
            self.calls["backwards"] += self.share
            return pull(p)

        return losses, counted


def oracle(
    B: int = 24, *, seed: int = 0, kind: type[Oracle] = Oracle, v: Variant | None = None, loss: Loss = CROSS_ENTROPY
) -> tuple[Oracle, Tensor]:
    """An oracle of B random samples on a small MLP, with all that a step may ask for, and a w (d,).

    The noise is of the law of `v`; without one, a row of signs.
    """
    torch.manual_seed(seed)
    module = mlp(5, 7, 3)
    w = flatten(module)
    x, y = torch.randn(3 * B, 5, dtype=torch.float64), labels(loss, 3 * B)
    losses = losses_fn(module, loss)
    noise = 2.0 * torch.randint(0, 2, (1, len(w))).double() - 1
    if v is not None and v.law != "signs":
        noise = draw(v, w, torch.Generator().manual_seed(seed))
    counts = y.bincount(minlength=3) if loss is CROSS_ENTROPY else None
    layout = Layout.of(module)
    full = kind(losses, (x, y))
    return kind(losses, (x[:B], y[:B]), noise, full=full, counts=counts, layout=layout), w


def walk(v: Variant, L: Oracle, w: Tensor, steps: int, lr: float = 0.1, **chosen: object) -> list[Step]:
    """The first steps of a variant under plain gradient descent, each on other samples of the batch."""
    s, out = v.init(w), []
    for t in range(steps):
        index = (torch.arange(L.n // 2) * (t + 1)) % L.n
        part = replace(with_batch(L, index), t=t, noise=None if L.noise is None else L.noise.roll(t, 1))
        out.append(v.step(part, w, s, **chosen))
        w, s = w - lr * out[-1].descent, out[-1].state
    return out


def knobs(v: Variant, **changed: object) -> dict[str, object]:
    """A variant's knobs at their defaults but for those changed that it has; rho large enough to be seen."""
    return v.defaults() | {k: x for k, x in ({"rho": 0.3} | changed).items() if k in v.knobs}


def with_batch(L: Oracle, index: Tensor) -> Oracle:
    """The oracle on some of its samples."""
    return replace(L, batch=(L.batch[0][index], L.batch[1][index]))
