"""The library face, for people with their own network: one variant's gradient, and measurements with errors.

>>> from torch import nn, randn, randint
>>> model, x, y = nn.Linear(5, 3), randn(8, 5), randint(0, 3, (8,))
>>> step = gradient("sam", model, x, y, m=2, rho=0.1)
>>> step.h.shape, step.eps.shape
(torch.Size([18]), torch.Size([4, 18]))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash import variants
from sam_dash.maths.contract import Step
from sam_dash.maths.draws import draw
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.lean import LARGE, Lean
from sam_dash.maths.fast.measurer import Alone, Plain, measurer
from sam_dash.maths.flat import (
    Layout,
    PerSample,
    check_per_sample,
    check_samples,
    flatten,
    logits,
    losses_fn,
    refuse_not_finite,
)
from sam_dash.maths.kept import kept, stream
from sam_dash.maths.lanczos import OneByOne
from sam_dash.maths.loss import SEQUENCES, Loss, per_sample
from sam_dash.maths.loss import get as get_loss
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.samples import Stream, chunks, cut, samples
from sam_dash.quantities import ROWS, Counted, Measured

QUANTITIES = tuple(ROWS)
Progress = Callable[[str, int, int], None]


def gradient(
    variant: str,
    model: nn.Module,
    x: Any,
    y: Any,
    *,
    m: int | None = None,
    seed: int = 0,
    full: tuple[Any, Any] | None = None,
    loss: str | PerSample = "cross_entropy",
    **knobs: Any,
) -> Step:
    """One step of a variant on one batch at the model's present parameters: its first, t = 0.

    Args:
        variant: its key, as docs/variants.md lists them; the source of each is there too.
        model: any module whose outputs for a sample depend on that sample alone; it is not changed.
        x: inputs (B, ...), on the device of the model; or a dict of them (keyword arguments), or a tuple (arguments).
        y: labels, as the loss takes them: class labels (B,) int64 for the cross-entropy.
        m: samples in a micro-batch, a divisor of B: each m consecutive ones have a perturbation of their own. None: B.
        seed: draws a variant's noise.
        full: the whole training set (inputs, labels), which n-SAM and n-USAM need, and whose classes Focal-SAM counts
            (else the batch's).
        loss: as in `measure`; its mean over the samples is descended, without weight decay.
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
    with kept(model):
        w, of, _ = _start(model, loss, x, y)
        B = samples((x, y))
        m = B if m is None else m
        if isinstance(m, bool) or not isinstance(m, int) or m < 1 or B % m:
            raise ValueError(f"m = {m!r} does not divide the batch size B = {B}")
        if v.cost(**checked).full and full is None:
            raise ValueError(f"{v.title} perturbs along the full-data gradient: pass full=(x_all, y_all)")
        losses = losses_fn(model, of)
        drawn = draw(v, w, torch.Generator().manual_seed(seed))
        labels = y if full is None else full[1]
        known = isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()
        counts = torch.bincount(labels) if known else None
        whole = None if full is None else Oracle(losses, full, chunk=4096)
        L = Oracle(losses, (x, y), drawn, full=whole, counts=counts, layout=Layout.of(model))
        out = per_micro_batch(v.step, m)(L, w, v.init(w), **checked)
        return out._replace(info=dict(out.info))


def measure(
    model: nn.Module,
    x: Any,
    y: Any = None,
    quantities: Sequence[str] = ("tr_H", "lam_max", "tr_V"),
    *,
    loss: str | PerSample = "cross_entropy",
    m: Sequence[int] = (),
    rho: float = 0.05,
    top: int = 5,
    seed: int = 0,
    probes: int = 128,
    iterations: int = 100,
    progress: Progress | None = None,
) -> Mapping[str, Estimate]:
    """Sharpness and gradient noise of a mean loss at the model's present parameters, each with its error.

    Args:
        model: any module whose outputs for a sample depend on that sample alone, BatchNorm and dropout in eval mode;
            it is not changed. What is measured are the parameters that require a gradient.
        x: inputs (n, ...), on the device of the model; or a dict of them (the model's keyword arguments), or a tuple
            (its arguments). Without y: a loader of batches (x, y), or of dicts with "labels", which can be gone through
            more than once and then gives the same samples. It is streamed: sums are over all samples, and in memory
            are one batch, 64 MB of per-sample gradients and 64 MB, or 2k + 20, of Lanczos vectors. Of more than 4
            million parameters tr_H, layer_trace and lam_max take five vectors beside the model (`maths.fast.lean`).
        y: labels, as the loss takes them: class labels (n,) int64 for the cross-entropy.
        quantities: of `QUANTITIES`. tr_H, lam_max: trace and top eigenvalue of the Hessian H of the mean loss, without
            weight decay. eigenvalues: the `top` largest, eigenvalue@1 ... layer_trace: the trace of each layer's block
            of H, layer_trace@NAME. density: the spectral density, density@EIGENVALUE, per unit of asinh
            (`sam_dash.runs.measures.density`; it holds 8 x 41 vectors). tr_V: trace of the covariance of per-sample
            gradients, unbiased; tr_V@m of means of m; layer_noise@NAME of a layer. grad_sq: ||G||^2 without bias.
            m_sharp@m: m-sharpness, one ascent step of rho (`maths.m_sharpness`). asc_H: the curvature
            g^T H g / ||g||^2 along the gradient (Wen et al., arXiv:2211.05729), exact. batch_sharp@m: batch sharpness,
            mean_B g_B^T H_B g_B / mean_B ||g_B||^2 over micro-batches B of m (arXiv:2412.20553): the ratio of means,
            H_B that of B. critical_sharp: 2 / eta, the step eta along the gradient at which the loss is back
            (arXiv:2601.16979). tr_H_pyhessian, lam_max_pyhessian: PyHessian's second opinion (arXiv:1912.07145).
        loss: "cross_entropy" of outputs (n, C), or (n, C, ...) with labels (n, ...); "mse" or "bce" (with logits) of
            outputs of any shape; "token_cross_entropy" of logits (n, T, C), averaged over each sequence's tokens; or
            any function (outputs, y) -> (n,) of per-sample losses.
        m: micro-batch sizes. Those of a loader are cut from its batches: let it shuffle.
        rho: radius of m_sharp, in units of the parameters.
        top: how many eigenvalues.
        seed: draws probes, starts and micro-batches; a quantity does not depend on which others are asked for.
        probes: of Hutchinson's estimate, of tr_H less the GGN's trace where that is known; none where H is the GGN, as
            for a chain of linear, convolution, ReLU and pooling layers (`maths.curvature.ggn_trace`).
        iterations: the most that Lanczos (stopped at a relative residual of 10^-3) and power iteration take.
        progress: called with a quantity, how many of its Hessian-vector products are done, and how many it takes at
            most; an exception that it raises ends the call.

    Returns:
        An `Estimate` for each quantity: `.value`, and `.stderr`, a standard error or, where `.method` says so, a bound;
        0 where the value is exact. tr_V and H are in units of the loss and of the parameters: loss^2 / parameter^2 and
        loss / parameter^2. On a GPU float32 is float32, not TensorFloat-32.

    Raises:
        ValueError: for an unknown quantity or loss, labels that the loss does not take, NaN or infinity in the model,
            x or y, a model with BatchNorm or dropout in training mode, or whose outputs for a sample are not a function
            of its weights and that sample, or whose second derivatives torch has wrong; a loader whose passes differ.
    """
    numbers = {"rho": rho, "top": top, "seed": seed, "probes": probes, "iterations": iterations}
    with _ready(model, x, y, quantities, loss, m, numbers) as measured:
        now, done = "", 0

        def told() -> None:
            nonlocal done
            done += 1
            if progress:
                progress(now, done, ROWS[now].products(measured))

        measured.check(quantities)
        measured = replace(measured, product=Counted(measured.product, told), done=told) if progress else measured
        found: dict[str, Estimate] = {}
        for now in quantities:
            done = 0
            if progress:
                progress(now, 0, ROWS[now].products(measured))
            found |= ROWS[now].find(measured)
        return found


def price(
    model: nn.Module,
    x: Any,
    y: Any = None,
    quantities: Sequence[str] = ("tr_H", "lam_max", "tr_V"),
    *,
    loss: str | PerSample = "cross_entropy",
    m: Sequence[int] = (),
    probes: int = 128,
    iterations: int = 100,
) -> tuple[int, float]:
    """What `measure` would take: Hessian-vector products at most, and gradients of all samples besides.

    The arguments and what is raised are those of `measure`.
    """
    numbers = {"rho": 0.05, "top": 5, "seed": 0, "probes": probes, "iterations": iterations}
    with _ready(model, x, y, quantities, loss, m, numbers) as measured:
        rows = [ROWS[q] for q in quantities]
        return sum(row.products(measured) for row in rows), sum(row.gradients(measured) for row in rows)


@contextmanager
def _ready(
    model: nn.Module,
    x: Any,
    y: Any,
    quantities: Sequence[str],
    loss: str | PerSample,
    m: Sequence[int],
    numbers: Mapping[str, Any],
) -> Iterator[Measured]:
    """What is measured, of a model that is within left as it was; see `measure`."""
    unknown = [q for q in quantities if q not in QUANTITIES]
    if unknown:
        raise ValueError(f"unknown quantity {unknown[0]!r}; known: {', '.join(QUANTITIES)}")
    at_m = sorted(q for q in quantities if ROWS[q].at_m)
    if at_m and not m:
        raise ValueError(f"{at_m[0]} is measured at every m: pass m=(1, 8), say")
    with kept(model, x if y is None else None) as rewind:
        given: Any = (x, y) if y is not None else stream(x, next(model.parameters()).device, rewind)
        w, of, outputs = _start(model, loss, *(next(chunks(given, 2**30)) if y is None else given))
        if isinstance(given, Stream):
            _check_passes(model, of, w, given)
        way: Plain = Alone(model, of, outputs)
        batch = given
        if isinstance(of, Loss) and outputs and isinstance(x, Tensor) and isinstance(y, Tensor):
            batch, way = (x[None], y[None]), measurer(model, of, w, x)
        lean = Lean(model, of, given) if len(w) > LARGE else None
        product = OneByOne([lean]) if lean else way.hvp(w[None], batch)
        yield Measured(model, of, given, way, w[None], batch, product, m, lean=lean, **numbers)


def _start(model: nn.Module, loss: str | PerSample, x: Any, y: Any) -> tuple[Tensor, PerSample, int]:
    """The parameters w (d,), the loss, and the number C of outputs or 0, once all belong together."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("no parameter of the model requires a gradient: there is nothing to perturb or to measure")
    if isinstance(x, Tensor) and isinstance(y, Tensor) and (len(x) != len(y) or len(y) == 0):
        raise ValueError(f"x {tuple(x.shape)} and y {tuple(y.shape)}: expected as many labels as inputs, at least one")
    samples((x, y))
    named = SEQUENCES.get(loss) or get_loss(loss) if isinstance(loss, str) else loss
    refuse_not_finite(model, x, y)
    w = flatten(model)
    out = check_samples(logits(model), w, x)
    if isinstance(named, Loss):
        if not isinstance(out, Tensor):
            raise ValueError(f"the model returns {type(out).__name__}: pass a function (outputs, y) -> (n,) as loss")
        if out.ndim == 2:
            named.check(out, y)
            return w, named, out.shape[1]
        named = per_sample(named, out)
    few = cut((x, y), 32)[0]
    with torch.no_grad():
        check_per_sample(losses_fn(model, named)(w, few), samples(few))
    return w, named, 0


def _check_passes(model: nn.Module, loss: PerSample, w: Tensor, batch: Stream) -> None:
    """ValueError for a sample that is not finite, or where two passes over the loader give different losses."""
    losses, sums = losses_fn(model, loss), []
    for _ in range(2):
        total = 0.0
        for part in batch.passes():
            refuse_not_finite(model, *part)
            with torch.no_grad():
                total += float(losses(w, part).double().sum())
        sums.append(total)
    if abs(sums[0] - sums[1]) > 1e-4 * abs(sums[0]):
        raise ValueError(
            f"two passes over the loader give different losses ({sums[0]:.6g}, {sums[1]:.6g} in all): is there random "
            "augmentation? Measure on samples that stay the same"
        )
