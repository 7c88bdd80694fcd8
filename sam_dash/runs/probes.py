"""What is measured on a run's clean (unperturbed) weights, as rows for the store."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from sam_dash.maths import curvature, ghost, m_sharpness, noise, scale, second_opinion, tail
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.factored import NotFactoredError, Taps
from sam_dash.maths.flat import piecewise_linear
from sam_dash.maths.oracle import Batch
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import RunSpec, divisors

POINTS = 2000  # training points that curvature and noise are measured on, at most
SHARP_RHO = 0.05  # radius of the m-sharpness measured: the same for all runs, whatever they trained with
MAX_CLASSES = 100  # above it, Hutchinson is cheaper than the exact tr(GGN)


def evaluate(problem: Stack, s: int, w: Tensor) -> list[Measurement]:
    """Mean loss and accuracy of seed s on its (noisy) training labels, the clean ones, and the test set."""
    x, y = problem.train(s)
    loss, right, clean = _score(problem, w, x, y, problem.y_clean[s])
    test_loss, test_right, _ = _score(problem, w, *problem.test, problem.test[1])
    values = {
        "train_loss": loss, "train_acc": right, "clean_train_acc": clean,
        "test_loss": test_loss, "test_acc": test_right,
    }  # fmt: skip
    budgets = {q: len(problem.test[1]) if q.startswith("test") else problem.n for q in values}
    return [Measurement(0, 0.0, q, v, 0.0, "exact", budgets[q]) for q, v in values.items()]


@torch.no_grad()
def _score(problem: Stack, w: Tensor, x: Tensor, y: Tensor, clean: Tensor) -> tuple[float, float, float]:
    loss, right, right_clean = 0.0, 0, 0
    for part, labels, true in zip(x.split(4096), y.split(4096), clean.split(4096), strict=True):
        out = problem.logits(w, part)
        loss += float(torch.nn.functional.cross_entropy(out.double(), labels, reduction="sum"))
        best = out.argmax(1)
        right += int((best == labels).sum())
        right_clean += int((best == true).sum())
    return loss / len(y), right / len(y), right_clean / len(y)


def measure(problem: Stack, s: int, w: Tensor, spec: RunSpec) -> list[Measurement]:
    """The measurements that `spec.measures` asks for, on the first `POINTS` training samples of seed s."""
    what, batch = spec.measures.what, problem.train(s, POINTS)
    generator = torch_stream(problem.seeds[s], "probes")
    found: dict[str, Estimate] = {}
    taps = _taps(problem)
    if {"trace", "lam_max"} & set(what):
        product = curvature.hvp(problem.losses, w, batch)
    if "trace" in what:
        found["tr_H"] = trace(problem, taps, w, batch, product, generator)
    if "lam_max" in what:
        found["lam_max"] = curvature.top_eigenvalues(product, w, generator)[0]
    sizes = [m for m in divisors(spec.training.batch) if 2 * m <= len(batch[1])]
    if "noise" in what:
        by_size = (
            ghost.tr_V(taps, w, batch, m=sizes, generator=generator)
            if taps
            else noise.tr_V(problem.losses, w, batch, m=sizes, generator=generator)
        )
        for m, estimate in by_size.items():
            found["tr_V" if m == 1 else f"tr_V@{m}"] = estimate
        found["grad_sq"] = scale.grad_sq(problem.losses, w, batch, by_size[1].value)
        with suppress(ValueError):  # no tail to fit: the row is left out
            found["tail"] = tail.hill(tail.deviations(problem.losses, w, batch, taps))
    if "pyhessian" in what:
        seed = problem.seeds[s]
        found["tr_H_pyhessian"] = second_opinion.trace(problem.module, w, batch, seed=seed)
        found["lam_max_pyhessian"] = second_opinion.top_eigenvalue(problem.module, w, batch, seed=seed)
    if "m_sharpness" in what:
        sharp = m_sharpness.m_sharpness(problem.losses, w, batch, m=sizes, rho=SHARP_RHO, generator=generator)
        found |= {f"m_sharp@{m}": estimate for m, estimate in sharp.items()}
    return [_row(q, e) for q, e in found.items()]


def trace(
    problem: Stack, taps: Taps | None, w: Tensor, batch: Batch, product: curvature.HVP, generator: torch.Generator
) -> Estimate:
    """tr(H) the most exact way that the network allows."""
    if problem.classes > MAX_CLASSES:
        return curvature.trace(product, w, generator)
    ggn = ghost.ggn_trace(taps, w, batch) if taps else curvature.ggn_trace(problem.losses, problem.logits, w, batch)
    if piecewise_linear(problem.module):
        return ggn
    return curvature.split_trace(product, curvature.ggn_vp(problem.logits, w, batch), ggn, w, generator)


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
