"""What is measured on a run's clean (unperturbed) weights, as rows for the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from sam_dash.maths import curvature, lanczos, second_opinion, tail
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.measurer import Plain, measurer
from sam_dash.maths.flat import Layout
from sam_dash.maths.oracle import Batch
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import RunSpec, divisors

POINTS = 2000  # training points that curvature and noise are measured on, at most
SHARP_RHO = 0.05  # radius of the m-sharpness measured: the same for all runs, whatever they trained with
RUNS, NODES = 8, 40  # Lanczos runs and their length, for the spectral density
GRID, WIDTH = 101, 0.25  # points of the density; the Gaussian that smooths it, in asinh
CACHED = 2**20  # numbers that several runs measured at once may have in their layers' outputs: 4 MB in float32


Found = dict[str, Estimate]


def measure(problem: Stack, runs: Sequence[int], W: Tensor, spec: RunSpec) -> Iterator[list[Measurement]]:
    """The measurements that `spec.measures` asks for, at W (S, d), of the runs numbered `runs` (S of them), in order.

    On the first `POINTS` training samples of each. Perceptrons are measured several at once; what is found of a run
    does not depend, to rounding, on those beside it.
    """
    way = measurer(problem.module, problem.loss, problem.w0[0], problem.x[:1])
    size = together(problem, way, spec)
    groups = zip(torch.tensor(runs).split(size), W.split(size), strict=True)
    for group, w in groups:
        for found in _measure(problem, way, group.tolist(), w, spec):
            yield [_row(q, e) for q, e in found.items()]


def together(problem: Stack, way: Plain, spec: RunSpec) -> int:
    """How many runs to measure at once: on a CPU no more than its cache holds, beyond which one by one is faster."""
    if not way.stacked:
        return 1
    starts = RUNS if "density" in spec.measures.what else 1
    floats = max(min(problem.n, POINTS) * way.floats(problem.w0[:1], problem.x[None]), starts * problem.w0.shape[1])
    return max(1, (CACHED if problem.x.device.type == "cpu" else curvature.ELEMENTS) // floats)


def _measure(problem: Stack, way: Plain, runs: list[int], W: Tensor, spec: RunSpec) -> list[Found]:
    """Of runs measured at once, by quantity; of one run, where the network is no perceptron."""
    what = spec.measures.what
    batch = problem.x[problem.rows[runs, :POINTS]], problem.y[runs, :POINTS]
    generators = [torch_stream(problem.seeds[s], "probes") for s in runs]
    product = None
    if {"lam_max", "density", "ascent"} & set(what) or ("trace" in what and not way.exact_trace):
        product = way.hvp(W, batch)
    found: list[Found] = [{} for _ in runs]
    if "trace" in what:
        _add(found, "tr_H", way.trace(W, batch, generators, product))
    if "lam_max" in what and product:
        starts = torch.cat([curvature.gaussian(1, w, g) for w, g in zip(W, generators, strict=True)])
        _add(found, "lam_max", [top[0] for top in lanczos.each_top(product, starts)])
    sizes = [m for m in divisors(spec.training.batch) if 2 * m <= batch[1].shape[1]]
    if "noise" in what:
        for one, quantities in zip(found, gradient_noise(problem, way, W, batch, sizes, generators), strict=True):
            one |= quantities
    if "density" in what and product:
        for one, rows in zip(found, density(product, W, [problem.seeds[s] for s in runs]), strict=True):
            one |= rows
    if "pyhessian" in what:
        for one, s, w, x, y in zip(found, runs, W, *batch, strict=True):
            seed = problem.seeds[s]
            one["tr_H_pyhessian"] = second_opinion.trace(problem.module, problem.loss, w, (x, y), seed=seed)
            one["lam_max_pyhessian"] = second_opinion.top_eigenvalue(problem.module, problem.loss, w, (x, y), seed=seed)
    if "m_sharpness" in what:
        sharps = way.m_sharpness(W, batch, m=sizes, rho=SHARP_RHO, generators=generators)
        for one, sharp in zip(found, sharps, strict=True):
            one |= {f"m_sharp@{m}": estimate for m, estimate in sharp.items()}
    if "ascent" in what and product:
        orders = [torch_stream(problem.seeds[s], "probes") for s in runs]
        _add(found, "asc_H", way.ascent(W, batch, product))
        for one, along in zip(found, way.ascent_by_size(W, batch, m=sizes, generators=orders), strict=True):
            one |= {f"asc_H@{m}": estimate for m, estimate in along.items()}
    return found


def _add(found: list[Found], quantity: str, estimates: list[Estimate]) -> None:
    for one, estimate in zip(found, estimates, strict=True):
        one[quantity] = estimate


def weight_tail(norms: Tensor) -> list[Measurement]:
    """The tail index of the fluctuations of ||w|| (T,) of one run; nothing where there are too few steps for one."""
    with suppress(ValueError):
        return [_row("w_tail", tail.fluctuation(norms))]
    return []


def gradient_noise(
    problem: Stack, way: Plain, W: Tensor, batch: Batch, m: Sequence[int], generators: Sequence[torch.Generator]
) -> list[Found]:
    """tr(V) at every m and of every layer, the norm of the mean gradient, and the tail, for each run."""
    layout = Layout.of(problem.module)
    noises = way.noise(W, batch, m=m, generators=generators)
    out = []
    for of in noises:
        found = {"tr_V" if size == 1 else f"tr_V@{size}": estimate for size, estimate in of.by_m.items()}
        found |= {f"layer_noise@{name}": estimate for name, estimate in zip(layout.sizes(), of.by_layer, strict=True)}
        found["grad_sq"] = of.grad_sq
        with suppress(ValueError):  # no tail to fit: the row is left out
            found["tail"] = tail.hill(of.deviations)
        out.append(found)
    return out


def density(product: lanczos.Stacked, W: Tensor, seeds: Sequence[int]) -> list[Found]:
    """The spectral density of each H as one quantity a point of its grid, `density@EIGENVALUE`, each with its error.

    Stochastic Lanczos quadrature (Ghorbani et al., ICML 2019, arXiv:1901.10159): `RUNS` runs of `NODES` products from
    random starts. The grid is even in asinh(EIGENVALUE / c), c a hundredth of the largest modulus: the bulk at 0 and
    the outliers need different scales. The density is per unit of asinh, and its integral over that is 1.
    """
    streams = [torch_stream(seed, "density") for seed in seeds]
    starts = torch.cat([curvature.gaussian(RUNS, w, g) for w, g in zip(W, streams, strict=True)])
    S = len(W)
    found = lanczos.lanczos(lambda V: product(V.unflatten(0, (S, RUNS))).flatten(0, 1), starts, iterations=NODES)
    return [_density(lanczos.Spectrum(*one)) for one in zip(*(a.split(RUNS) for a in found), strict=True)]


def _density(spectrum: lanczos.Spectrum) -> Found:
    c = float(spectrum.nodes.abs().max()) / 100
    bent = spectrum._replace(nodes=(spectrum.nodes / c).asinh())
    low, high = float(bent.nodes.min()) - 3 * WIDTH, float(bent.nodes.max()) + 3 * WIDTH
    at = torch.linspace(low, high, GRID, dtype=torch.float64, device=bent.nodes.device)
    method = f"stochastic Lanczos quadrature, {RUNS} runs; per unit of asinh(x / {c:.4g}), smoothed by {WIDTH:g}"
    rows = zip((at.sinh() * c).tolist(), *(a.tolist() for a in bent.density(at, WIDTH)), strict=True)
    return {f"density@{x:.6g}": Estimate(value, error, method, RUNS * NODES) for x, value, error in rows}


def _row(quantity: str, e: Estimate) -> Measurement:
    return Measurement(0, 0.0, quantity, e.value, e.stderr, e.method, e.budget, e.residual, e.converged)
