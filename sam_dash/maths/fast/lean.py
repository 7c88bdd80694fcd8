"""Hessian products, tr(H) and lambda_max of large networks in few vectors: the twins of `curvature` and `lanczos`.

Besides the weights there are, at any time, the vector, the sum that its product is added to, and the gradient of one
piece of the samples, freed before the second backward pass. Lanczos runs in two vectors, without re-orthogonalisation
(Paige, 1972): copies of a found eigenvalue appear, the largest is still right to its residual (Cullum & Willoughby,
1985). The pieces are as large as another copy of the weights allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge, saved_tensors_hooks

from sam_dash.maths.curvature import not_symmetric
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.flat import Layout, PerSample, of_parameters
from sam_dash.maths.oracle import Batch
from sam_dash.maths.samples import chunks, count, samples

LARGE = 2**22
"""Parameters above which `api.measure` goes this way: 22 Lanczos vectors of them are above 64 MB by far."""
PIECE = 2**16  # numbers that are drawn, or multiplied in double precision, at once
TWICE = 4  # what both backward passes keep, over what a forward pass keeps for one


class Lean:
    """The Hessian H of the mean loss of a module at its parameters, on samples or a stream of them."""

    def __init__(self, module: nn.Module, loss: PerSample, batch: Batch, chunk: int | None = None) -> None:
        self.layout, self.loss, self.batch, self.n = Layout.of(module), loss, batch, count(batch)
        self.outputs = of_parameters(module)
        self.named = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        self.like = next(iter(self.named.values()))
        self.chunk = chunk or self._chunk()

    def _mean(self, leaves: dict[str, Tensor], part: Any) -> Tensor:
        return self.loss(self.outputs(leaves, part[0]), part[1]).sum() / self.n

    def _leaves(self) -> dict[str, Tensor]:
        """The parameters as leaves of a graph, in the same memory."""
        return {name: p.detach().requires_grad_() for name, p in self.named.items()}

    def _chunk(self) -> int:
        """The samples of a piece: what is kept of them for two backward passes takes no more room than the weights."""
        own = {p.data_ptr() for p in self.named.values()}
        kept: dict[int, int] = {}

        def see(t: Tensor) -> Tensor:
            if t.data_ptr() not in own:
                kept[t.data_ptr()] = t.numel() * t.element_size()
            return t

        few = next(chunks(self.batch, 2))
        with saved_tensors_hooks(see, lambda t: t):
            held = self._mean(self._leaves(), few)
        del held
        room = self.like.element_size() * self.layout.d
        return max(1, min(1024, room * samples(few) // (TWICE * max(1, sum(kept.values())))))

    def add(self, v: Tensor, into: Tensor) -> None:
        """Add H v to `into`: both (d,)."""
        leaves = self._leaves()
        for p, part in zip(leaves.values(), self.layout.unflatten(into).values(), strict=True):
            p.grad = part  # added to in place
        V = self.layout.unflatten(v)
        for part in chunks(self.batch, self.chunk):
            with torch.enable_grad():
                mean = self._mean(leaves, part)
                found = torch.autograd.grad(mean, list(leaves.values()), create_graph=True, allow_unused=True)
            pairs = [
                (get_gradient_edge(g), V[name])
                for name, g in zip(leaves, found, strict=True)
                if g is not None and g.requires_grad
            ]
            del found, mean
            if pairs:
                edges, parts = zip(*pairs, strict=True)
                torch.autograd.backward(edges, parts, inputs=list(leaves.values()))

    def __call__(self, V: Tensor) -> Tensor:
        """V (k, d) -> the k products H v (k, d); see `curvature.hvp`."""
        out = torch.zeros_like(V)
        for v, into in zip(V, out, strict=True):
            self.add(v, into)
        return out

    def empty(self) -> Tensor:
        """A vector (d,), of what it was before."""
        return self.like.new_empty(self.layout.d)

    def check_symmetric(self, generator: torch.Generator) -> None:
        """See `curvature.check_symmetric`; of vectors of signs, drawn again where they are needed again."""
        u = generator.get_state()
        signs(self.empty(), generator)
        v = generator.get_state()
        found = []
        for first, second in ((u, v), (v, u)):
            generator.set_state(first)
            product = self.empty().zero_()
            self.add(signs(self.empty(), generator), product)
            generator.set_state(second)
            found.append((dot(product, signs(self.empty(), generator)), float(product.norm())))
        (there, scale), (back, other) = found
        not_symmetric(there, back, max(scale, other), self.like.dtype)

    def trace_by_layer(
        self, generator: torch.Generator, probes: int = 128, done: Callable[[], None] = lambda: None
    ) -> dict[str, Estimate]:
        """The traces of each layer's block of H, and that of H under ""; see `curvature.trace_by_layer`.

        `done` is called after each product.
        """
        if probes < 2:
            raise ValueError(f"probes = {probes}: expected at least 2, else there is no standard error")
        sizes = self.layout.sizes()
        rows, z, product = [], self.empty(), self.empty()
        for _ in range(probes):
            self.add(signs(z, generator), product.zero_())
            parts = zip(z.split(list(sizes.values())), product.split(list(sizes.values())), strict=True)
            rows.append([dot(a, b) for a, b in parts])
            done()
        table = torch.tensor(rows, dtype=torch.float64)
        columns = {"": table.sum(1), **dict(zip(sizes, table.T, strict=True))}
        return {name: Estimate.of_mean(x, "Hutchinson, Rademacher probes") for name, x in columns.items()}

    def top(
        self,
        generator: torch.Generator,
        tol: float = 1e-3,
        iterations: int = 100,
        done: Callable[[], None] = lambda: None,
    ) -> Estimate:
        """The largest eigenvalue by Lanczos in two vectors; see `lanczos.each_top`. `done`: after each product."""
        v, r = signs(self.empty(), generator), self.empty().zero_()
        v /= math.sqrt(self.layout.d)
        alphas: list[float] = []
        betas: list[float] = []
        while True:
            self.add(v, r)  # r was -beta times the vector before
            done()
            alphas.append(dot(v, r))
            r.sub_(v, alpha=alphas[-1])
            betas.append(math.sqrt(dot(r, r)))
            found = _largest(alphas, betas, tol)
            if found.converged or len(alphas) >= min(iterations, self.layout.d) or not betas[-1]:
                return found
            v, r = r.div_(betas[-1]), v.mul_(-betas[-1])


def _largest(alphas: Sequence[float], betas: Sequence[float], tol: float) -> Estimate:
    """The largest Ritz value of a tridiagonal matrix, with its residual."""
    T = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    off = torch.tensor(betas[:-1], dtype=torch.float64)
    nodes, s = torch.linalg.eigh(T + torch.diag(off, 1) + torch.diag(off, -1))
    value, error = float(nodes[-1]), betas[-1] * abs(float(s[-1, -1]))
    relative = error / abs(value) if value else math.inf
    method = "Lanczos in two vectors; error: residual bound"
    return Estimate(value, error, method, len(alphas), relative, error <= tol * abs(value))


def signs(into: Tensor, generator: torch.Generator) -> Tensor:
    """`into` (d,), filled with independent signs +-1, which are drawn on the CPU piece by piece."""
    for part in into.split(PIECE):
        part.copy_(torch.randint(0, 2, part.shape, generator=generator, dtype=torch.int8).mul_(2).sub_(1))
    return into


def dot(a: Tensor, b: Tensor) -> float:
    """a . b in double precision, piece by piece."""
    return float(sum(x.double() @ y.double() for x, y in zip(a.split(PIECE), b.split(PIECE), strict=True)))
