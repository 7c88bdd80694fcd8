"""Plain twins and small problems that the tests share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from sam_dash.maths.flat import cross_entropies, flatten
from sam_dash.maths.oracle import Oracle
from sam_dash.variants import Variant


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A float64 perceptron, initialised by the global generator."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [activation()] * bool(i) + [nn.Linear(a, b)]
    return nn.Sequential(*layers).double()


@dataclass(frozen=True)
class CountingOracle(Oracle):
    """An oracle that counts what a step asks for."""

    calls: Counter = field(default_factory=Counter)

    def losses(self, w: Tensor) -> Tensor:
        self.calls["forwards"] += 1
        return super().losses(w)

    def grad(self, w: Tensor) -> Tensor:
        self.calls["gradients"] += 1
        return super().grad(w)

    def grads(self, w: Tensor) -> Tensor:
        self.calls["gradients"] += 1
        self.calls["per_sample"] += 1
        return super().grads(w)

    def pullback(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        self.calls["gradients"] += 1
        out = super().pullback(w)
        self.calls["forwards"] -= 1  # super() asks for the losses once more
        return out


def oracle(B: int = 24, *, seed: int = 0, kind: type[Oracle] = Oracle) -> tuple[Oracle, Tensor]:
    """An oracle of B random samples on a small MLP, with noise and a full-data oracle, and a w (d,)."""
    torch.manual_seed(seed)
    module = mlp(5, 7, 3)
    w = flatten(module)
    x, y = torch.randn(3 * B, 5, dtype=torch.float64), torch.randint(0, 3, (3 * B,))
    losses = cross_entropies(module)
    noise = 2.0 * torch.randint(0, 2, (1, len(w))).double() - 1
    return kind(losses, (x[:B], y[:B]), noise, full=kind(losses, (x, y))), w


def knobs(v: Variant, **changed: object) -> dict[str, object]:
    """A variant's knobs at their defaults but for those changed that it has; rho large enough to be seen."""
    return v.defaults() | {k: x for k, x in ({"rho": 0.3} | changed).items() if k in v.knobs}


def with_batch(L: Oracle, index: Tensor) -> Oracle:
    """The oracle on some of its samples."""
    return replace(L, batch=(L.batch[0][index], L.batch[1][index]))
