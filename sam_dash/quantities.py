"""What `api.measure` measures of a model, a row a quantity."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sam_dash.maths import curvature, lanczos, second_opinion
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.lean import Lean
from sam_dash.maths.fast.measurer import Fast, Plain
from sam_dash.maths.flat import Layout, PerSample
from sam_dash.maths.noise import Noise
from sam_dash.runs.measures.density import PRODUCTS, STARTS, on_a_grid

Found = Mapping[str, Estimate]


class Counted(NamedTuple):
    """Products of Hessians, each told to `done`."""

    product: lanczos.Stacked
    done: Callable[[], None]

    def __call__(self, V: Tensor) -> Tensor:
        """V (S, k, d) -> the products (S, k, d)."""
        out = self.product(V)
        for _ in range(V.shape[1]):
            self.done()
        return out

    def take(self, runs: Sequence[int]) -> Counted:
        """The products of some of them."""
        return Counted(self.product.take(runs), self.done)


@dataclass(frozen=True)
class Measured:
    """A model at its parameters W (1, d), on `samples` (x, y) or a stream of them, as `way` takes them: `batch`.

    `product` is that of the Hessian, `lean` that of a large network, whose products are told to `done`; the rest are
    the arguments of `api.measure`.
    """

    model: nn.Module
    loss: PerSample
    samples: Any
    way: Plain
    W: Tensor
    batch: Any
    product: lanczos.Stacked
    m: Sequence[int]
    rho: float
    top: int
    seed: int
    probes: int
    iterations: int
    lean: Lean | None = None
    done: Callable[[], None] = lambda: None

    @property
    def w(self) -> Tensor:
        """The parameters (d,)."""
        return self.W[0]

    @property
    def one(self) -> curvature.HVP:
        """The product of the one run: V (k, d) -> (k, d)."""
        return lanczos.alone(self.product, 0)

    def generators(self) -> list[torch.Generator]:
        """New ones, so that a quantity does not depend on which others are asked for."""
        return [torch.Generator().manual_seed(self.seed)]

    def check(self, quantities: Sequence[str]) -> None:
        """ValueError where one needs second derivatives, and torch has them wrong."""
        first = {"tr_H", "layer_trace"} if self.exact_trace else set()
        if not any(ROWS[q].second and q not in first for q in quantities):
            return
        if self.lean:
            self.lean.check_symmetric(self.generators()[0])
        else:
            curvature.check_symmetric(self.one, self.w, self.generators()[0])

    @property
    def exact_trace(self) -> bool:
        """Whether tr(H) is exact and needs no product: of a large network only where its layers have factors."""
        return self.way.exact_trace and (self.lean is None or isinstance(self.way, Fast))

    @functools.cached_property
    def lean_traces(self) -> dict[str, Estimate]:
        """The traces of a large network and of its layers, from the same probes."""
        assert self.lean is not None
        return self.lean.trace_by_layer(self.generators()[0], self.probes, self.done)

    @functools.cached_property
    def noise(self) -> Noise:
        """All that is one pass over per-sample gradients."""
        sizes = tuple(dict.fromkeys((1, *self.m)))
        return self.way.noise(self.W, self.batch, m=sizes, generators=self.generators())[0]

    def eigenvalues(self, k: int) -> list[Estimate]:
        """The k largest."""
        if self.lean and k == 1:
            return [self.lean.top(self.generators()[0], iterations=self.iterations, done=self.done)]
        return lanczos.top_eigenvalues(self.one, self.w, self.generators()[0], k=k, iterations=self.iterations)

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels as PyHessian takes them."""
        x, y = self.samples if isinstance(self.samples, tuple) else (None, None)
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            raise ValueError("PyHessian takes inputs x and labels y that are tensors in memory")
        return x, y


class Row(NamedTuple):
    """How a quantity is found; whether it needs second derivatives, whether it is at every m only; and what it takes:
    Hessian-vector products at most, and gradients of all samples besides.
    """

    find: Callable[[Measured], Found]
    second: bool = True
    at_m: bool = False
    products: Callable[[Measured], int] = lambda of: 0
    gradients: Callable[[Measured], float] = lambda of: 0.0


def at(name: str, found: Mapping[Any, Estimate]) -> Found:
    """Several values of one quantity, such as one a layer: NAME@WHAT."""
    return {f"{name}@{what}": e for what, e in found.items()}


def tr_H(of: Measured) -> Found:
    """The trace of H."""
    if of.lean and not of.exact_trace:
        return {"tr_H": of.lean_traces[""]}
    return {"tr_H": of.way.trace(of.W, of.batch, of.generators(), of.product, of.probes, of.done)[0]}


def layer_trace(of: Measured) -> Found:
    """The trace of each layer's block of H."""
    if of.lean and not of.exact_trace:
        return at("layer_trace", {name: e for name, e in of.lean_traces.items() if name})
    return at("layer_trace", of.way.layer_traces(of.W, of.batch, of.generators(), of.product, of.probes, of.done)[0])


def tr_V(of: Measured) -> Found:
    """tr(V), and that of means of every m."""
    return {"tr_V" if size == 1 else f"tr_V@{size}": e for size, e in of.noise.by_m.items()}


def layer_noise(of: Measured) -> Found:
    """The part of each layer of tr(V)."""
    return at("layer_noise", dict(zip(Layout.of(of.model).sizes(), of.noise.by_layer, strict=True)))


def density(of: Measured) -> Found:
    """The spectral density of H at the points of a grid."""
    starts = curvature.gaussian(STARTS, of.w, of.generators()[0])
    return on_a_grid(lanczos.lanczos(of.one, starts, iterations=PRODUCTS))


def m_sharp(of: Measured) -> Found:
    """m-sharpness at every m."""
    return at("m_sharp", of.way.m_sharpness(of.W, of.batch, m=of.m, rho=of.rho, generators=of.generators())[0])


def batch_sharp(of: Measured) -> Found:
    """Batch sharpness at every m."""
    return at("batch_sharp", of.way.batch_sharpness(of.W, of.batch, m=of.m, generators=of.generators())[0])


def tr_H_pyhessian(of: Measured) -> Found:
    """PyHessian's trace."""
    found = second_opinion.trace(of.model, of.loss, of.w, of.tensors, probes=of.probes, seed=of.seed)
    return {"tr_H_pyhessian": found}


def lam_max_pyhessian(of: Measured) -> Found:
    """PyHessian's top eigenvalue."""
    found = second_opinion.top_eigenvalue(
        of.model, of.loss, of.w, of.tensors, iterations=of.iterations, seed=of.seed
    )  # fmt: skip
    return {"lam_max_pyhessian": found}


def probed(of: Measured) -> int:
    """The products of a trace."""
    return 0 if of.exact_trace else of.probes


def classes(of: Measured) -> float:
    """The gradients of an exact trace: about two thirds of one for each output."""
    return 0.7 * of.way.outputs if of.way.splits else 0.0


def per_m(price: float) -> Callable[[Measured], float]:
    """So many gradients for every m."""
    return lambda of: price * len(of.m)


ROWS = {
    "tr_H": Row(tr_H, products=probed, gradients=classes),
    "lam_max": Row(lambda of: {"lam_max": of.eigenvalues(1)[0]}, products=lambda of: of.iterations),
    "tr_V": Row(tr_V, second=False, gradients=lambda of: 8.4),
    "tr_H_pyhessian": Row(tr_H_pyhessian, gradients=lambda of: 4.0 * of.probes),
    "lam_max_pyhessian": Row(lam_max_pyhessian, gradients=lambda of: 4.0 * of.iterations),
    "asc_H": Row(lambda of: {"asc_H": of.way.ascent(of.W, of.batch, of.product)[0]}, products=lambda of: 1),
    "eigenvalues": Row(
        lambda of: at("eigenvalue", dict(enumerate(of.eigenvalues(of.top), 1))), products=lambda of: of.iterations
    ),
    "layer_trace": Row(layer_trace, products=probed, gradients=classes),
    "layer_noise": Row(layer_noise, second=False, gradients=lambda of: 8.4),
    "grad_sq": Row(lambda of: {"grad_sq": of.noise.grad_sq}, second=False, gradients=lambda of: 8.4),
    "m_sharp": Row(m_sharp, second=False, at_m=True, gradients=per_m(2.5)),
    "batch_sharp": Row(batch_sharp, at_m=True, gradients=per_m(6.0)),
    "critical_sharp": Row(
        lambda of: {"critical_sharp": of.way.critical_sharpness(of.W, of.batch)[0]}, second=False,
        gradients=lambda of: 8.0,
    ),
    "density": Row(density, products=lambda of: STARTS * PRODUCTS),
}  # fmt: skip
