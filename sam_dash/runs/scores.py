"""Losses and accuracies of a stack of runs."""

from __future__ import annotations

import torch
from torch import Tensor

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.chain import chain_or_none
from sam_dash.problems.problem import Problem
from sam_dash.problems.stack import Stack
from sam_dash.runs.measure import Found
from sam_dash.runs.recorded import SCORES


def evaluate(problem: Stack, W: Tensor, spec: Problem) -> list[Found]:
    """The scores of every run of the stack at W (S, d).

    Mean loss and accuracy on its (noisy) training labels, the clean ones, and the test set; of a long-tailed problem
    also the test accuracy of every class, as `test_acc@class=3`.
    """
    x, y = problem.test
    S = len(W)
    every = torch.arange(len(y), device=y.device).expand(S, -1)
    train, _ = _scores(problem, W, problem.x, problem.rows, problem.y, problem.y_clean)
    test, right = _scores(problem, W, x, every, y.expand(S, -1), y.expand(S, -1))
    names = list(SCORES)
    budgets = [problem.n] * 3 + [len(y)] * 2
    columns = [train, test[:, :2]]
    if spec.imbalance != 1:
        sizes = y.bincount(minlength=problem.classes)
        there = sizes.nonzero().flatten()
        hits = torch.zeros(S, problem.classes, device=y.device).index_add(1, y, right.float())
        columns.append((hits[:, there] / sizes[there]).double())
        names += [f"test_acc@class={c}" for c in there.tolist()]
        budgets += sizes[there].tolist()
    return [
        {q: Estimate(v, 0.0, "exact", n) for q, v, n in zip(names, row, budgets, strict=True)}
        for row in torch.cat(columns, 1).tolist()
    ]


@torch.no_grad()
def _scores(problem: Stack, W: Tensor, x: Tensor, rows: Tensor, y: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss, accuracy, and accuracy on the labels `clean`, (S, 3), on the samples `rows` (S, n) of x; and which of
    them are right (S, n).
    """
    chain = chain_or_none(problem.module)
    total = torch.zeros(len(W), 3, dtype=torch.float64, device=W.device)
    right = []
    for index, labels, true in zip(rows.split(4096, 1), y.split(4096, 1), clean.split(4096, 1), strict=True):
        if chain:
            out = chain.forward(W, x[index])[2]
        else:
            out = torch.stack([problem.logits(w, x[i]) for w, i in zip(W, index, strict=True)])
        loss = problem.loss
        right.append(loss.score(out, labels))
        columns = loss(out.double(), labels), right[-1], loss.score(out, true)
        total += torch.stack([column.sum(1) for column in columns], 1)
    return total / y.shape[1], torch.cat(right, 1)
