"""Losses and scores of a stack of runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.flat import PerSample
from sam_dash.maths.loss import Loss
from sam_dash.problems.problem import Problem
from sam_dash.problems.stack import Stack
from sam_dash.runs.measure import Found

CHUNK = 4096  # samples in one forward


class Asked(NamedTuple):
    """A function (outputs, y) -> (n,) and the labels y (S, n, ...) that its mean is taken with."""

    function: PerSample
    y: Tensor


def evaluate(problem: Stack, W: Tensor, spec: Problem) -> list[Found]:
    """The scores of every run of the stack at W (S, d).

    Mean loss and score, where there is one, on its (noisy) training labels and on the test set; of classes also the
    score on the clean labels, and of a long-tailed problem the test accuracy of every class, as `test_acc@class=3`.
    """
    S, score, (x, y) = len(W), problem.score, problem.test
    every, tested = torch.arange(len(y), device=y.device).expand(S, -1), y.expand(S, *y.shape)
    train, test = {"train_loss": Asked(problem.loss, problem.y)}, {"test_loss": Asked(problem.loss, tested)}
    if score:
        train[f"train_{score.key}"] = Asked(score.values, problem.y)
        test[f"test_{score.key}"] = Asked(score.values, tested)
    if score and problem.classes:
        train[f"clean_train_{score.key}"] = Asked(score.values, problem.y_clean)
    found = _means(problem, W, problem.x, problem.rows, train) | _means(problem, W, x, every, test)
    budgets = dict.fromkeys(train, problem.n) | dict.fromkeys(test, len(y))
    if spec.imbalance != 1 and score and score.key == "acc":
        sizes = y.bincount(minlength=problem.classes).tolist()
        for c in (c for c, size in enumerate(sizes) if size):
            one = {f"test_acc@class={c}": Asked(score.values, tested[:, y == c])}
            found |= _means(problem, W, x, every[:, y == c], one)
            budgets |= dict.fromkeys(one, sizes[c])
    if score:
        found |= {q: [score.of(v) for v in values] for q, values in found.items() if not q.endswith("_loss")}
    return [{q: Estimate(values[s], 0.0, "exact", budgets[q]) for q, values in found.items()} for s in range(S)]


@torch.no_grad()
def _means(problem: Stack, W: Tensor, x: Tensor, rows: Tensor, asked: dict[str, Asked]) -> dict[str, list[float]]:
    """The mean of each over the samples `rows` (S, n) of x, for each run; losses are summed in float64."""
    n, total = rows.shape[1], {q: torch.zeros(len(W), dtype=torch.float64, device=W.device) for q in asked}
    for at in (slice(start, start + CHUNK) for start in range(0, n, CHUNK)):
        out = _outputs(problem, W, x, rows[:, at])
        for q, (function, y) in asked.items():
            total[q] += _values(function, out, y[:, at]).sum(1)
    return {q: (a / n).tolist() for q, a in total.items()}


def _outputs(problem: Stack, W: Tensor, x: Tensor, index: Tensor) -> Any:
    """The outputs of every run for its samples: a tensor (S, n, C), or a list where they are of another structure."""
    if problem.chain:
        return problem.chain.forward(W, x[index])[2]
    out = [problem.logits(w, x[i]) for w, i in zip(W, index, strict=True)]
    return torch.stack(out) if isinstance(problem.loss, Loss) else out


def _values(function: PerSample, out: Any, y: Tensor) -> Tensor:
    """The function of the outputs of every run (S, n); a loss that is known in float64, all runs at once."""
    if isinstance(out, Tensor) and isinstance(function, Loss):
        return function(out.double(), y)
    if isinstance(out, Tensor) and isinstance(getattr(function, "__self__", None), Loss):
        return function(out, y)
    return torch.stack([function(o, a).double() for o, a in zip(out, y, strict=True)])
