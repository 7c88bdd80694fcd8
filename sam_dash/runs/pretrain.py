"""The start of the fine-tuning experiment: a network that has learnt the first half of the classes.

The source task is all training samples of a data set whose class is in the first half; SGD (lr 0.02 cosine, momentum
0.9, 20 epochs) learns it from the initialisation of each seed. The last layer is then drawn anew: what is learnt has
grown around the old one. The run proper fine-tunes all layers on the target task: the other classes, among the first
`n_train` samples, tested on the test samples of those classes.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from sam_dash.maths.flat import Layout, flatten
from sam_dash.problems.architecture import inputs
from sam_dash.problems.arrays import arranged
from sam_dash.problems.datasets import DataError, load
from sam_dash.problems.networks import initialise
from sam_dash.problems.problem import Problem, source_classes
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.fastest import fastest
from sam_dash.runs.loop import steps
from sam_dash.runs.spec import RunSpec, Training

EPOCHS, RATE = 20, 0.02


def pretrain(problem: Stack, spec: Problem, batch: int, learnt: Tensor | None = None) -> Stack:
    """The stack that starts at the pre-trained weights (S, d), found unless they are given, and has the samples of the
    target task only.

    DataError where the source task has less than one batch.
    """
    S, half = len(problem.seeds), source_classes(problem.classes)
    if learnt is not None:
        return replace(target(problem, half), w0=learnt)
    data = load(spec.dataset, spec.data_hash, spec.scaling)
    known = data.y_train < half
    if known.sum() < batch:
        raise DataError(
            f"the source task, classes 0 to {half - 1}, has {known.sum()} training samples, fewer than one batch of "
            f"B = {batch}; choose a smaller batch, or start = init"
        )
    as_taken = inputs(spec.network, data.x_train.shape[1:], data.vocabulary)
    arrays = arranged(data.x_train[known], as_taken), data.y_train[known]
    x, y = (torch.from_numpy(a).to(problem.x.device) for a in arrays)
    every = torch.arange(len(y), device=x.device).expand(S, -1)
    source = replace(problem, x=x, rows=every, y=y.expand(S, -1), y_clean=y.expand(S, -1))
    specs = [RunSpec(variant="sgd", training=Training(lr=RATE, batch=batch, epochs=EPOCHS))] * S
    W = problem.w0
    for W, _ in steps(source, specs, fastest(source, specs).take):  # noqa: B007
        pass
    module, heads = copy.deepcopy(problem.module).cpu(), []
    size = list(Layout.of(module).sizes().values())[-1]
    for seed in problem.seeds:
        initialise(module, torch_stream(seed, "head"))
        heads.append(flatten(module)[-size:])
    return replace(target(problem, half), w0=torch.cat([W[:, :-size], torch.stack(heads).to(W.device)], 1))


def target(problem: Stack, half: int) -> Stack:
    """The samples whose true class is `half` or above, for training and for the test."""

    def kept(a: Tensor) -> Tensor:
        return torch.stack([row[new] for row, new in zip(a, problem.y_clean >= half, strict=True)])

    x, y = problem.test
    rows, labels, clean = (kept(a) for a in (problem.rows, problem.y, problem.y_clean))
    return replace(problem, rows=rows, y=labels, y_clean=clean, test=(x[y >= half], y[y >= half]))
