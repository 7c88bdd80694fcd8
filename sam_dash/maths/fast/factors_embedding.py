"""Embeddings as `factors`: indices and deltas, where which of them meet stands for the products of one-hot rows; or,
where the table is small, the rows that they add up to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_dash.maths.fast.factors import Dense, Factor, in_groups, own_forward


@dataclass(frozen=True)
class Looked:
    """The rows that micro-batches add to a table of V: indices X (G, r) and deltas D (G, r, o), r looked up in each."""

    X: Tensor
    D: Tensor
    V: int

    def squares(self) -> Tensor:
        return (self.meets(self.X) * (self.D @ self.D.mT)).sum((1, 2))

    def meets(self, h: Tensor) -> Tensor:
        """Whether an index of h (G, s) is one of the micro-batch's: (G, s, r)."""
        return (h[:, :, None] == self.X[:, None]).to(self.D)

    def formed(self) -> Rows:
        """Its rows, added up into G tables."""
        G, _, o = self.D.shape
        at = (self.X + self.V * torch.arange(G, device=self.X.device)[:, None]).flatten()
        rows = self.D.new_zeros(G * self.V, o).index_add_(0, at, self.D.flatten(0, 1))
        return Rows(rows.view(G, self.V, o), None)

    def cheaper(self) -> Looked | Rows:
        """The form that takes less: products of r rows with each other, or passes over the table's."""
        return self if self.X.shape[1] ** 2 < 2 * self.V else self.formed()

    def dense(self) -> Tensor:
        return self.formed().dense()

    def total(self, scale: Tensor) -> Tensor:
        rows = (scale[:, None, None] * self.D).flatten(0, 1)
        return rows.new_zeros(self.V, rows.shape[1]).index_add_(0, self.X.flatten(), rows).flatten()

    def along(self, v: Tensor) -> Tensor:
        return (v.view(self.V, -1)[self.X] * self.D).sum((1, 2))

    def grouped(self, m: int) -> Looked | Rows:
        X, D = (in_groups(a, m).flatten(1, 2) for a in (self.X, self.D))
        return Looked(X, D, self.V).cheaper()

    def weighted(self, p: Tensor) -> Looked | Rows:
        D = (p[:, None, None] * self.D).flatten(0, 1)
        return Looked(self.X.flatten()[None], D[None], self.V).cheaper()

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out = own_forward(layer, h)
        extra = self.meets(h.view(len(self.X), -1)) @ (scale[:, None, None] * self.D)
        return out + extra.view(out.shape)


@dataclass(frozen=True)
class Rows(Dense):
    """The rows that each micro-batch adds to the table (G, V, o)."""

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        G, V, _ = self.weight.shape
        out, h = own_forward(layer, h), h.view(G, -1)
        at = h + V * torch.arange(G, device=h.device)[:, None]
        extra = scale[:, None, None] * F.embedding(at, self.weight.flatten(0, 1))
        return out + extra.view(out.shape)


def embedding(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """From indices X (n,) and deltas D (n, o), m of them in each micro-batch; the padding index has no gradient."""
    if layer.padding_idx is not None:
        D = D * (layer.padding_idx != X)[:, None]
    return Looked(X.view(-1, m), D.reshape(-1, m, D.shape[-1]), len(layer.weight)).cheaper()


def tokens(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """From indices X (n, ...) and deltas D (n, ..., o) of samples, m of them in each micro-batch."""
    return embedding(layer, X.flatten(), D.flatten(0, -2), m * X[0].numel())
