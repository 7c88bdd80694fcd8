"""Losses of two weights, on which a step can be seen: saddles, and whether a variant is caught by them.

On a quadratic with eigenvalue lambda, USAM's step multiplies that coordinate by 1 - lr lambda (1 + rho lambda). Where
lambda < 0 the saddle attracts once 1 + rho lambda < 0: above the critical radius rho = 1/|lambda| (Kim et al.,
arXiv:2301.06308). SAM, which normalises, is attracted within |y| < rho for every rho.
ESAM, ASAM ("weights") and SL-SAM need layers, which two weights are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import hessian

from sam_dash import variants
from sam_dash.maths.draws import draw
from sam_dash.maths.oracle import Batch, Oracle


@dataclass(frozen=True)
class Landscape:
    """A loss of w (2,), its saddle, where trajectories start, and the window to draw (x from, x to, y from, y to)."""

    title: str
    loss: Callable[[Tensor], Tensor]
    saddle: tuple[float, float]
    start: tuple[float, float]
    window: tuple[float, float, float, float]

    def losses(self, w: Tensor, batch: Batch) -> Tensor:
        """The loss as that of each sample: they are all alike.  (2,) -> (n,)"""
        return self.loss(w).expand(len(batch[1]))


def beale(w: Tensor) -> Tensor:
    """Beale's function: a minimum of 0 at (3, 1/2) and a saddle at (0, 1)."""
    x, y = w[0], w[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


LANDSCAPES = {
    "saddle": Landscape("x² − y²", lambda w: w[0] ** 2 - w[1] ** 2, (0.0, 0.0), (-3.0, -0.01), (-3, 3, -3, 3)),
    "beale": Landscape("Beale's function", beale, (0.0, 1.0), (1.0, 2.0), (-4.5, 4.5, -4.5, 4.5)),
}


def critical_radius(land: Landscape) -> float:
    """1/|lambda_1|, lambda_1 < 0 the lowest eigenvalue of the Hessian at the saddle."""
    H = hessian(land.loss)(torch.tensor(land.saddle, dtype=torch.float64))
    return float(-1 / torch.linalg.eigvalsh(H)[0])


def trajectory(
    land: Landscape, variant: str, *, steps: int, lr: float, start: tuple[float, float] | None = None,
    seed: int = 0, **knobs: Any,
) -> Tensor:  # fmt: skip
    """The weights (steps + 1, 2) of a variant under gradient descent with a constant learning rate, in float64."""
    v = variants.get(variant)
    chosen = v.check(knobs)
    w = torch.tensor(start or land.start, dtype=torch.float64)
    one = (torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    L = Oracle(land.losses, one, counts=torch.ones(1))
    L = replace(L, full=L)
    generator = torch.Generator().manual_seed(seed)
    s, path = v.init(w), [w]
    for t in range(steps):
        out = v.step(replace(L, t=t, noise=draw(v, w, generator)), w, s, **chosen)
        w, s = w - lr * out.h, out.state
        path.append(w)
    return torch.stack(path)


def contour(land: Landscape, points: int = 101) -> tuple[Tensor, Tensor, Tensor]:
    """x (points,), y (points,) and the loss (points, points), rows along y."""
    left, right, low, high = land.window
    x = torch.linspace(left, right, points, dtype=torch.float64)
    y = torch.linspace(low, high, points, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return x, y, land.loss(grid)
