"""Exact m-SAM for a module as it is, all micro-batches in one pass: see `interception` for what is done with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from sam_dash.maths.fast.factored import Factored
from sam_dash.maths.fast.interception import First, Key, Look, Meeting, Plan, Second
from sam_dash.maths.fast.unformed import Groups, NotFactoredError, Shifted
from sam_dash.maths.flat import Layout
from sam_dash.maths.live import Live, call
from sam_dash.maths.live_oracle import Draws
from sam_dash.maths.samples import samples

STACK_FLOATS = 2**26  # numbers that the stacked copies of parameters may take: 256 MB in float32


def plan_of(live: Live, batch: Any, m: int) -> Plan:
    """From one forward; NotFactoredError where a parameter is met by nothing and yet has a gradient."""
    plan = Plan(live.parameters, {id(p): i for i, p in enumerate(live.parameters)})
    look = Look(plan, samples(batch) // m)
    with torch.enable_grad():
        total = run(live, Draws(), batch, m, look).sum()
        if total.requires_grad:
            missed = torch.autograd.grad(total, live.parameters, allow_unused=True)
            if any(g is not None for g in missed):
                raise NotFactoredError("a parameter in a function that torch does not show")
    owners: dict[int, set[Key]] = {}
    for key in look.sites:
        for i in key:
            owners.setdefault(i, set()).add(key)
    grown = look.others | {i for i, keys in owners.items() if len(keys) > 1}
    while grown - plan.stacked:
        plan.stacked |= grown
        grown = {i for key in look.sites if plan.stacked & set(key) for i in key}
    if look.groups * sum(live.parameters[i].numel() for i in plan.stacked) > STACK_FLOATS:
        raise NotFactoredError("parameters that would be stacked take too much memory")
    return plan


@dataclass(frozen=True)
class Gradient(Factored):
    """c_j g_j of a module's parameters; `keys` are those that each factor is of."""

    keys: tuple[Key, ...]
    layout: Layout

    def dense(self) -> Tensor:
        return self._in_order(super().dense().T).T

    def mean(self) -> Tensor:
        return self._in_order(super().mean())

    def _in_order(self, flat: Tensor) -> Tensor:
        """(d', ...) in the order of the factors as (d, ...) in that of the parameters; 0 where there is no factor."""
        sizes, order = [math.prod(s) for s in self.layout.shapes], [i for key in self.keys for i in key]
        known = dict(zip(order, flat.split([sizes[i] for i in order]), strict=True))
        return torch.cat([known[i] if i in known else flat.new_zeros(n, *flat.shape[1:]) for i, n in enumerate(sizes)])


@dataclass(frozen=True, kw_only=True)
class InterceptedOracle(Groups):
    """The oracle of all micro-batches at once, of a `Live` module."""

    live: Live
    plan: Plan
    draws: Draws = field(default_factory=Draws)

    @property
    def samples(self) -> int:
        return samples(self.batch)

    def grad(self, w: Tensor | Shifted) -> Any:
        """At w: the micro-batches' gradients, factored. At w + eps_j: their mean (d,)."""
        self.before_the_descent()
        live, G = self.live, self.samples // self.m
        if isinstance(w, Shifted):
            eps = w.eps
            second = Second(self.plan, G, dict(zip(eps.keys, eps.factors, strict=True)), eps.scale)
            with torch.enable_grad():
                mean = self._losses(w.w, second).mean()
                mean = mean if live.scale == 1 else mean * live.scale
            grads = torch.autograd.grad(mean, live.parameters, allow_unused=True)
            self.descents.append(live.flat(grads, w.w))
            return self.descents[0]
        first = First(self.plan, G)
        with torch.enable_grad():
            losses = self._losses(w, first)
            total = losses.sum() * (live.scale / self.m)
        if w is live.clean:
            live.losses.append(losses.detach())
        found = first.gradients(total, live.scale)
        return Gradient(list(found.values()), w.new_ones(G), tuple(found), live.layout)

    def _losses(self, w: Tensor, met: Meeting) -> Tensor:
        self.live.write(w)
        return run(self.live, self.draws, self.batch, self.m, met)


def run(live: Live, draws: Draws, batch: Any, m: int, met: Meeting) -> Tensor:
    """Per-sample losses (n,), all micro-batches of m side by side."""
    leaves, spec = pytree.tree_flatten(batch)
    cut = [isinstance(a, Tensor) and a.ndim > 0 for a in leaves]
    given = [a.unflatten(0, (-1, m)) if leads else a for a, leads in zip(leaves, cut, strict=True)]

    def one(*parts: Any) -> Tensor:
        x, y = pytree.tree_unflatten(parts, spec)
        with met:
            losses = live.loss(call(live.module, x), y)
        if not isinstance(losses, Tensor) or losses.shape != (m,):
            raise NotFactoredError("a loss that is not one number a sample")
        return losses

    with draws.repeated(live):
        out: Tensor = vmap(one, in_dims=tuple(0 if leads else None for leads in cut), randomness="different")(*given)
    if draws.drawn:
        raise NotFactoredError("masks, which would be others than those of one micro-batch after another")
    return out.flatten()
