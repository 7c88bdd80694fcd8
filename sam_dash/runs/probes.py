"""What is measured on a run's clean (unperturbed) weights, as rows for the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from sam_dash.maths import ascent, curvature, lanczos, m_sharpness, second_opinion, tail
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast import m_sharpness as moved
from sam_dash.maths.fast import noise as ghost
from sam_dash.maths.fast import passes
from sam_dash.maths.fast.curvature import Hessian
from sam_dash.maths.flat import Layout, piecewise_linear
from sam_dash.maths.oracle import Batch
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import RunSpec, divisors

POINTS = 2000  # training points that curvature and noise are measured on, at most
SHARP_RHO = 0.05  # radius of the m-sharpness measured: the same for all runs, whatever they trained with
RUNS, NODES = 8, 40  # Lanczos runs and their length, for the spectral density
GRID, WIDTH = 101, 0.25  # points of the density; the Gaussian that smooths it, in asinh
CACHED = 2**20  # numbers that several runs measured at once may have in their layers' outputs: 4 MB in float32
MAX_CLASSES = 100  # above it, Hutchinson is cheaper than the exact tr(GGN)


Found = dict[str, Estimate]


def measure(problem: Stack, runs: Sequence[int], W: Tensor, spec: RunSpec) -> Iterator[list[Measurement]]:
    """The measurements that `spec.measures` asks for, at W (S, d), of the runs numbered `runs` (S of them), in order.

    On the first `POINTS` training samples of each. Perceptrons are measured several at once; what is found of a run
    does not depend, to rounding, on those beside it.
    """
    net = passes.net_or_none(problem.module, problem.w0[0], problem.x[:1])
    size = together(problem, net, spec)
    groups = zip(torch.tensor(runs).split(size), W.split(size), strict=True)
    for group, w in groups:
        for found in _measure(problem, net, group.tolist(), w, spec):
            yield [_row(q, e) for q, e in found.items()]


def together(problem: Stack, net: passes.Net | None, spec: RunSpec) -> int:
    """How many runs to measure at once: on a CPU no more than its cache holds, beyond which one by one is faster."""
    if not isinstance(net, passes.Perceptron):
        return 1
    starts = RUNS if "density" in spec.measures.what else 1
    floats = max(min(problem.n, POINTS) * net.floats(problem.w0[:1], problem.x[None]), starts * problem.w0.shape[1])
    return max(1, (CACHED if problem.x.device.type == "cpu" else curvature.ELEMENTS) // floats)


def _measure(problem: Stack, net: passes.Net | None, runs: list[int], W: Tensor, spec: RunSpec) -> list[Found]:
    """Of runs measured at once, by quantity; of one run, where the network is no perceptron."""
    what = spec.measures.what
    batch = problem.x[problem.rows[runs, :POINTS]], problem.y[runs, :POINTS]
    generators = [torch_stream(problem.seeds[s], "probes") for s in runs]
    exact = problem.classes <= MAX_CLASSES and piecewise_linear(problem.module)  # tr(H), without any product
    product = None
    if {"lam_max", "density", "ascent"} & set(what) or ("trace" in what and not exact):
        product = hessian(problem, net, W, batch)
    found: list[Found] = [{} for _ in runs]
    if "trace" in what:
        _add(found, "tr_H", trace(problem, net, W, batch, None if exact else product, generators))
    if "lam_max" in what and product:
        starts = torch.cat([curvature.gaussian(1, w, g) for w, g in zip(W, generators, strict=True)])
        _add(found, "lam_max", [top[0] for top in lanczos.each_top(product, starts)])
    sizes = [m for m in divisors(spec.training.batch) if 2 * m <= batch[1].shape[1]]
    if "noise" in what:
        for one, quantities in zip(found, gradient_noise(problem, net, W, batch, sizes, generators), strict=True):
            one |= quantities
    if "density" in what and product:
        for one, rows in zip(found, density(product, W, [problem.seeds[s] for s in runs]), strict=True):
            one |= rows
    if "pyhessian" in what:
        for one, s, w, x, y in zip(found, runs, W, *batch, strict=True):
            seed = problem.seeds[s]
            one["tr_H_pyhessian"] = second_opinion.trace(problem.module, w, (x, y), seed=seed)
            one["lam_max_pyhessian"] = second_opinion.top_eigenvalue(problem.module, w, (x, y), seed=seed)
    if "m_sharpness" in what:
        for one, sharp in zip(found, rises(problem, net, W, batch, sizes, generators), strict=True):
            one |= {f"m_sharp@{m}": estimate for m, estimate in sharp.items()}
    if "ascent" in what and product:
        orders = [torch_stream(problem.seeds[s], "probes") for s in runs]
        for one, along in zip(found, ascents(problem, net, W, batch, product, sizes, orders), strict=True):
            one |= along
    return found


def _add(found: list[Found], quantity: str, estimates: list[Estimate]) -> None:
    for one, estimate in zip(found, estimates, strict=True):
        one[quantity] = estimate


def hessian(problem: Stack, net: passes.Net | None, W: Tensor, batch: Batch) -> lanczos.Stacked:
    """The products of the Hessians at W (S, d), written out for perceptrons, else by autograd.

    Where layer outputs hold more than `ELEMENTS` floats, linearised anew at each product, in pieces that do not.
    """
    n = batch[1].shape[1]
    size = max(1, curvature.ELEMENTS // net.floats(W, batch[0])) if net else 1024
    if size >= n and isinstance(net, passes.Perceptron):
        return Hessian.of(net.chain, W, batch)
    return lanczos.One(curvature.hvp(problem.losses, W[0], (batch[0][0], batch[1][0]), chunk=size))


def weight_tail(norms: Tensor) -> list[Measurement]:
    """The tail index of the fluctuations of ||w|| (T,) of one run; nothing where there are too few steps for one."""
    with suppress(ValueError):
        return [_row("w_tail", tail.fluctuation(norms))]
    return []


def trace(
    problem: Stack, net: passes.Net | None, W: Tensor, batch: Batch, product: lanczos.Stacked | None,
    generators: Sequence[torch.Generator],
) -> list[Estimate]:  # fmt: skip
    """tr(H) the most exact way that the network allows; without a `product`, tr(GGN), which it then is."""
    if product and problem.classes > MAX_CLASSES:
        return [curvature.trace(lanczos.alone(product, s), W[s], g) for s, g in enumerate(generators)]
    if net:
        ggn = ghost.ggn_trace(net, W, batch)
    else:
        ggn = [curvature.ggn_trace(problem.losses, problem.logits, W[0], (batch[0][0], batch[1][0]))]
    if product is None:
        return ggn
    ggn_product = curvature.ggn_vp(problem.logits, W[0], (batch[0][0], batch[1][0]))
    return [curvature.split_trace(lanczos.alone(product, 0), ggn_product, ggn[0], W[0], generators[0])]


def gradient_noise(
    problem: Stack, net: passes.Net | None, W: Tensor, batch: Batch, m: Sequence[int],
    generators: Sequence[torch.Generator],
) -> list[Found]:  # fmt: skip
    """tr(V) at every m and of every layer, the norm of the mean gradient, and the tail, for each run."""
    layout = Layout.of(problem.module)
    if net:
        noises = ghost.noise(net, W, batch, m=m, generators=generators)
    else:
        one = batch[0][0], batch[1][0]
        noises = [ghost.plain_noise(problem.losses, W[0], one, layout.sizes(), m, generators[0])]
    out = []
    for of in noises:
        found = {"tr_V" if size == 1 else f"tr_V@{size}": estimate for size, estimate in of.by_m.items()}
        found |= {f"layer_noise@{name}": estimate for name, estimate in zip(layout.sizes(), of.by_layer, strict=True)}
        found["grad_sq"] = of.grad_sq
        with suppress(ValueError):  # no tail to fit: the row is left out
            found["tail"] = tail.hill(of.deviations)
        out.append(found)
    return out


def rises(
    problem: Stack, net: passes.Net | None, W: Tensor, batch: Batch, m: Sequence[int],
    generators: Sequence[torch.Generator],
) -> list[dict[int, Estimate]]:  # fmt: skip
    """m-sharpness of each run at every m."""
    if net:
        return moved.m_sharpness(net, W, batch, m=m, rho=SHARP_RHO, generators=generators)
    one = batch[0][0], batch[1][0]
    return [m_sharpness.m_sharpness(problem.losses, W[0], one, m=m, rho=SHARP_RHO, generator=generators[0])]


def ascents(
    problem: Stack, net: passes.Net | None, W: Tensor, batch: Batch, product: lanczos.Stacked, m: Sequence[int],
    generators: Sequence[torch.Generator],
) -> list[Found]:  # fmt: skip
    """The curvature of each run's loss along its gradient, of all samples and at every m."""
    if net:
        whole = moved.whole(net, W, batch, product)
        by_size = moved.by_size(net, W, batch, m=m, generators=generators)
    else:
        one = batch[0][0], batch[1][0]
        whole = [ascent.ascent(problem.losses, W[0], one, lanczos.alone(product, 0))]
        by_size = [ascent.by_size(problem.losses, W[0], one, m=m, generator=generators[0])]
    return [
        {"asc_H": all_of_them} | {f"asc_H@{size}": estimate for size, estimate in sizes.items()}
        for all_of_them, sizes in zip(whole, by_size, strict=True)
    ]


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
