"""Unified SAM: between SAM and USAM, perhaps moving from one to the other.

    eps(w) = rho (1 - l + l / ||grad L(w)||) grad L(w),   l = 1 SAM, l = 0 USAM
    h(w)   = grad L(w + eps)

Oikonomou & Loizou, ICLR 2025, arXiv:2503.02225. l is constant, 1/t or 1 - 1/t in the step t = 1, 2, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from sam_dash.maths.contract import TINY, Cost, Knob, Radius, Step, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Path = Annotated[Literal["constant", "1/t", "1-1/t"], Knob("path", "how l moves over the steps t = 1, 2, ...")]
Share = Annotated[float, Knob("l", "SAM's share where the path is constant", 0.0, 1.0)]
DEFAULTS = {
    "rho": "official code (the README's example)", "path": "official code (a strong default)",
    "l": "official code (one of their grid)",
}  # fmt: skip


@variant(
    "Unified SAM",
    ref="arXiv:2503.02225",
    cost=Cost(gradients=2),
    is_sam_at={"path": "constant", "l": 1.0},
    defaults=DEFAULTS,
    family="usam",
    chained=True,
    factored=True,
)
def unified(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.1, path: Path = "1-1/t", l: Share = 0.5) -> Step:  # noqa: E741
    """One step."""
    at = {"constant": l, "1/t": 1 / (L.t + 1), "1-1/t": 1 - 1 / (L.t + 1)}[path]
    g = L.grad(w)
    eps = rho * (1 - at + at / (g.norm() + TINY)) * g
    return Step(L.grad(w + eps), eps, g)
