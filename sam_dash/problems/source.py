"""What a problem trains on, whichever place it is from: tensors, and a network for each seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam_dash.maths.flat import Layout, PerSample
from sam_dash.maths.loss import CROSS_ENTROPY, LOSSES, Score
from sam_dash.problems.architecture import inputs
from sam_dash.problems.arrays import DataError, arranged
from sam_dash.problems.datasets import load
from sam_dash.problems.networks import build, initialise
from sam_dash.problems.own import Own, open_own
from sam_dash.problems.problem import Problem
from sam_dash.problems.reading import Augment
from sam_dash.problems.streams import number, torch_stream


class Source(NamedTuple):
    """Tensors x (N, ...) and y (N, ...) on the CPU, the network of a seed, the loss and its score.

    `classes` is 0 where labels are none. `ours`: the network is one of `networks`. The networks of all seeds are the
    same but for their trained parameters.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    network: Callable[[int], nn.Module]
    loss: PerSample = CROSS_ENTROPY
    score: Score | None = CROSS_ENTROPY.shown
    augment: Augment | None = None
    ours: bool = True


def source(problem: Problem) -> Source:
    """The source of a problem; DataError where it cannot be had, or has changed since the problem was specified."""
    return of_file(open_own(problem.path, problem.data_hash)) if problem.is_file else built_in(problem)


def built_in(problem: Problem) -> Source:
    """A data set, or arrays of the user's own, with a network by its name."""
    data = load(problem.dataset, problem.data_hash, problem.scaling)
    shape, vocabulary = data.x_train.shape[1:], data.vocabulary
    try:
        module = build(problem.network, shape, data.outputs, vocabulary)
        as_taken = inputs(problem.network, shape, vocabulary)
    except ValueError as error:
        raise DataError(str(error)) from None

    def network(seed: int) -> nn.Module:
        initialise(module, torch_stream(seed, "init"))
        return module

    loss = CROSS_ENTROPY if data.classes else LOSSES["mse"]
    arrays = arranged(data.x_train, as_taken), data.y_train, arranged(data.x_test, as_taken), data.y_test
    x_train, y_train, x_test, y_test = map(torch.from_numpy, arrays)
    return Source(x_train, y_train, x_test, y_test, data.classes, network, loss, loss.shown)


def of_file(own: Own) -> Source:
    """A problem file's; its network is made under torch's generator of the seed's stream for initial weights."""
    first = own.network(number(0, "init"))

    def network(seed: int) -> nn.Module:
        module = own.network(number(seed, "init"))
        if Layout.of(module) != Layout.of(first):
            raise DataError(f"{own.path.name}: network() gives other parameters under seed {seed} than under seed 0")
        fixed = {name for name, a in _fixed(module).items() if not torch.equal(a, _fixed(first)[name])}
        if fixed:
            raise DataError(
                f"{own.path.name}: {min(fixed)!r}, which is not trained, differs between seeds: the runs of a study "
                "share what is not trained; draw it from a torch.Generator of its own"
            )
        return module

    return Source(
        own.x_train, own.y_train, own.x_test, own.y_test, own.classes, network, own.loss, own.score, own.augment,
        ours=False,
    )  # fmt: skip


def _fixed(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module that are not trained, by name."""
    frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
    return frozen | dict(module.named_buffers())
