"""Losses of two weights, on which a step can be seen: saddles, and whether a variant is caught by them. Torch-free.

On a quadratic with eigenvalue lambda, USAM's step multiplies that coordinate by 1 - lr lambda (1 + rho lambda). Where
lambda < 0 the saddle attracts once 1 + rho lambda < 0: above the critical radius rho = 1/|lambda| (Kim et al.,
arXiv:2301.06308). SAM, which normalises, is attracted within |y| < rho for every rho.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NETWORK_SAMPLES = 64  # of the data of `saddle_network`


@dataclass(frozen=True)
class Landscape:
    """A loss of w (2, ...), arrays or tensors, its saddle, where trajectories start, the window to draw (x from, x
    to, y from, y to), and a learning rate that its steepness allows.
    """

    title: str
    loss: Callable[[Any], Any]
    saddle: tuple[float, float]
    start: tuple[float, float]
    window: tuple[float, float, float, float]
    lr: float


def beale(w: Any) -> Any:
    """Beale's function: a minimum of 0 at (3, 1/2) and a saddle at (0, 1)."""
    x, y = w[0], w[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


LANDSCAPES = {
    "saddle": Landscape("x² − y²", lambda w: w[0] ** 2 - w[1] ** 2, (0.0, 0.0), (-2.5, -0.1), (-3, 3, -3, 3), 0.01),
    "beale": Landscape("Beale's function", beale, (0.0, 1.0), (1.0, 2.0), (-4.5, 4.5, -4.5, 4.5), 0.001),
}


def contour(land: Landscape, points: int = 101) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (points,), y (points,) and the loss (points, points), rows along y."""
    left, right, low, high = land.window
    x, y = np.linspace(left, right, points), np.linspace(low, high, points)
    return x, y, land.loss(np.stack(np.meshgrid(x, y, indexing="xy")))
