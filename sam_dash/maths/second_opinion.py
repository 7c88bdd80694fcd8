"""PyHessian (Yao et al., arXiv:1912.07145) as a second opinion, with a fixed budget and an error.

Version 0.1 stops `trace` when two running means happen to agree, or when one is negative (never at tol = -inf), and
power iteration when an eigenvalue stops moving (never at tol = 0). It finds the eigenvalue of largest *modulus*, which
can be negative early in training.
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.flat import PerSample
from sam_dash.maths.oracle import Batch


def trace(module: nn.Module, loss: PerSample, w: Tensor, batch: Batch, *, probes: int = 100, seed: int = 0) -> Estimate:
    """tr(H) by PyHessian's Hutchinson estimator with `probes` probes, and the standard error of their mean."""
    with _hessian(module, loss, w, batch, seed) as hessian:
        samples = torch.tensor([float(t) for t in hessian.trace(maxIter=probes, tol=-math.inf)])
    return Estimate.of_mean(samples, "PyHessian trace, no early stop")


def top_eigenvalue(
    module: nn.Module, loss: PerSample, w: Tensor, batch: Batch, *, iterations: int = 100, tol: float = 1e-2,
    seed: int = 0,
) -> Estimate:  # fmt: skip
    """lambda of largest modulus by PyHessian's power iteration; `stderr` is its residual ||H v - lambda v||."""
    from pyhessian.utils import hessian_vector_product

    with _hessian(module, loss, w, batch, seed) as hessian:
        values, vectors = hessian.eigenvalues(maxIter=iterations, tol=0, top_n=1)
        product = hessian_vector_product(hessian.gradsH, hessian.params, vectors[0])
        gap = [hv - values[0] * v for hv, v in zip(product, vectors[0], strict=True)]
        residual = float(torch.cat([g.reshape(-1) for g in gap]).norm())
    relative = residual / max(abs(values[0]), 1e-30)
    method = "PyHessian power iteration, no early stop; error: residual bound"
    return Estimate(float(values[0]), residual, method, iterations, relative, relative <= tol)


def density(*_: object, **__: object) -> None:
    """Raise: PyHessian 0.1 calls torch.eig, which torch 2 has removed."""
    raise NotImplementedError(
        "PyHessian 0.1's density() needs torch.eig, which torch >= 2 no longer has; use its trace and top eigenvalue"
    )


@contextlib.contextmanager
def _hessian(module: nn.Module, loss: PerSample, w: Tensor, batch: Batch, seed: int) -> Iterator[Any]:
    """PyHessian's object for a copy of `module` at w; it draws from a generator of its own and leaves no cycle."""
    from pyhessian import hessian

    module = copy.deepcopy(module).to(w.device, w.dtype)
    nn.utils.vector_to_parameters(w, [p for p in module.parameters() if p.requires_grad])
    with torch.random.fork_rng([w.device] if w.is_cuda else []), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True", UserWarning)
        torch.manual_seed(seed)
        yield hessian(module, lambda out, y: loss(out, y).mean(), data=batch, cuda=w.is_cuda)
    module.zero_grad(set_to_none=True)
