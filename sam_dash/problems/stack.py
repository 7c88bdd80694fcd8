"""A problem for several seeds at once: data on the device, and per seed the labels, the start and the batch order.

Everything random about a run depends on its seed alone, each purpose with a stream of its own, so that all methods
are compared on the same labels, start and batches, and a seed does not depend on those stacked beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from sam_dash.maths.fast.chain import Chain, chain_or_none
from sam_dash.maths.flat import PerSample, flatten, logits, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, Loss, Score
from sam_dash.maths.oracle import Batch, LossesFn
from sam_dash.problems.arrays import DataError
from sam_dash.problems.problem import Problem, long_tail
from sam_dash.problems.reading import Augment
from sam_dash.problems.source import Source, source
from sam_dash.problems.streams import stream, torch_stream

__all__ = ["Stack", "corrupt", "of", "stack", "stream", "torch_stream"]


@dataclass(frozen=True)
class Stack:
    """Tensors of S seeds. `rows` (S, N) are the training samples of each seed, `y` (S, N, ...) their (noisy) labels.

    `classes` is 0 where labels are none. `loss`: that of `losses`. `score`: shown beside it, or None. `augment`: of a
    batch of training inputs, or None. `ours`: the network is one of `networks`, whose ways are all tested.
    """

    module: nn.Module
    logits: Callable[[Tensor, Tensor], Tensor]
    losses: LossesFn
    seeds: tuple[int, ...]
    w0: Tensor  # (S, d)
    x: Tensor  # all training inputs
    rows: Tensor  # (S, N)
    y: Tensor  # (S, N, ...)
    y_clean: Tensor  # (S, N, ...)
    test: Batch
    classes: int
    loss: PerSample = CROSS_ENTROPY
    score: Score | None = CROSS_ENTROPY.shown
    augment: Augment | None = None
    ours: bool = True

    @property
    def n(self) -> int:
        """Training samples of each seed."""
        return self.rows.shape[1]

    @cached_property
    def chain(self) -> Chain | None:
        """The perceptron that the network is, all of whose parameters are trained; None for another."""
        trained = sum(p.numel() for p in self.module.parameters()) == self.w0.shape[1]
        return chain_or_none(self.module) if trained and isinstance(self.loss, Loss) else None

    @property
    def counts(self) -> Tensor:
        """Training samples of each class by the labels trained on (S, C)."""
        zeros = torch.zeros(len(self.y), self.classes, dtype=torch.int64, device=self.y.device)
        if not self.classes:
            return zeros
        return zeros.scatter_add(1, self.y, torch.ones_like(self.y))

    def train(self, s: int, limit: int | None = None) -> Batch:
        """The training samples of seed number s, or the first `limit` of them."""
        return self.x[self.rows[s, :limit]], self.y[s, :limit]

    def batch(self, index: Tensor) -> Batch:
        """The samples of `index` (S, B) as (S, B, ...), (S, B)."""
        return self.x[self.rows.gather(1, index)], _picked(self.y, index)

    def batches(self, order: Tensor) -> Iterator[Batch]:
        """The samples of each row of `order` (k, S, B), as `batch` gives them; looked up in one go."""
        index = order.transpose(0, 1).flatten(1)
        rows, y = (_picked(a, index).unflatten(1, (len(order), -1)).unbind(1) for a in (self.rows, self.y))
        return ((self.x[i], labels) for i, labels in zip(rows, y, strict=True))

    def augmented(self, batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
        """A batch (S, B, ...), (S, B, ...) with the inputs of each run as `augment` makes them by its generator."""
        if self.augment is None:
            return batch
        x, y = batch
        return torch.stack([self.augment(one, g) for one, g in zip(x, generators, strict=True)]), y

    def full(self) -> Batch:
        """All training samples of every seed: (S, N, ...), (S, N, ...)."""
        return self.x[self.rows], self.y

    def order(self, s: int, epoch: int, B: int) -> Tensor:
        """The batches (N // B, B) of an epoch: a fresh permutation, the incomplete last batch dropped."""
        seed = int(stream(self.seeds[s], "order").integers(2**31))
        order = np.random.default_rng([seed, epoch]).permutation(self.n)
        return torch.from_numpy(order[: self.n // B * B].reshape(-1, B))


def _picked(a: Tensor, index: Tensor) -> Tensor:
    """The entries `index` (S, B) of each row of a (S, N, ...).  -> (S, B, ...)"""
    return a.gather(1, index) if a.ndim == 2 else a[torch.arange(len(a), device=a.device)[:, None], index]


def corrupt(y: np.ndarray, rate: float, classes: int, generator: np.random.Generator) -> np.ndarray:
    """A copy of y in which exactly round(rate N) labels are replaced by uniformly drawn wrong ones."""
    y = y.copy()
    chosen = generator.permutation(len(y))[: round(rate * len(y))]
    y[chosen] = (y[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return y


def stack(problem: Problem, seeds: Sequence[int], device: torch.device) -> Stack:
    """Load, corrupt and initialise; DataError where the network does not fit the data, or a file has changed."""
    return of(source(problem), problem, seeds, device)


def of(data: Source, problem: Problem, seeds: Sequence[int], device: torch.device) -> Stack:
    """The stack of what is trained on, with what the problem does to its data."""
    n = problem.n_train or len(data.y_train)
    if n > len(data.y_train):
        raise DataError(f"n_train = {n}: {problem.title} has only {len(data.y_train)} training samples")
    x_train, y_train = data.x_train[:n], data.y_train[:n]
    if problem.imbalance != 1:
        kept = torch.from_numpy(long_tail(y_train.numpy(), problem.imbalance, data.classes))
        x_train, y_train = x_train[kept], y_train[kept]
        n = len(y_train)
    starts, labels, S = [], [], len(seeds)
    for seed in seeds:
        module = data.network(seed)
        starts.append(flatten(module))
        labels.append(y_train)
        if data.classes:
            wrong = corrupt(y_train.numpy(), problem.label_noise, data.classes, stream(seed, "labels"))
            labels[-1] = torch.from_numpy(wrong)
    clean = y_train.expand(S, *y_train.shape)
    return Stack(
        module.to(device), logits(module), losses_fn(module, data.loss), tuple(seeds), torch.stack(starts).to(device),
        x_train.to(device), torch.arange(n).expand(S, n).to(device), torch.stack(labels).to(device), clean.to(device),
        (data.x_test.to(device), data.y_test.to(device)), data.classes, data.loss, data.score, data.augment,
        data.ours,
    )  # fmt: skip
