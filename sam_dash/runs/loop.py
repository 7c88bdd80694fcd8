"""The training loop of one stack: batches, noise, steps and updates, without reports and measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from sam_dash import variants
from sam_dash.maths import base
from sam_dash.maths.contract import Variant
from sam_dash.maths.draws import draws
from sam_dash.problems.stack import Stack
from sam_dash.problems.streams import number, torch_stream
from sam_dash.runs.resume import StaleError
from sam_dash.runs.spec import RunSpec, Training
from sam_dash.runs.standing import Standing
from sam_dash.runs.steppers import Moment, Scalars, Take, vmapped


class Loop:
    """The training of one stack; iterated once, it gives the weights (S, d) after every step and its scalars (S,).

    Steps are taken by the definition unless `take` is given. After t steps it holds `t`, the weights `W` (S, d), the
    variant's `state` and the base optimiser's `memory`.
    """

    def __init__(self, problem: Stack, specs: Sequence[RunSpec], take: Take | None = None) -> None:
        spec, self.training = specs[0], specs[0].training
        self.problem, self.take = problem, take or vmapped(problem, specs)
        self.v = variants.get(spec.variant).at(spec.knobs)
        self.full = problem.full() if self.v.cost(**spec.knobs).full else None
        self.optimiser = base_of(self.training, self.v)
        self.W = problem.w0
        self.noise = [torch_stream(seed, "noise") for seed in problem.seeds]
        self.augment = [
            torch.Generator(self.W.device).manual_seed(number(seed, "augment"))
            for seed in problem.seeds if problem.augment
        ]  # fmt: skip
        self.t = 0
        self.state = vmap(self.v.init)(self.W)
        self.memory = self.optimiser.init(self.W)

    def __iter__(self) -> Iterator[tuple[Tensor, Scalars]]:
        problem, training = self.problem, self.training
        per_epoch = problem.n // training.batch
        rate = base.SCHEDULES[training.schedule](training.lr, per_epoch * training.epochs)
        counts = problem.counts
        for epoch in range(self.t // per_epoch, training.epochs):
            orders = [problem.order(s, epoch, training.batch) for s in range(len(problem.seeds))]
            order = torch.stack(orders, 1)[self.t % per_epoch :].to(self.W.device)
            for batch in problem.batches(order):
                t = self.t
                batch = problem.augmented(batch, self.augment)
                at = Moment(batch, draws(self.v, self.W, self.noise), self.full, counts, t, rate(t) / training.lr)
                way, self.state, scalars = self.take(self.W, self.state, at)
                self.W, self.memory = self.optimiser.descend(self.W, way, self.memory, rate(t))
                self.t = t + 1
                yield self.W, scalars

    def standing(self) -> list[Standing]:
        """Where each of the runs stands: `t`, the leaves of weights, state and memory, the states of generators.

        Nothing else is needed to go on: batches and rates follow from `t`.
        """
        leaves = pytree.tree_leaves((self.W, self.state, self.memory))
        return [
            {
                "t": self.t,
                "leaves": [a[s].detach().cpu().clone() if isinstance(a, Tensor) else a for a in leaves],
                "generators": [g[s].get_state() for g in (self.noise, self.augment) if g],
            }
            for s in range(len(self.W))
        ]

    def go_on(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """Stand where these runs, of one step, stood; StaleError where they are none of this stack's."""
        fresh, tree = pytree.tree_flatten((self.W, self.state, self.memory))
        if len({run["t"] for run in runs}) != 1 or any(len(run["leaves"]) != len(fresh) for run in runs):
            raise StaleError("saved by another version of this variant or optimiser")
        found = []
        for a, *rows in zip(fresh, *(run["leaves"] for run in runs), strict=True):
            if isinstance(a, Tensor) and any(row.shape != a.shape[1:] or row.dtype != a.dtype for row in rows):
                raise StaleError("saved with weights or a state of other shapes")
            found.append(torch.stack(rows).to(self.W.device) if isinstance(rows[0], Tensor) else rows[0])
        self.W, self.state, self.memory = pytree.tree_unflatten(found, tree)
        self.t = runs[0]["t"]
        for generators, states in zip(
            (g for g in (self.noise, self.augment) if g), zip(*(run["generators"] for run in runs), strict=True),
            strict=True,
        ):  # fmt: skip
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def steps(problem: Stack, specs: Sequence[RunSpec], take: Take | None = None) -> Iterator[tuple[Tensor, Scalars]]:
    """The weights (S, d) after every training step and its scalars (S,), by the definition unless `take` is given."""
    return iter(Loop(problem, specs, take))


def base_of(training: Training, v: Variant) -> base.Base:
    """The base optimiser; plain gradient descent for a variant that brings its own descent."""
    if v.descends:
        return base.sgd(weight_decay=training.weight_decay)
    if training.optimiser == "sgd":
        return base.sgd(training.momentum, training.nesterov, training.weight_decay)
    return base.adamw(weight_decay=training.weight_decay)
