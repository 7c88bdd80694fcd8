"""The training loop of one stack: batches, noise, steps and updates, without reports and measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.func import vmap

from sam_dash import variants
from sam_dash.maths import base
from sam_dash.maths.contract import Variant
from sam_dash.maths.draws import draws
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.spec import RunSpec, Training
from sam_dash.runs.steppers import Moment, Scalars, Take, vmapped


def steps(problem: Stack, specs: Sequence[RunSpec], take: Take | None = None) -> Iterator[tuple[Tensor, Scalars]]:
    """The weights (S, d) after every training step and its scalars (S,), by the definition unless `take` is given."""
    spec, training = specs[0], specs[0].training
    v = variants.get(spec.variant).at(spec.knobs)
    S = len(problem.seeds)
    take = take or vmapped(problem, specs)
    full = problem.full() if v.cost(**spec.knobs).full else None
    optimiser = base_of(training, v)
    probes = [torch_stream(seed, "noise") for seed in problem.seeds]
    per_epoch = problem.n // training.batch
    rate = base.SCHEDULES[training.schedule](training.lr, per_epoch * training.epochs)
    W, state = problem.w0, vmap(v.init)(problem.w0)
    memory = optimiser.init(W)
    counts = problem.counts
    for epoch in range(training.epochs):
        order = torch.stack([problem.order(s, epoch, training.batch) for s in range(S)], 1).to(W.device)
        for i, batch in enumerate(problem.batches(order)):
            t = epoch * per_epoch + i
            at = Moment(batch, draws(v, W, probes), full, counts, t, rate(t) / training.lr)
            way, state, scalars = take(W, state, at)
            W, memory = optimiser.descend(W, way, memory, rate(t))
            yield W, scalars


def base_of(training: Training, v: Variant) -> base.Base:
    """The base optimiser; plain gradient descent for a variant that brings its own descent."""
    if v.descends:
        return base.sgd(weight_decay=training.weight_decay)
    if training.optimiser == "sgd":
        return base.sgd(training.momentum, training.nesterov, training.weight_decay)
    return base.adamw(weight_decay=training.weight_decay)
