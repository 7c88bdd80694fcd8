"""Embeddings as `factors`: indices and deltas; which of them meet stands for the products of one-hot rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from sam_dash.maths.fast.factors import Factor, in_groups, own_forward


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

    def dense(self) -> Tensor:
        G, _, o = self.D.shape
        at = self.X[:, :, None].expand_as(self.D)
        return self.D.new_zeros(G, self.V, o).scatter_add_(1, at, self.D).flatten(1)

    def total(self, scale: Tensor) -> Tensor:
        rows = (scale[:, None, None] * self.D).flatten(0, 1)
        return rows.new_zeros(self.V, rows.shape[1]).index_add_(0, self.X.flatten(), rows).flatten()

    def along(self, v: Tensor) -> Tensor:
        return (v.view(self.V, -1)[self.X] * self.D).sum((1, 2))

    def grouped(self, m: int) -> Self:
        X, D = (in_groups(a, m).flatten(1, 2) for a in (self.X, self.D))
        return type(self)(X, D, self.V)

    def weighted(self, p: Tensor) -> Self:
        return type(self)(self.X.flatten()[None], (p[:, None, None] * self.D).flatten(0, 1)[None], self.V)

    def perturbed(self, layer: Any, h: Tensor, scale: Tensor) -> Tensor:
        out = own_forward(layer, h)
        extra = self.meets(h.view(len(self.X), -1)) @ (scale[:, None, None] * self.D)
        return out + extra.view(out.shape)


def embedding(layer: Any, X: Tensor, D: Tensor, m: int) -> Factor:
    """From indices X (n,) and deltas D (n, o), m of them in each micro-batch; the padding index has no gradient."""
    if layer.padding_idx is not None:
        D = D * (layer.padding_idx != X)[:, None]
    return Looked(X.view(-1, m), D.reshape(-1, m, D.shape[-1]), len(layer.weight))
