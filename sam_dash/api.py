"""The library face, for people with their own network: one variant's gradient, and measurements with errors.

>>> from torch import nn, randn, randint
>>> model, x, y = nn.Linear(5, 3), randn(8, 5), randint(0, 3, (8,))
>>> step = gradient("sam", model, x, y, m=2, rho=0.1)
>>> step.h.shape, step.eps.shape
(torch.Size([18]), torch.Size([4, 18]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash import variants
from sam_dash.maths import ascent, curvature, lanczos, noise, second_opinion
from sam_dash.maths.contract import Step
from sam_dash.maths.draws import draw
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.flat import Layout, cross_entropies, flatten, logits, piecewise_linear
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.precision import float32

QUANTITIES = ("tr_H", "lam_max", "tr_V", "tr_H_pyhessian", "lam_max_pyhessian", "asc_H")


def gradient(
    variant: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    m: int | None = None,
    seed: int = 0,
    full: tuple[Tensor, Tensor] | None = None,
    **knobs: Any,
) -> Step:
    """One step of a variant on the batch x (B, ...), y (B,) at the model's present parameters.

    Returns a `Step`: `.h` (d,) is the gradient for your optimiser, in the order of `parameters_to_vector`; `.eps`
    (B/m, d) are the perturbations of the micro-batches of m consecutive samples (one of B if m is None). The loss is
    the mean cross-entropy, without weight decay. `full` is the whole training set, which n-SAM and n-USAM need,
    and whose classes Focal-SAM counts (else the batch's); `seed` draws a variant's noise. It is the first step, t = 0.
    The model is not changed. ValueError for arguments that make no sense.
    """
    v = variants.get(variant)
    checked = v.check(knobs)
    w, B = _start(model, x, y), len(y)
    m = B if m is None else m
    if isinstance(m, bool) or not isinstance(m, int) or m < 1 or B % m:
        raise ValueError(f"m = {m!r} does not divide the batch size B = {B}")
    if v.cost(**checked).full and full is None:
        raise ValueError(f"{v.title} perturbs along the full-data gradient: pass full=(x_all, y_all)")
    losses = cross_entropies(model)
    drawn = draw(v, w, torch.Generator().manual_seed(seed))
    counts = torch.bincount(y if full is None else full[1])
    whole = None if full is None else Oracle(losses, full, chunk=4096)
    step = per_micro_batch(v.step, m)
    L = Oracle(losses, (x, y), drawn, full=whole, counts=counts, layout=Layout.of(model))
    out = step(L, w, v.init(w), **checked)
    return out._replace(info=dict(out.info))


def measure(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    quantities: Sequence[str] = ("tr_H", "lam_max", "tr_V"),
    *,
    seed: int = 0,
    probes: int = 128,
    iterations: int = 100,
) -> Mapping[str, Estimate]:
    """Sharpness and gradient noise of the mean cross-entropy over x (n, ...), y (n,), each with its error.

    tr_H, lam_max: trace and top eigenvalue of the Hessian; tr_V: trace of the covariance of per-sample gradients;
    tr_H_pyhessian, lam_max_pyhessian: PyHessian's second opinion; asc_H: the curvature g^T H g / ||g||^2 of the loss
    along its gradient (Wen et al., arXiv:2211.05729), exact. tr_H is exact for a chain of linear, convolution,
    ReLU and pooling layers, else Hutchinson's estimate from `probes` probes. `iterations` bounds Lanczos and power
    iteration. On a GPU float32 is float32, not TensorFloat-32. ValueError for an unknown quantity or a model with
    BatchNorm or dropout.
    """
    unknown = [q for q in quantities if q not in QUANTITIES]
    if unknown:
        raise ValueError(f"unknown quantity {unknown[0]!r}; known: {', '.join(QUANTITIES)}")
    w, losses, outputs = _start(model, x, y), cross_entropies(model), logits(model)
    batch = (x, y)
    product = curvature.hvp(losses, w, batch)

    def generator() -> torch.Generator:  # each quantity its own, so that none depends on which others are asked for
        return torch.Generator().manual_seed(seed)

    def tr_H() -> Estimate:
        if piecewise_linear(model):
            return curvature.ggn_trace(losses, outputs, w, batch)
        return curvature.trace(product, w, generator(), probes=probes)

    ways = {
        "tr_H": tr_H,
        "lam_max": lambda: lanczos.top_eigenvalues(product, w, generator(), iterations=iterations)[0],
        "tr_V": lambda: noise.tr_V(losses, w, batch)[1],
        "tr_H_pyhessian": lambda: second_opinion.trace(model, w, batch, probes=probes, seed=seed),
        "lam_max_pyhessian": lambda: second_opinion.top_eigenvalue(model, w, batch, iterations=iterations, seed=seed),
        "asc_H": lambda: ascent.ascent(losses, w, batch, product),
    }
    with float32():
        return {q: ways[q]() for q in quantities}


def _start(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The parameters w (d,), after checking that model, x and y belong together."""
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        raise ValueError(f"parameter {frozen[0]!r} does not require a gradient; all parameters are perturbed")
    if y.ndim != 1 or len(x) != len(y) or len(y) == 0 or y.dtype != torch.int64:
        raise ValueError(
            f"expected x (n, ...) and class labels y (n,) of dtype int64, got {tuple(x.shape)} and "
            f"{tuple(y.shape)} {y.dtype}"
        )
    w = flatten(model)
    with torch.no_grad():
        out = logits(model)(w, x[:1])
    if out.ndim != 2 or int(y.min()) < 0 or int(y.max()) >= out.shape[1]:
        raise ValueError(f"the model returns {tuple(out.shape)} for one sample; expected (1, C) with every label < C")
    return w
