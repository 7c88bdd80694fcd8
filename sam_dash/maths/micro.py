"""m-sharpness, once, for every variant.

    h(w) = (m/B) sum_j step(L_j, w).h,   L_j the loss of the j-th of the B/m micro-batches

Each micro-batch has its own perturbation; the descent gradients are averaged (Foret et al., ICLR 2021,
arXiv:2010.01412, section 4.1). At m = B this is the plain variant.
"""

from __future__ import annotations

from collections.abc import Callable
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
        eps, sums = [], None
        for part in cut(groups, chunk or samples(groups)):
            out = over(one, part)
            eps.append(out.eps)
            rest = out.h, out.g, out.state, dict(out.info), out.aside, out.moves
            more = pytree.tree_map(lambda a: a.sum(0), rest)
            sums = more if sums is None else pytree.tree_map(torch.add, sums, more)
        h, *others = pytree.tree_map(lambda a: a / samples(groups), sums)
        return Step(h, torch.cat(eps), *others)

    return m_step


def with_length(step: Callable[..., Step]) -> Callable[..., Step]:
    """The step with ||eps|| (1,) in place of eps, of which B/m would take as much memory as so many networks."""

    def shorter(L: Oracle, w: Tensor, s: Any, **knobs: Any) -> Step:
        out = step(L, w, s, **knobs)
        return out._replace(eps=out.eps.norm()[None])

    return shorter
