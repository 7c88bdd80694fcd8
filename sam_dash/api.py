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
from sam_dash.maths.flat import Layout, check_samples, flatten, logits, losses_fn, piecewise_linear, refuse_not_finite
from sam_dash.maths.loss import Loss
from sam_dash.maths.loss import get as get_loss
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
    loss: str = "cross_entropy",
    **knobs: Any,
) -> Step:
    """One step of a variant on one batch at the model's present parameters: its first, t = 0.

    Args:
        variant: its key, as docs/variants.md lists them; the source of each is there too.
        model: any module whose outputs for a sample, (n, C), depend on that sample alone; it is not changed.
        x: inputs (B, ...), on the device of the model.
        y: labels, as the loss takes them: class labels (B,) int64 for the cross-entropy.
        m: samples in a micro-batch, a divisor of B: each m consecutive ones have a perturbation of their own. None: B.
        seed: draws a variant's noise.
        full: the whole training set (inputs, labels), which n-SAM and n-USAM need, and whose classes Focal-SAM counts
            (else the batch's).
        loss: a key of `sam_dash.maths.loss.LOSSES`, "cross_entropy", "mse" or "bce"; its mean over the samples is
            descended, without weight decay.
        **knobs: those of the variant; the others are at their defaults.

    Returns:
        A `Step`. `.h` (d,) is the gradient for your optimiser, in the order of `parameters_to_vector` over the
        parameters that require a gradient; `.eps` (B/m, d) are the perturbations of the micro-batches, in the units of
        the parameters; `.g` (d,) the mean gradient at w that they were made from; `.info` the variant's scalars.

    Raises:
        ValueError: for an unknown variant, knob or loss, an m that does not divide B, labels that the loss does not
            take, NaN or infinity in the model, x or y, a model with BatchNorm or dropout in training mode, or one whose
            outputs for a sample are not a function of its weights and that sample.
    """
    v = variants.get(variant)
    checked = v.check(knobs)
    of = get_loss(loss)
    w, B = _start(model, of, x, y), len(y)
    m = B if m is None else m
    if isinstance(m, bool) or not isinstance(m, int) or m < 1 or B % m:
        raise ValueError(f"m = {m!r} does not divide the batch size B = {B}")
    if v.cost(**checked).full and full is None:
        raise ValueError(f"{v.title} perturbs along the full-data gradient: pass full=(x_all, y_all)")
    losses = losses_fn(model, of)
    drawn = draw(v, w, torch.Generator().manual_seed(seed))
    labels = y if full is None else full[1]
    counts = None if labels.is_floating_point() else torch.bincount(labels)
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
    loss: str = "cross_entropy",
    seed: int = 0,
    probes: int = 128,
    iterations: int = 100,
) -> Mapping[str, Estimate]:
    """Sharpness and gradient noise of a mean loss at the model's present parameters, each with its error.

    Args:
        model: any module whose outputs for a sample, (n, C), depend on that sample alone; it is not changed.
        x: inputs (n, ...), on the device of the model.
        y: labels, as the loss takes them: class labels (n,) int64 for the cross-entropy.
        quantities: of `QUANTITIES`. tr_H, lam_max: trace and top eigenvalue of the Hessian H of the mean loss, without
            weight decay, over the parameters that require a gradient. tr_V: trace of the covariance of per-sample
            gradients, unbiased. asc_H: the curvature g^T H g / ||g||^2 along the gradient (Wen et al.,
            arXiv:2211.05729), exact. tr_H_pyhessian, lam_max_pyhessian: PyHessian's second opinion (Yao et al.,
            arXiv:1912.07145).
        loss: a key of `sam_dash.maths.loss.LOSSES`: "cross_entropy", "mse" or "bce".
        seed: draws probes and starts; a quantity does not depend on which others are asked for.
        probes: of Hutchinson's estimate of tr_H, which is exact, and takes none, for a chain of linear, convolution,
            ReLU and pooling layers (`maths.curvature.ggn_trace`).
        iterations: the most that Lanczos (lam_max; stopped at a relative residual of 10^-3) and power iteration take.

    Returns:
        An `Estimate` for each quantity: `.value`, and `.stderr`, a standard error or, where `.method` says so, a bound;
        0 where the value is exact. tr_V and H are in units of the loss and of the parameters: loss^2 / parameter^2 and
        loss / parameter^2. On a GPU float32 is float32, not TensorFloat-32.

    Raises:
        ValueError: for an unknown quantity or loss, labels that the loss does not take, NaN or infinity in the model,
            x or y, a model with BatchNorm or dropout in training mode, or whose outputs for a sample are not a function
            of its weights and that sample, or whose second derivatives torch has wrong.
    """
    unknown = [q for q in quantities if q not in QUANTITIES]
    if unknown:
        raise ValueError(f"unknown quantity {unknown[0]!r}; known: {', '.join(QUANTITIES)}")
    of = get_loss(loss)
    w, losses, outputs = _start(model, of, x, y), losses_fn(model, of), logits(model)
    batch = (x, y)
    product = curvature.hvp(losses, w, batch)

    def generator() -> torch.Generator:  # each quantity its own, so that none depends on which others are asked for
        return torch.Generator().manual_seed(seed)

    def tr_H() -> Estimate:
        if piecewise_linear(model):
            return curvature.ggn_trace(of, outputs, w, batch)
        return curvature.trace(product, w, generator(), probes=probes)

    ways = {
        "tr_H": tr_H,
        "lam_max": lambda: lanczos.top_eigenvalues(product, w, generator(), iterations=iterations)[0],
        "tr_V": lambda: noise.tr_V(losses, w, batch)[1],
        "tr_H_pyhessian": lambda: second_opinion.trace(model, of, w, batch, probes=probes, seed=seed),
        "lam_max_pyhessian": lambda: second_opinion.top_eigenvalue(
            model, of, w, batch, iterations=iterations, seed=seed
        ),
        "asc_H": lambda: ascent.ascent(losses, w, batch, product),
    }
    exact = {"tr_V"} | ({"tr_H"} if piecewise_linear(model) else set())
    with float32():
        if set(quantities) - exact:
            curvature.check_symmetric(product, w, generator())
        return {q: ways[q]() for q in quantities}


def _start(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    """The parameters w (d,), after checking that model, loss, x and y belong together."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("no parameter of the model requires a gradient: there is nothing to perturb or to measure")
    if len(x) != len(y) or len(y) == 0:
        raise ValueError(f"x {tuple(x.shape)} and y {tuple(y.shape)}: expected as many labels as inputs, at least one")
    refuse_not_finite(model, x, y)
    w = flatten(model)
    loss.check(check_samples(logits(model), w, x), y)
    return w
