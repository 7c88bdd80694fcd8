"""Which m can be had on several devices, what each costs, and how strongly it regularises: torch-free.

To second order the theory's regulariser of m-USAM is rho/2 E||g_m||^2, E||g_m||^2 = ||G||^2 + tr(V)/m (Luo et al.,
arXiv:2509.18001), with G the mean gradient and V the covariance of per-sample gradients; that of m-SAM, whose
perturbation is normalised, rho E||g_m||, here by its root mean square. At two m the same weights are regularised alike
where these are equal: a hypothesis, since it is of one place, and says nothing of test accuracy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LOCAL, GROUPS, GLOBAL = "local", "groups", "global"
FORMS = {"sam": 0.5, "usam": 1.0}  # the power of E||g_m||^2 in the regulariser


class Size(NamedTuple):
    """An m on R ranks with n samples each: `ranks` share a perturbation; `reduces`: all-reduces of the model's size."""

    m: int
    kind: str
    ranks: int
    reduces: int


class Strength(NamedTuple):
    """A ratio, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def sizes(batch: int, ranks: int) -> list[Size]:
    """The m that `optim.SharpnessAware` takes of a global batch on so many ranks, the largest first.

    ValueError for ranks that do not divide the batch.
    """
    if ranks < 1 or batch < 1 or batch % ranks:
        raise ValueError(f"{ranks} ranks do not divide the batch of {batch} samples")
    n = batch // ranks
    shared = [k for k in range(ranks, 1, -1) if ranks % k == 0]
    found = [Size(k * n, GLOBAL if k == ranks else GROUPS, k, 2) for k in shared]
    return found + [Size(m, LOCAL, 1, 1) for m in range(n, 0, -1) if n % m == 0]


def strength(m: int, batch: int, G: tuple[float, float], V: tuple[float, float], form: str = "sam") -> Strength:
    """The regulariser at m over that at m = batch, at equal rho.

    Args:
        m: samples that share a perturbation.
        batch: B.
        G: ||G||^2, unbiased, and its standard error; it may be below 0 where the gradient is noise.
        V: tr(V) and its standard error.
        form: of `FORMS`.

    Returns:
        The ratio, 1 at m = batch and at most (batch / m)^power; its interval is that of tr(V)/||G||^2, whose two errors
        are taken as independent.
    """

    def at(g: float, v: float) -> float:
        """The ratio at one value of each; a gradient that is all noise has none of its own."""
        g, v = max(g, 0.0), max(v, 0.0)
        return 1.0 if g + v == 0 else ((g + v / m) / (g + v / batch)) ** FORMS[form]

    (g, g_error), (v, v_error) = G, V
    if g <= 0:
        return Strength(at(g, v), at(g + 1.96 * g_error, v - 1.96 * v_error), at(0.0, 1.0))
    away = 1.96 * math.hypot(g_error / g, v_error / v) if v > 0 else 0.0
    high = at(g, v * (1 + away)) if away < 1 else at(0.0, 1.0)
    return Strength(at(g, v), at(g, v * max(0.0, 1 - away)), high)
