"""Lanczos runs with full re-orthogonalisation: top eigenvalues with residual bounds, and the spectral density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sam_dash.maths.curvature import ELEMENTS, HVP, gaussian
from sam_dash.maths.estimate import Estimate


class Spectrum(NamedTuple):
    """Ritz values of b Lanczos runs from random starts, after so many steps.

    `nodes`, their `weights` in the start vector (without a restart), and `residuals` (b, j).
    """

    nodes: Tensor
    weights: Tensor
    residuals: Tensor
    steps: int

    def split(self, size: int) -> list[Spectrum]:
        """The runs in parts of so many."""
        parts = zip(self.nodes.split(size), self.weights.split(size), self.residuals.split(size), strict=True)
        return [Spectrum(*part, self.steps) for part in parts]

    def top(self, k: int, tol: float, run: int = 0) -> list[Estimate]:
        """The k largest eigenvalues, from one run; `stderr` is the residual ||H v - theta v||.

        It bounds the distance to the nearest eigenvalue (Parlett, The Symmetric Eigenvalue Problem, theorem 4.5.1).
        """
        values, errors = (a[run, -k:].flip(0).tolist() for a in (self.nodes, self.residuals))
        method = "Lanczos, full re-orthogonalisation; error: residual bound"
        return [
            Estimate(v, e, method, self.steps, e / abs(v) if v else math.inf, e <= tol * abs(v))
            for v, e in zip(values, errors, strict=True)
        ]

    def density(self, at: Tensor, width: float) -> tuple[Tensor, Tensor]:
        """The spectral density at the points `at` (p,), smoothed by a Gaussian of that width, and its standard error.

        Stochastic Lanczos quadrature: the mean over the b runs of sum_j weight_j N(at; node_j, width^2) (Ghorbani et
        al., ICML 2019, arXiv:1901.10159). With b = 1 there is no error: nan.
        """
        z = (at[:, None] - self.nodes[:, None]) / width  # (b, p, j)
        each = ((-(z**2) / 2).exp() / (width * math.sqrt(2 * math.pi)) * self.weights[:, None]).sum(2)  # (b, p)
        b = len(each)
        return each.mean(0), each.std(0) / b**0.5 if b > 1 else torch.full_like(at, math.nan)


class Lanczos:
    """Lanczos runs from `starts` (b, d) in lock-step, with full re-orthogonalisation (twice is enough: Kahan)."""

    def __init__(self, starts: Tensor) -> None:
        self.room = (starts / starts.norm(dim=1, keepdim=True))[:, None]  # for vectors to come: doubled when it is full
        self.alphas: list[Tensor] = []
        self.betas: list[Tensor] = []
        self.steps = 0
        self.kept: tuple[Tensor, Tensor] | None = None  # of a restart: Ritz values (b, p), couplings to what follows

    @property
    def Q(self) -> Tensor:
        """The vectors that are kept (b, j, d)."""
        return self.room[:, : self._first + len(self.alphas) + 1]

    @property
    def _first(self) -> int:
        """The number of Ritz vectors that lead."""
        return 0 if self.kept is None else self.kept[0].shape[1]

    @property
    def last(self) -> Tensor:
        """The vectors (b, d) whose products are due."""
        return self.Q[:, -1]

    def advance(self, r: Tensor) -> None:
        """Take the products r (b, d) of the `last` vectors."""
        Q, alpha = self.Q, (self.last * r).sum(1)
        for _ in range(2):  # run by run: what is found of one does not depend on those beside it, to the last bit
            r = r - torch.stack([(q @ v) @ q for q, v in zip(Q, r, strict=True)])
        beta = r.norm(dim=1)
        self.alphas.append(alpha)
        self.betas.append(beta)
        self.steps += 1
        if Q.shape[1] == self.room.shape[1]:
            self.room = torch.cat([self.room, torch.empty_like(self.room)], 1)
        torch.div(r, beta[:, None], out=self.last)

    def spectrum(self) -> Spectrum:
        """The Ritz values, their weights and residuals after the iterations so far, none below rounding of products."""
        nodes, s = self._ritz()
        residuals = self.betas[-1][:, None].double() * s[:, -1].abs()
        rounding = torch.finfo(self.room.dtype).eps * nodes.abs().amax(1, keepdim=True)
        return Spectrum(nodes, s[:, 0].square(), torch.maximum(residuals, rounding), self.steps)

    def _ritz(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (b, j) and eigenvectors (b, j, j) of the projection of H on the vectors."""
        off = torch.stack(self.betas, 1)[:, :-1].double()
        T = torch.diag_embed(torch.stack(self.alphas, 1).double())
        T = T + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        if self.kept is not None:
            values, couplings = self.kept
            p = values.shape[1]
            T = torch.nn.functional.pad(T, (p, 0, p, 0))
            T[:, :p, :p] = torch.diag_embed(values)
            T[:, :p, p] = T[:, p, :p] = couplings
        nodes, s = torch.linalg.eigh(T)
        return nodes, s

    def restart(self, p: int) -> None:
        """Keep the p largest Ritz vectors and the last vector only (Wu & Simon, SIMAX 2000: thick restart)."""
        nodes, s = self._ritz()
        top = s[:, :, -p:]
        ritz = top.transpose(1, 2).to(self.room) @ self.Q[:, :-1]
        last = self.last.clone()
        self.kept = nodes[:, -p:], self.betas[-1][:, None].double() * top[:, -1]
        self.alphas, self.betas = [], []
        self.room[:, :p], self.room[:, p] = ritz, last

    def vectors(self, k: int, run: int) -> Tensor:
        """The Ritz vectors (k, d) of the k largest Ritz values of one run, the largest first."""
        top = self._ritz()[1][run, :, -k:].flip(1)
        return top.T.to(self.room) @ self.Q[run, :-1]

    def take(self, runs: Sequence[int]) -> None:
        """Go on with those runs only."""
        i = list(runs)
        self.kept = self.kept and (self.kept[0][i], self.kept[1][i])
        self.room, self.alphas, self.betas = self.room[i], [a[i] for a in self.alphas], [b[i] for b in self.betas]


def lanczos(product: HVP, starts: Tensor, *, iterations: int) -> Spectrum:
    """So many iterations from `starts` (b, d), or d: with random starts, the spectral density with its error."""
    runs = Lanczos(starts)
    while True:
        runs.advance(product(runs.last))
        if len(runs.betas) >= min(starts.shape[1], iterations) or not bool(runs.betas[-1].all()):
            return runs.spectrum()


def top_eigenvalues(
    product: HVP, like: Tensor, generator: torch.Generator, *, k: int = 1, tol: float = 1e-3, iterations: int = 100
) -> list[Estimate]:
    """The k largest eigenvalues of H by one Lanczos run; see `each_top`."""
    return each_top(OneByOne([product]), gaussian(1, like, generator), k=k, tol=tol, iterations=iterations)[0]


def top_pairs(
    product: HVP, like: Tensor, generator: torch.Generator, *, k: int = 1, tol: float = 1e-3, iterations: int = 100
) -> tuple[list[Estimate], Tensor]:
    """The eigenvalues of `top_eigenvalues` and their eigenvectors (k, d), of norm 1 and orthogonal to each other."""
    into = like.new_empty(1, k, like.numel())
    found = each_top(OneByOne([product]), gaussian(1, like, generator), k=k, tol=tol, iterations=iterations, into=into)
    return found[0], into[0]


class Stacked(Protocol):
    """The products of S Hessians, each with vectors of its own: V (S, k, d) -> (S, k, d)."""

    def __call__(self, V: Tensor) -> Tensor:
        """The products."""

    def take(self, runs: Sequence[int]) -> Stacked:
        """The products of some of them."""


class OneByOne(NamedTuple):
    """Hessians as a stack, by a product of each alone."""

    products: Sequence[HVP]

    def __call__(self, V: Tensor) -> Tensor:
        """V (S, k, d) -> the products (S, k, d)."""
        return torch.stack([product(v) for product, v in zip(self.products, V, strict=True)])

    def take(self, runs: Sequence[int]) -> OneByOne:
        """The stack of some of them."""
        return OneByOne([self.products[i] for i in runs])


def alone(product: Stacked, run: int) -> HVP:
    """The products of one of them, (k, d) -> (k, d)."""
    one = product.take([run])
    return lambda V: one(V[None])[0]


def each_top(
    product: Stacked,
    starts: Tensor,
    *,
    k: int = 1,
    tol: float = 1e-3,
    iterations: int = 100,
    into: Tensor | None = None,
) -> list[list[Estimate]]:
    """The k largest eigenvalues of each of S Hessians, from starts (S, d) in lock-step; see `Spectrum.top`.

    A run ends, and costs nothing any more, once its k largest Ritz pairs have residuals of at most `tol` |theta|, or
    after `iterations`. No more than `vectors(k, d)` of d numbers are kept of each run: then it starts again from its
    largest Ritz vectors. `into` (S, k, d) takes the eigenvectors.
    """
    S, d = starts.shape
    most = vectors(k, d)
    if not 1 <= k <= d:
        raise ValueError(f"k = {k}: expected between 1 and d = {d} eigenvalues")
    runs, going = Lanczos(starts), list(range(S))
    out: list[list[Estimate]] = [[] for _ in range(S)]
    while going:
        runs.advance(product(runs.last[:, None])[:, 0])
        found = runs.spectrum()
        j, goes_on = runs.steps, runs.betas[-1].tolist()
        left = []
        for i, s in enumerate(going):
            out[s] = found.top(k, tol, i)
            if goes_on[i] and j < min(d, iterations) and (j < k or not all(e.converged for e in out[s])):
                left.append(i)
            elif into is not None:
                into[s] = runs.vectors(k, i)
        if left and len(left) < len(going):
            product = product.take(left)
            runs.take(left)
        going = [going[i] for i in left]
        if going and runs.Q.shape[1] >= most:
            runs.restart(k + 5)
    return out


def vectors(k: int, d: int) -> int:
    """How many vectors of d numbers a run keeps for its k largest eigenvalues: `ELEMENTS` numbers, or 2k + 20."""
    return max(2 * k + 20, ELEMENTS // d)
