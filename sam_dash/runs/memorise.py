"""The start of the escape experiment: a minimum that has memorised wrong labels.

Per seed, half of the training samples keep their labels and the other half get wrong ones; SGD (lr 0.1 cosine,
momentum 0.9, 150 epochs) fits all of them. The run proper then goes on from there with the right half only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sam_dash.problems.stack import Stack, corrupt, stream
from sam_dash.runs.fastest import fastest
from sam_dash.runs.loop import steps
from sam_dash.runs.spec import RunSpec, Training

EPOCHS = 150


def memorise(problem: Stack, batch: int, minimum: Tensor | None = None) -> Stack:
    """The stack that starts at the memorised minimum (S, d), found unless it is given, and trains on the right half of
    the samples.
    """
    half = problem.n // 2
    rows, labels = [], []
    for s, seed in enumerate(problem.seeds):
        generator = stream(seed, "memorise")
        order = generator.permutation(problem.n)
        clean = problem.y_clean[s].cpu().numpy()[order]
        rows.append(order)
        labels.append(np.concatenate([clean[:half], corrupt(clean[half:], 1.0, problem.classes, generator)]))
    index = torch.from_numpy(np.stack(rows)).to(problem.x.device)
    y = torch.from_numpy(np.stack(labels)).to(problem.x.device)
    W = problem.w0 if minimum is None else minimum
    if minimum is None:
        mixed = replace(problem, rows=index, y=y)
        specs = [RunSpec(variant="sgd", training=Training(batch=batch, epochs=EPOCHS))] * len(problem.seeds)
        for W, _ in steps(mixed, specs, fastest(mixed, specs).take):  # noqa: B007
            pass
    right = y[:, :half]
    return replace(problem, w0=W, rows=index[:, :half], y=right, y_clean=right)
