"""What is measured on a run's clean (unperturbed) weights, as rows for the store."""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from torch import Tensor

from sam_dash.maths import curvature, ghost, lanczos, m_sharpness, noise, scale, second_opinion, tail
from sam_dash.maths.chain import chain_or_none
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.flat import Layout, piecewise_linear
from sam_dash.maths.oracle import Batch
from sam_dash.maths.taps import NotFactoredError, Taps
from sam_dash.problems.problem import Problem
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import RunSpec, divisors

POINTS = 2000  # training points that curvature and noise are measured on, at most
SHARP_RHO = 0.05  # radius of the m-sharpness measured: the same for all runs, whatever they trained with
RUNS, NODES = 8, 40  # Lanczos runs and their length, for the spectral density
GRID, WIDTH = 101, 0.25  # points of the density; the Gaussian that smooths it, in asinh
MAX_CLASSES = 100  # above it, Hutchinson is cheaper than the exact tr(GGN)


def evaluate(problem: Stack, W: Tensor, spec: Problem) -> list[list[Measurement]]:
    """Of every run of the stack at W (S, d): mean loss and accuracy on its (noisy) training labels, the clean ones, and
    the test set; of a long-tailed problem also the test accuracy of every class, as `test_acc@class=3`.
    """
    x, y = problem.test
    S = len(W)
    every = torch.arange(len(y), device=y.device).expand(S, -1)
    train, _ = _scores(problem, W, problem.x, problem.rows, problem.y, problem.y_clean)
    test, right = _scores(problem, W, x, every, y.expand(S, -1), y.expand(S, -1))
    names = ["train_loss", "train_acc", "clean_train_acc", "test_loss", "test_acc"]
    budgets = [problem.n] * 3 + [len(y)] * 2
    columns = [train, test[:, :2]]
    if spec.imbalance != 1:
        sizes = y.bincount(minlength=problem.classes)
        there = sizes.nonzero().flatten()
        hits = torch.zeros(S, problem.classes, device=y.device).index_add(1, y, right.float())
        columns.append((hits[:, there] / sizes[there]).double())
        names += [f"test_acc@class={c}" for c in there.tolist()]
        budgets += sizes[there].tolist()
    return [
        [Measurement(0, 0.0, q, v, 0.0, "exact", n) for q, v, n in zip(names, row, budgets, strict=True)]
        for row in torch.cat(columns, 1).tolist()
    ]


@torch.no_grad()
def _scores(problem: Stack, W: Tensor, x: Tensor, rows: Tensor, y: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss, accuracy, and accuracy on the labels `clean`, (S, 3), on the samples `rows` (S, n) of x; and which of
    them are right (S, n).
    """
    chain = chain_or_none(problem.module)
    total = torch.zeros(len(W), 3, dtype=torch.float64, device=W.device)
    right = []
    for index, labels, true in zip(rows.split(4096, 1), y.split(4096, 1), clean.split(4096, 1), strict=True):
        if chain:
            out = chain.forward(W, x[index])[2]
        else:
            out = torch.stack([problem.logits(w, x[i]) for w, i in zip(W, index, strict=True)])
        losses = torch.nn.functional.cross_entropy(out.double().mT, labels, reduction="none")
        best = out.argmax(2)
        right.append(best == labels)
        total += torch.stack([losses.sum(1), right[-1].sum(1), (best == true).sum(1)], 1)
    return total / y.shape[1], torch.cat(right, 1)


def measure(problem: Stack, s: int, w: Tensor, spec: RunSpec) -> list[Measurement]:
    """The measurements that `spec.measures` asks for, on the first `POINTS` training samples of seed s."""
    what, batch = spec.measures.what, problem.train(s, POINTS)
    generator = torch_stream(problem.seeds[s], "probes")
    found: dict[str, Estimate] = {}
    taps = _taps(problem)
    exact = problem.classes <= MAX_CLASSES and piecewise_linear(problem.module)  # tr(H), without any product
    if {"lam_max", "density"} & set(what) or ("trace" in what and not exact):
        product = curvature.hvp(problem.losses, w, batch, chunk=chunk(taps, w, batch))
    if "trace" in what:
        found["tr_H"] = trace(problem, taps, w, batch, None if exact else product, generator)
    if "lam_max" in what:
        found["lam_max"] = lanczos.top_eigenvalues(product, w, generator)[0]
    sizes = [m for m in divisors(spec.training.batch) if 2 * m <= len(batch[1])]
    if "noise" in what:
        if taps:
            by_size, by_layer = ghost.tr_V_and_layers(taps, w, batch, m=sizes, generator=generator)
        else:
            by_size = noise.tr_V(problem.losses, w, batch, m=sizes, generator=generator)
            by_layer = noise.by_layer(problem.losses, w, batch, Layout.of(problem.module).sizes())
        for m, estimate in by_size.items():
            found["tr_V" if m == 1 else f"tr_V@{m}"] = estimate
        found |= {f"layer_noise@{name}": estimate for name, estimate in by_layer.items()}
        found["grad_sq"] = scale.grad_sq(problem.losses, w, batch, by_size[1].value)
        with suppress(ValueError):  # no tail to fit: the row is left out
            found["tail"] = tail.hill(tail.deviations(problem.losses, w, batch, taps))
    if "density" in what:
        found |= density(product, w, torch_stream(problem.seeds[s], "density"))
    if "pyhessian" in what:
        seed = problem.seeds[s]
        found["tr_H_pyhessian"] = second_opinion.trace(problem.module, w, batch, seed=seed)
        found["lam_max_pyhessian"] = second_opinion.top_eigenvalue(problem.module, w, batch, seed=seed)
    if "m_sharpness" in what:
        sharp = m_sharpness.m_sharpness(problem.losses, w, batch, m=sizes, rho=SHARP_RHO, generator=generator)
        found |= {f"m_sharp@{m}": estimate for m, estimate in sharp.items()}
    return [_row(q, e) for q, e in found.items()]


def trace(
    problem: Stack,
    taps: Taps | None,
    w: Tensor,
    batch: Batch,
    product: curvature.HVP | None,
    generator: torch.Generator,
) -> Estimate:
    """tr(H) the most exact way that the network allows; without a `product`, tr(GGN), which it then is."""
    if product and problem.classes > MAX_CLASSES:
        return curvature.trace(product, w, generator)
    ggn = ghost.ggn_trace(taps, w, batch) if taps else curvature.ggn_trace(problem.losses, problem.logits, w, batch)
    if product is None:
        return ggn
    return curvature.split_trace(product, curvature.ggn_vp(problem.logits, w, batch), ggn, w, generator)


def chunk(taps: Taps | None, w: Tensor, batch: Batch) -> int:
    """Samples to linearise at once: all, where each tensor of layer outputs then holds at most `ELEMENTS` floats."""
    floats = sum(map(math.prod, taps.output_shapes(w, batch[0][:1]))) if taps else curvature.ELEMENTS
    return len(batch[1]) if floats * len(batch[1]) <= curvature.ELEMENTS else 1024


def density(product: curvature.HVP, w: Tensor, generator: torch.Generator) -> dict[str, Estimate]:
    """The spectral density of H as one quantity a point of its grid, `density@EIGENVALUE`, each with its error.

    Stochastic Lanczos quadrature (Ghorbani et al., ICML 2019, arXiv:1901.10159): `RUNS` runs of `NODES` products from
    random starts. The grid is even in asinh(EIGENVALUE / c), c a hundredth of the largest modulus: the bulk at 0 and
    the outliers need different scales. The density is per unit of asinh, and its integral over that is 1.
    """
    spectrum = lanczos.lanczos(product, curvature.gaussian(RUNS, w, generator), iterations=NODES)
    c = float(spectrum.nodes.abs().max()) / 100
    bent = spectrum._replace(nodes=(spectrum.nodes / c).asinh())
    low, high = float(bent.nodes.min()) - 3 * WIDTH, float(bent.nodes.max()) + 3 * WIDTH
    at = torch.linspace(low, high, GRID, dtype=torch.float64, device=w.device)
    method = f"stochastic Lanczos quadrature, {RUNS} runs; per unit of asinh(x / {c:.4g}), smoothed by {WIDTH:g}"
    rows = zip((at.sinh() * c).tolist(), *(a.tolist() for a in bent.density(at, WIDTH)), strict=True)
    return {f"density@{x:.6g}": Estimate(value, error, method, RUNS * NODES) for x, value, error in rows}


def _taps(problem: Stack) -> Taps | None:
    """The module's taps, or None where a layer has no factors: then the plain measurements serve."""
    try:
        taps = Taps(problem.module)
        taps.output_shapes(problem.w0[0], problem.x[:1])
    except NotFactoredError:
        return None
    return taps


def _row(quantity: str, e: Estimate) -> Measurement:
    return Measurement(0, 0.0, quantity, e.value, e.stderr, e.method, e.budget, e.residual, e.converged)
