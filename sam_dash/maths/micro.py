"""m-sharpness, once, for every variant.

    h(w) = (m/B) sum_j step(L_j, w).h,   L_j the loss of the j-th of the B/m micro-batches

Each micro-batch has its own perturbation; the descent gradients are averaged (Foret et al., ICLR 2021,
arXiv:2010.01412, section 4.1). At m = B this is the plain variant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sam_dash.maths.contract import Step
from sam_dash.maths.oracle import Batch, Oracle
from sam_dash.maths.samples import cut, grouped, over, samples


def per_micro_batch(step: Callable[..., Step], m: int, *, chunk: int | None = None) -> Callable[..., Step]:
    """The m-version of `step`; `.eps` becomes (B/m, d), all else is averaged over the micro-batches.

    `chunk` bounds how many micro-batches are in memory at once; it does not change the result, to rounding.
    """

    def m_step(L: Oracle, w: Tensor, s: Any, **knobs: Any) -> Step:
        def one(batch: Batch) -> Step:
            return step(replace(L, batch=batch), w, s, **knobs)

        groups = grouped(L.batch, m)  # (B/m, m, ...)
        parts = cut(groups, chunk or samples(groups))
        return mean_step((_mean(over(one, part)), samples(part) / samples(groups)) for part in parts)

    return m_step


def _mean(out: Step) -> Step:
    """The mean of steps that are stacked along a first axis; each keeps its own perturbations."""
    rest = out.h, out.g, out.state, dict(out.info), out.aside, out.moves
    h, *others = pytree.tree_map(lambda a: a.sum(0) / len(a), rest)
    return Step(h, out.eps, *others)


def mean_step(steps: Iterable[tuple[Step, float]]) -> Step:
    """The mean of steps, each with its share of the samples; one at a time is in memory, but for the perturbations."""
    total: Any = None
    eps: list[Tensor] = []
    for out, share in steps:
        eps.append(out.eps)
        rest = out.h, out.g, out.state, dict(out.info), out.aside, out.moves
        more = rest if share == 1 else pytree.tree_map(lambda a, share=share: a * share, rest)
        total = more if total is None else pytree.tree_map(torch.add, total, more)
    assert total is not None, "no step"
    h, *others = total
    return Step(h, torch.cat(eps), *others)


def with_length(step: Callable[..., Step]) -> Callable[..., Step]:
    """The step with ||eps|| (1,) in place of eps, of which B/m would take as much memory as so many networks."""

    def shorter(L: Oracle, w: Tensor, s: Any, **knobs: Any) -> Step:
        out = step(L, w, s, **knobs)
        return out._replace(eps=torch.linalg.vector_norm(out.eps)[None])

    return shorter
