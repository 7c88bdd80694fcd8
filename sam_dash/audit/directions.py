"""Which direction a displacement is along: the candidates, and the rule by which one of them is taken.

A fit is judged by r = 1 - cos, as half the squared distance of unit vectors. The floor of r is what rounding w + eps
to the weights' precision does to eps:

    r_0 = sum_i ulp(w_i)^2 / 12 / (2 ||eps||^2)

A candidate fits where r <= 10 r_0 + SLACK, the rounding of gradients; it is taken where the next one of other samples
is CLEAR times as far. The simplest kind that fits wins: a gradient as it is, then transformed, then with a second
vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam_dash.maths.flat import Layout

SLACK, CLEAR, SAME = 1e-11, 30.0, 1e-13
ELEMENTS = 1 << 20  # of candidates that are compared at once
NONE = float("inf")


@dataclass(frozen=True, eq=False)
class Direction:
    """A candidate: samples by where they lie, and the gradient of the loop's loss of them (d,), float64."""

    of: str  # which samples, in words
    n: int  # how many, on all ranks together
    ranks: tuple[int, ...]
    vector: Tensor
    stale: bool = False  # of an earlier step


@dataclass(frozen=True)
class Fit:
    """The direction that a displacement was found to be along, and how well."""

    direction: Direction | None  # None: no candidate fits
    transform: str  # a key of TRANSFORMS; "plain"
    beside: str  # a second vector, "" for none
    share: float  # how much of it: eps ~ v + share * beside
    r: float
    floor: float
    rival: Direction | None  # other samples that fit nearly as well
    nearest: str  # the best candidate in words, where none fits
    down: bool = False  # whether it is against the direction: towards a lower loss
    part: str = ""  # which weights are displaced, where some are not though their gradient is not 0

    @property
    def clear(self) -> bool:
        """Whether one candidate fits, and no other does."""
        return self.direction is not None and self.rival is None


def _by_tensor(layout: Layout, f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def apply(g: Tensor, w: Tensor) -> Tensor:
        sizes = [s.numel() for s in layout.shapes]
        return torch.cat([f(a, b) for a, b in zip(g.split(sizes), w.split(sizes), strict=True)])

    return apply


def transforms(layout: Layout) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
    """Name -> (gradient (d,), weights (d,)) -> what eps may be along instead of the gradient."""
    tiny = 1e-300
    return {
        "plain": lambda g, w: g,
        "w²": lambda g, w: w**2 * g,
        "(|w| + .01)²": lambda g, w: (w.abs() + 0.01) ** 2 * g,
        "|w|": lambda g, w: w.abs() * g,
        "a norm for each tensor": _by_tensor(layout, lambda g, w: g / g.norm().clamp_min(tiny)),
        "‖w‖ and a norm for each tensor": _by_tensor(layout, lambda g, w: w.norm() * g / g.norm().clamp_min(tiny)),
        "the sign": lambda g, w: g.sign(),
    }


def apart(u: Tensor, v: Tensor) -> float:
    """1 - |cos| of u and v (d,), exact where they are nearly along each other; infinite for a vector of zeros."""
    return every_apart(u, [v])[0]


def every_apart(u: Tensor, vectors: Sequence[Tensor]) -> list[float]:
    """`apart` of u (d,) and each of the vectors (d,), some at a time."""
    length, out = u.norm(), []
    some = max(1, ELEMENTS // len(u))
    for i in range(0, len(vectors), some):
        V = torch.stack([*vectors[i : i + some]])
        lengths = V.norm(dim=1)
        a, B = u / length, V / lengths[:, None]
        r = torch.minimum((a - B).square().sum(1), (a + B).square().sum(1)) / 2
        out += r.where((length > 0) & (lengths > 0), NONE).tolist()
    return out


def floor(weights: Tensor, eps: Tensor) -> float:
    """r_0 of a displacement (d,) of weights (d,) of some precision: rounding to it moves each by 1/12 of an ulp²."""
    info = torch.finfo(weights.dtype)
    exponent = torch.frexp(weights.double().abs().clamp_min(info.smallest_normal))[1]
    ulp = torch.ldexp(torch.full_like(weights, info.eps, dtype=torch.float64), exponent - 1)
    length = float(eps.double().square().sum())
    return float(ulp.square().sum()) / 12 / (2 * length) if length else NONE


def fit(eps: Tensor, weights: Tensor, found: Sequence[Direction], beside: Mapping[str, Tensor], layout: Layout) -> Fit:
    """The candidate that a displacement (d,) of these weights (d,) is along.

    Args:
        eps: the displacement (d,), float64.
        weights: what was displaced (d,), in its own dtype.
        found: the candidates, the simplest in words first: of two that are the same vector the first is named.
        beside: vectors (d,) that may be added to the gradient: weight decay, momentum, an earlier gradient.
        layout: of the parameters.

    Returns:
        The `Fit`; without a direction where none is within the tolerance. Where none is, and some weights are not
        displaced at all, the candidates are compared on the others.
    """
    whole, moved = _fit(eps, weights, found, beside, layout), eps != 0
    if whole.direction is not None or bool(moved.all()):
        return whole
    parts = [replace(c, vector=c.vector * moved) for c in found if bool(c.vector[moved].any())]
    part = _fit(eps, weights, parts, {name: v * moved for name, v in beside.items()}, layout)
    return replace(part, part=_which(moved, layout)) if part.clear else whole


def _fit(eps: Tensor, weights: Tensor, found: Sequence[Direction], beside: Mapping[str, Tensor], layout: Layout) -> Fit:
    w, low = weights.double(), floor(weights, eps)
    limit = 10 * low + SLACK
    best: tuple[float, str] = (NONE, "none")
    for name, f in transforms(layout).items() if found else ():
        vectors = [f(c.vector, w) for c in found]
        fits = sorted((r, i) for i, r in enumerate(every_apart(eps, vectors)))
        r, i = _first_of_the_same(fits, vectors)
        if r < best[0]:
            best = (r, found[i].of if name == "plain" else f"{found[i].of}, {name}")
        if r <= limit:
            rival = _rival(fits, i, found, max(r, low))
            return Fit(found[i], name, "", 0.0, r, low, rival, "", bool(eps @ vectors[i] < 0))
    pairs = [(*_two(eps, c.vector, v), i, name) for name, v in beside.items() for i, c in enumerate(found)]
    pairs = [of for of in pairs if abs(of[1]) > 1e-9]
    r, share, down, i, name = min(pairs, key=lambda of: of[0], default=(NONE, 0.0, False, 0, ""))
    if r <= limit:
        fits = sorted((of[0], of[3]) for of in pairs if of[4] == name)
        return Fit(found[i], "plain", name, share, r, low, _rival(fits, i, found, max(r, low)), "", down)
    return Fit(None, "plain", "", 0.0, best[0], low, None, best[1])


def _which(moved: Tensor, layout: Layout) -> str:
    """The weights that are displaced, by name where they are whole tensors and few."""
    text = f"{int(moved.sum())} of {len(moved)} weights"
    parts = layout.segments(moved)
    names = [name for name, part in zip(layout.names, parts, strict=True) if bool(part.any())]
    whole = all(bool(part.all()) or not bool(part.any()) for part in parts)
    return f"{text} ({', '.join(names)})" if whole and len(names) <= 4 else text


def _first_of_the_same(fits: Sequence[tuple[float, int]], vectors: Sequence[Tensor]) -> tuple[float, int]:
    """The best fit; of candidates that are one vector the first that is listed."""
    r, best = fits[0]
    off = every_apart(vectors[best], vectors)
    i = min(i for s, i in fits if s == r or off[i] <= SAME)
    return next(s for s, j in fits if j == i), i


def _rival(fits: Sequence[tuple[float, int]], best: int, found: Sequence[Direction], r: float) -> Direction | None:
    """A candidate of other samples, not the same vector, that is not clearly further."""
    near = [i for s, i in fits if s <= CLEAR * r and i != best]
    off = every_apart(found[best].vector, [found[i].vector for i in near])
    return next((found[i] for i, other in zip(near, off, strict=True) if other > SAME), None)


def _two(eps: Tensor, v: Tensor, second: Tensor) -> tuple[float, float, bool]:
    """How far eps (d,) is from the plane of two vectors, the second's share beside one of the first, and whether eps
    is against the first.
    """
    c = shares(eps, [v, second])
    if c is None or not float(c[0]):
        return NONE, 0.0, False
    return apart(eps, c[0] * v + c[1] * second), float(c[1] / c[0]), bool(c[0] < 0)


def shares(u: Tensor, vectors: Sequence[Tensor]) -> Tensor | None:
    """The coefficients (k,) by which k vectors (d,) come nearest to u (d,); None where one of them is 0."""
    A = torch.stack([*vectors], 1)
    scale = A.norm(dim=0)
    if not bool((scale > 0).all()):
        return None
    found: Tensor = torch.linalg.lstsq(A / scale, u[:, None]).solution[:, 0] / scale
    return found
