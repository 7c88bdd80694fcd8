"""A network with its samples and its loss, whatever described them: what weights are put into and measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sam_dash.maths.flat import PerSample
from sam_dash.maths.loss import Score
from sam_dash.maths.oracle import Batch
from sam_dash.problems import own
from sam_dash.problems.problem import Problem
from sam_dash.problems.stack import stack


@dataclass(frozen=True)
class Subject:
    """A module, its training and test samples (x, y), its loss, and the score shown beside it, or None."""

    name: str
    module: nn.Module
    train: Batch
    test: Batch
    loss: PerSample
    score: Score | None

    def samples(self, split: str, n: int = 0) -> Batch:
        """The first n training or test samples; 0: all."""
        x, y = self.train if split == "train" else self.test
        return x[: n or None], y[: n or None]


def of_file(path: str | Path, seed: int = 0) -> Subject:
    """What a problem file describes, whose code this runs; DataError in one line otherwise."""
    of = own.load(path)
    module = of.network(seed).eval()
    return Subject(of.path.name, module, (of.x_train, of.y_train), (of.x_test, of.y_test), of.loss, of.score)


def of_problem(problem: Problem, seed: int = 0) -> Subject:
    """What a problem describes, with the labels that runs of that seed are trained on; DataError otherwise."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    of = stack(problem, (seed,), device)
    name = problem.title if problem.is_file else f"{problem.title}, {problem.network}"
    return Subject(name, of.module.eval(), of.train(0), of.test, of.loss, of.score)
