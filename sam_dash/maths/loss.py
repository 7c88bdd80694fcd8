"""The loss l(o, y) of one sample's outputs o (C,), and all that is asked of it.

Each loss here is the negative log-likelihood of an exponential family in its natural parameters o, times a constant a:
with mu(o) the mean that o predicts and t(y) the labels as numbers,

    dl/do = a (mu(o) - t(y))          d^2l/do^2 = a dmu/do = sum_k c_k r_k r_k^T

so that the second derivative does not depend on y, is positive semi-definite, and with the Jacobian J of the outputs
makes the Gauss-Newton matrix J^T (d^2l/do^2) J (Martens, JMLR 2020, arXiv:1412.1193, sections 8 and 9):

    cross-entropy              mu = softmax(o)   a = 1     sum_c p_c (e_c - p)(e_c - p)^T
    mean squared error         mu = o            a = 2/C   sum_c 2/C e_c e_c^T
    binary cross-entropy       mu = sigmoid(o)   a = 1/C   sum_c p_c (1 - p_c)/C e_c e_c^T

The last two are means over the C outputs, as torch has them. Nothing else in this package knows which loss it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Score(NamedTuple):
    """A score: `values(outputs, y) -> (n,)`, the part of each sample in it, and the score `of` their mean.

    `key` names it among quantities: "acc", a share of 1; "score_NAME", of which more is better; "error_NAME", less.
    """

    key: str
    values: Callable[[Tensor, Tensor], Tensor]
    of: Callable[[float], float] = float


class Loss(ABC):
    """A loss of outputs (..., C), sample by sample, with the score that is shown beside it.

    `key` is its name in `LOSSES`; `score_key` that of its `Score`; `labels` says which labels it takes.
    """

    key: str
    title: str
    score_key: str
    labels: str

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """The loss of every sample: outputs (..., C) and labels (...) or (..., C) -> (...)."""
        return self.values(out, y)

    @abstractmethod
    def values(self, out: Tensor, y: Tensor) -> Tensor:
        """The loss of every sample: outputs (..., C) and labels (...) or (..., C) -> (...)."""

    @abstractmethod
    def targets(self, y: Tensor, like: Tensor) -> Tensor:
        """Labels as numbers t(y) (..., C), of the shape and kind of the outputs `like`."""

    @abstractmethod
    def error(self, out: Tensor, targets: Tensor) -> Tensor:
        """dl/do = a (mu(o) - t) of every sample, a new tensor (..., C)."""

    @abstractmethod
    def mean(self, out: Tensor) -> Tensor:
        """mu(o), the mean that the outputs predict (..., C)."""

    @abstractmethod
    def curved(self, mean: Tensor, u: Tensor) -> Tensor:
        """(d^2l/do^2) u as a new tensor (..., C), from mu(o) and a direction u of the outputs."""

    @abstractmethod
    def factors(self, mean: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """c_k (...) and r_k (..., C) with d^2l/do^2 = sum_k c_k r_k r_k^T, from mu(o)."""

    @abstractmethod
    def score(self, out: Tensor, y: Tensor) -> Tensor:
        """The part of each sample in the score (...), which is `score_of` their mean."""

    def score_of(self, mean: float) -> float:
        """The score from the mean of `score` over the samples."""
        return mean

    @property
    def shown(self) -> Score:
        """The score that is shown beside the loss."""
        return Score(self.score_key, self.score, self.score_of)

    @abstractmethod
    def check(self, out: Tensor, y: Tensor) -> None:
        """Raise ValueError unless y are labels for outputs (n, C) or, with any first dimension, (..., C)."""

    def _refuse(self, y: Tensor, C: int, why: str) -> None:
        raise ValueError(f"the {self.title} takes {self.labels} (C = {C} outputs); y is {_told(y)}: {why}")


class CrossEntropy(Loss):
    """-log softmax(o)_y, for class labels y."""

    key, title = "cross_entropy", "cross-entropy"
    score_key = "acc"
    labels = "class labels y (n,) of dtype int64 with 0 <= y < C"

    def values(self, out: Tensor, y: Tensor) -> Tensor:
        if out.ndim == 2:
            return F.cross_entropy(out, y, reduction="none")
        return F.cross_entropy(out.flatten(0, -2), y.flatten(), reduction="none").view(y.shape)

    def targets(self, y: Tensor, like: Tensor) -> Tensor:
        return torch.zeros_like(like).scatter_(-1, y.unsqueeze(-1), 1.0)

    def error(self, out: Tensor, targets: Tensor) -> Tensor:
        return out.softmax(-1).sub_(targets)

    def mean(self, out: Tensor) -> Tensor:
        return out.softmax(-1)

    def curved(self, mean: Tensor, u: Tensor) -> Tensor:
        along = mean * u
        return along.sub_(mean * along.sum(-1, keepdim=True))

    def factors(self, mean: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for c in range(mean.shape[-1]):
            r = mean.neg()
            r[..., c] += 1
            yield mean[..., c], r

    def score(self, out: Tensor, y: Tensor) -> Tensor:
        return out.argmax(-1) == y

    def check(self, out: Tensor, y: Tensor) -> None:
        C = out.shape[-1]
        if y.ndim != 1 or y.dtype != torch.int64:
            self._refuse(y, C, "expected whole numbers, one for each sample")
        if int(y.min()) < 0 or int(y.max()) >= C:
            self._refuse(y, C, f"its labels are from {int(y.min())} to {int(y.max())}; expected every label < C")


class _PerOutput(Loss):
    """A mean over the outputs, each with a label of its own: y (..., C), or (...) where C = 1."""

    def targets(self, y: Tensor, like: Tensor) -> Tensor:
        return y.to(like.dtype).view(like.shape)

    def factors(self, mean: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for c in range(mean.shape[-1]):
            r = torch.zeros_like(mean)
            r[..., c] = 1
            yield self.curved(mean, r)[..., c], r

    def check(self, out: Tensor, y: Tensor) -> None:
        C = out.shape[-1]
        if not y.is_floating_point():
            self._refuse(y, C, "expected floating-point numbers; y.float() makes them")
        if y.shape[1:] != (C,) and not (C == 1 and y.ndim == 1):
            self._refuse(y, C, f"expected the shape {(len(y), C)}{' or ' + str((len(y),)) if C == 1 else ''}")


class MeanSquaredError(_PerOutput):
    """mean_c (o_c - y_c)^2, for real numbers y."""

    key, title = "mse", "mean squared error"
    score_key = "error_RMSE"
    labels = "numbers y (n, C), or (n,) where C = 1, of a floating-point dtype"

    def values(self, out: Tensor, y: Tensor) -> Tensor:
        return (out - self.targets(y, out)).square().mean(-1)

    def error(self, out: Tensor, targets: Tensor) -> Tensor:
        return (out - targets).mul_(2 / out.shape[-1])

    def mean(self, out: Tensor) -> Tensor:
        return out

    def curved(self, mean: Tensor, u: Tensor) -> Tensor:
        return u * (2 / mean.shape[-1])

    def score(self, out: Tensor, y: Tensor) -> Tensor:
        return self.values(out, y)

    def score_of(self, mean: float) -> float:
        return mean**0.5


class BinaryCrossEntropy(_PerOutput):
    """mean_c -y_c log sigmoid(o_c) - (1 - y_c) log sigmoid(-o_c), for yes or no (or its probability) in each output."""

    key, title = "bce", "binary cross-entropy"
    score_key = "acc"
    labels = "numbers y in [0, 1], (n, C), or (n,) where C = 1, of a floating-point dtype"

    def values(self, out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, self.targets(y, out), reduction="none").mean(-1)

    def error(self, out: Tensor, targets: Tensor) -> Tensor:
        return out.sigmoid().sub_(targets).div_(out.shape[-1])

    def mean(self, out: Tensor) -> Tensor:
        return out.sigmoid()

    def curved(self, mean: Tensor, u: Tensor) -> Tensor:
        return u * (mean * (1 - mean) / mean.shape[-1])

    def score(self, out: Tensor, y: Tensor) -> Tensor:
        return ((out > 0) == (self.targets(y, out) > 0.5)).to(out.dtype).mean(-1)

    def check(self, out: Tensor, y: Tensor) -> None:
        super().check(out, y)
        if float(y.min()) < 0 or float(y.max()) > 1:
            self._refuse(y, out.shape[-1], f"its values are from {float(y.min()):g} to {float(y.max()):g}")


CROSS_ENTROPY = CrossEntropy()
LOSSES: dict[str, Loss] = {each.key: each for each in (CROSS_ENTROPY, MeanSquaredError(), BinaryCrossEntropy())}


def get(key: str) -> Loss:
    """The loss of that key in `LOSSES`; ValueError naming the known ones otherwise."""
    if key not in LOSSES:
        raise ValueError(f"unknown loss {key!r}; known: {', '.join(LOSSES)}")
    return LOSSES[key]


@dataclass(frozen=True)
class Averaged:
    """A loss of outputs that are not (n, C), each sample's the mean over what it has, and the score shown beside it."""

    values: Callable[[Tensor, Tensor], Tensor]
    shown: Score

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """(n, ...), (n, ...) -> (n,)."""
        return self.values(out, y)


def token_cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of sequences: logits (n, T, C) and token labels (n, T) -> (n,), each the mean over its tokens.

    The label -100 leaves a token out. Sequences weigh alike, however many tokens they have.
    """
    each = F.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
    seen = y != -100
    return (each * seen).sum(1) / seen.sum(1).clamp_min(1)


def _right(best: Tensor, y: Tensor) -> Tensor:
    """The share of labels (n, ...) that are the best, (n,); of those that are not left out by -100."""
    seen = (y != -100).flatten(1)
    return ((best == y).flatten(1) & seen).sum(1) / seen.sum(1).clamp_min(1)


SEQUENCES = {
    "token_cross_entropy": Averaged(token_cross_entropy, Score("acc", lambda out, y: _right(out.argmax(-1), y)))
}


def per_sample(of: Loss, out: Tensor) -> Averaged:
    """The loss of a sample whose outputs are not (n, C), as a mean over them: segmentation (n, C, ...) with labels
    (n, ...) for the cross-entropy, any shape otherwise.
    """
    if of is CROSS_ENTROPY:
        if out.ndim < 3:
            raise ValueError(f"the model returns {tuple(out.shape)}; the cross-entropy takes (n, C) or (n, C, ...)")
        return Averaged(
            lambda o, y: F.cross_entropy(o, y, reduction="none").flatten(1).mean(1),
            Score("acc", lambda o, y: _right(o.argmax(1), y)),
        )

    def flat(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda o, y: f(o.reshape(len(o), -1), y.reshape(len(y), -1))

    return Averaged(flat(of), Score(of.score_key, flat(of.score), of.score_of))


def _told(y: Tensor) -> str:
    return f"{tuple(y.shape)} {str(y.dtype).removeprefix('torch.')}"
