"""A problem for several seeds at once: data on the device, and per seed the labels, the start and the batch order.

Everything random about a run depends on its seed alone, each purpose with a stream of its own, so that all methods
are compared on the same labels, start and batches, and a seed does not depend on those stacked beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sam_dash.maths.flat import flatten, logits, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, Loss
from sam_dash.maths.oracle import Batch, LossesFn
from sam_dash.problems.datasets import DataError, load
from sam_dash.problems.networks import build, initialise
from sam_dash.problems.problem import Problem, long_tail

STREAMS = ("init", "labels", "order", "noise", "probes", "memorise", "density", "head")


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose of one seed."""
    return np.random.default_rng([seed, STREAMS.index(purpose)])


def torch_stream(seed: int, purpose: str) -> torch.Generator:
    """The generator of one purpose of one seed, of torch, on the CPU."""
    return torch.Generator().manual_seed(int(stream(seed, purpose).integers(2**62)))


@dataclass(frozen=True)
class Stack:
    """Tensors of S seeds. `rows` (S, N) are the training samples of each seed, `y` (S, N) their (noisy) labels."""

    module: nn.Module
    logits: Callable[[Tensor, Tensor], Tensor]
    losses: LossesFn
    seeds: tuple[int, ...]
    w0: Tensor  # (S, d)
    x: Tensor  # all training inputs
    rows: Tensor  # (S, N)
    y: Tensor  # (S, N)
    y_clean: Tensor  # (S, N)
    test: Batch
    classes: int
    loss: Loss = CROSS_ENTROPY  # that of `losses`

    @property
    def n(self) -> int:
        """Training samples of each seed."""
        return self.rows.shape[1]

    @property
    def counts(self) -> Tensor:
        """Training samples of each class by the labels trained on (S, C)."""
        zeros = torch.zeros(len(self.y), self.classes, dtype=torch.int64, device=self.y.device)
        return zeros.scatter_add(1, self.y, torch.ones_like(self.y))

    def train(self, s: int, limit: int | None = None) -> Batch:
        """The training samples of seed number s, or the first `limit` of them."""
        return self.x[self.rows[s, :limit]], self.y[s, :limit]

    def batch(self, index: Tensor) -> Batch:
        """The samples of `index` (S, B) as (S, B, ...), (S, B)."""
        return self.x[self.rows.gather(1, index)], self.y.gather(1, index)

    def batches(self, order: Tensor) -> Iterator[Batch]:
        """The samples of each row of `order` (k, S, B), as `batch` gives them; looked up in one go."""
        index = order.transpose(0, 1).flatten(1)
        rows, y = (a.gather(1, index).unflatten(1, (len(order), -1)).unbind(1) for a in (self.rows, self.y))
        return ((self.x[i], labels) for i, labels in zip(rows, y, strict=True))

    def full(self) -> Batch:
        """All training samples of every seed: (S, N, ...), (S, N)."""
        return self.x[self.rows], self.y

    def order(self, s: int, epoch: int, B: int) -> Tensor:
        """The batches (N // B, B) of an epoch: a fresh permutation, the incomplete last batch dropped."""
        seed = int(stream(self.seeds[s], "order").integers(2**31))
        order = np.random.default_rng([seed, epoch]).permutation(self.n)
        return torch.from_numpy(order[: self.n // B * B].reshape(-1, B))


def corrupt(y: np.ndarray, rate: float, classes: int, generator: np.random.Generator) -> np.ndarray:
    """A copy of y in which exactly round(rate N) labels are replaced by uniformly drawn wrong ones."""
    y = y.copy()
    chosen = generator.permutation(len(y))[: round(rate * len(y))]
    y[chosen] = (y[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return y


def stack(problem: Problem, seeds: Sequence[int], device: torch.device) -> Stack:
    """Load, corrupt and initialise; DataError where the network does not fit the data."""
    data = load(problem.dataset, problem.data_hash, problem.scaling)
    n = problem.n_train or len(data.y_train)
    if n > len(data.y_train):
        raise DataError(f"n_train = {n}: {problem.dataset} has only {len(data.y_train)} training samples")
    x_train, y_train = data.x_train[:n], data.y_train[:n]
    if problem.imbalance != 1:
        kept = long_tail(y_train, problem.imbalance, data.classes)
        x_train, y_train = x_train[kept], y_train[kept]
        n = len(y_train)
    try:
        module = build(problem.network, x_train.shape[1:], data.classes)
    except ValueError as error:
        raise DataError(str(error)) from None
    starts, labels = [], []
    for seed in seeds:
        initialise(module, torch_stream(seed, "init"))
        starts.append(flatten(module))
        labels.append(corrupt(y_train, problem.label_noise, data.classes, stream(seed, "labels")))
    S = len(seeds)
    clean = torch.from_numpy(y_train).expand(S, n)
    return Stack(
        module.to(device), logits(module), losses_fn(module), tuple(seeds), torch.stack(starts).to(device),
        torch.from_numpy(x_train).to(device), torch.arange(n).expand(S, n).to(device),
        torch.from_numpy(np.stack(labels)).to(device), clean.to(device),
        (torch.from_numpy(data.x_test).to(device), torch.from_numpy(data.y_test).to(device)),
        data.classes,
    )  # fmt: skip
