"""Measurements: ours against PyHessian, BackPACK, curvlinops and hessian-eigenthings, to the same error."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import user
from benchmarks.problems import NETWORKS, mlp, module_at, problem, trained
from benchmarks.report import Curve, Row, at_least, at_most
from benchmarks.timing import side_by_side
from sam_dash.maths import curvature, lanczos
from sam_dash.maths.fast.measurer import Plain, measurer
from sam_dash.maths.oracle import Batch
from sam_dash.problems.stack import Stack
from sam_dash.runs.probes import measure
from sam_dash.runs.spec import RunSpec, Training

SAMPLES = {"MLP 40-128-128-10": 2000, "CNN": 250}
TRAINING = 200  # steps of SGD before anything is measured


def at_a_trained_network(name: str) -> tuple[Stack, Tensor, Batch, nn.Module]:
    """A problem, weights, the samples to measure on, and the module at those weights."""
    make, shape, _ = NETWORKS[name]
    P = problem(make(), shape, SAMPLES[name])
    w = trained(P, TRAINING)
    return P, w, P.train(0), module_at(P, w)


def one(w: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """A run as a stack of one."""
    return w[None], (batch[0][None], batch[1][None])


def full_gradient(module: nn.Module, batch: Batch) -> Callable[[], object]:
    """One gradient of the mean loss."""
    return lambda: torch.autograd.grad(F.cross_entropy(module(batch[0]), batch[1]), list(module.parameters()))


def backpack_trace_V(module: nn.Module, batch: Batch) -> Callable[[], float]:
    """tr(V) with BackPACK's squared norms of per-sample gradients."""
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    module, loss, n = extend(module), extend(nn.CrossEntropyLoss()), len(batch[1])

    def find() -> float:
        module.zero_grad()
        with backpack(BatchL2Grad()):
            loss(module(batch[0]), batch[1]).backward()
        squares = sum(float(p.batch_l2.sum()) for p in module.parameters()) * n * n  # BackPACK's are of l_i / n
        mean = sum(float(p.grad.square().sum()) for p in module.parameters())
        return (squares - n * mean) / (n - 1)

    return find


GRADIENT = "one full gradient"
Sides = dict[str, Callable[[], object]]


def way_of(P: Stack) -> Plain:
    """How a run of that network is measured."""
    return measurer(P.module, P.loss, P.w0[0], P.x[:1])


def noise_sides(P: Stack, w: Tensor, batch: Batch, module: nn.Module) -> Sides:
    """tr(V): ours has its error, that of every layer, the norm of the mean gradient and the tail besides."""
    way, at = way_of(P), one(w, batch)
    return {
        "us": lambda: way.noise(*at, m=(1,)),
        GRADIENT: full_gradient(module, batch),
        "BackPACK": backpack_trace_V(module_at(P, w), batch),
    }


def trace_sides(P: Stack, w: Tensor, batch: Batch, module: nn.Module) -> Sides:
    """tr(H)."""
    way, at = way_of(P), one(w, batch)
    return {
        "us": lambda: way.ggn_trace(*at),
        "5 probes": lambda: user.pyhessian(module, batch).trace(maxIter=5, tol=-math.inf),
    }


def eigenvalue_sides(P: Stack, w: Tensor, batch: Batch, module: nn.Module) -> tuple[Sides, float, str]:
    """lambda_max, each at the loosest of its tolerances within .5 % ten times of ten; its value; what they are."""
    generator, way = torch.Generator().manual_seed(0), way_of(P)

    def us(tol: float) -> float:
        product = way.hvp(*one(w, batch))  # as a run's is
        return lanczos.each_top(product, curvature.gaussian(1, w, generator), tol=tol)[0][0].value

    true = us(1e-5)

    def theirs(tol: float) -> float:
        return float(user.pyhessian(module, batch).eigenvalues(maxIter=200, tol=tol)[0][0])

    def loosest(find: Callable[[float], float], tolerances: tuple[float, ...]) -> float:
        """The first that is good enough, else the last."""
        good = (t for t in tolerances if all(abs(find(t) / true - 1) <= 0.005 for _ in range(10)))
        return next(good, tolerances[-1])

    own, tol = loosest(us, (0.1, 0.03, 0.01, 5e-3)), loosest(theirs, (1e-3, 3e-4, 1e-4, 3e-5, 1e-5))
    off = 100 * (theirs(1e-3) / true - 1)
    note = f"our residual {own:g}; PyHessian's tol = {tol:g} (its default, 1e-3, is off by {off:+.1f} %)"
    return {"us": lambda: us(own), "PyHessian": lambda: theirs(tol)}, true, note


def rows(budget: float = 1.0) -> Iterator[Row]:
    """tr(V), tr(H) and lambda_max."""
    warnings.filterwarnings("ignore")  # PyHessian's, BackPACK's
    for name in SAMPLES:
        P, w, batch, module = at_a_trained_network(name)
        sides = noise_sides(P, w, batch, module)
        times = side_by_side(sides, 4 * budget)
        yield at_most(f"{name}: tr(V) with its error against one full gradient", times.ratio("us", GRADIENT), 1.7)
        note = "BackPACK gives no error"
        yield at_least(f"{name}: tr(V), BackPACK's time against ours", times.ratio("BackPACK", "us"), 2, note)
        yield trace(name, P, w, batch, module, budget)
        yield from eigenvalue(name, P, w, batch, module, budget)
    yield from stacked(budget)


def stacked(budget: float) -> Iterator[Row]:
    """All default measurements of the default preset's network: seeds at once against seeds one by one."""
    run = RunSpec(variant="sam", training=Training(batch=64))
    for S in (5, 8):
        P = problem(mlp(64, 64, 10), (64,), 1437, seeds=S)

        def at_once(P: Stack = P, S: int = S) -> object:
            return list(measure(P, range(S), P.w0, run))

        def one_by_one(P: Stack = P, S: int = S) -> object:
            return [next(measure(P, [s], P.w0[[s]], run)) for s in range(S)]

        times = side_by_side({"at once": at_once, "one by one": one_by_one}, 4 * budget)
        what = f"MLP 64-64-10: tr(H), λ_max and tr(V) of {S} seeds, one by one against at once"
        yield Row(what, times.ratio("one by one", "at once"))


def trace(name: str, P: Stack, w: Tensor, batch: Batch, module: nn.Module, budget: float) -> Row:
    """tr(H) to 1 %: ours is exact; PyHessian needs (std / 0.01 mean)^2 probes, of which 5 are timed."""
    pilot = torch.tensor([float(t) for t in user.pyhessian(module, batch).trace(maxIter=30, tol=-math.inf)])
    needed = math.ceil((float(pilot.std()) / (0.01 * float(pilot.mean()))) ** 2)
    times = side_by_side(trace_sides(P, w, batch, module), 8 * budget)
    note = f"PyHessian needs {needed} probes (spread of 30); 5 are timed. Ours is exact"
    ratio = times.ratio("5 probes", "us").times(needed / 5)
    return at_least(f"{name}: tr(H) to 1 %, PyHessian's time against ours", ratio, 20, note)


def eigenvalue(name: str, P: Stack, w: Tensor, batch: Batch, module: nn.Module, budget: float) -> Iterator[Row]:
    """lambda_max to .5 %."""
    sides, true, note = eigenvalue_sides(P, w, batch, module)
    times = side_by_side(sides, (30 if "MLP" in name else 90) * budget, rounds=60)  # a start decides how long it takes
    yield at_least(f"{name}: λ_max to .5 %, PyHessian's time against ours", times.ratio("PyHessian", "us"), 3, note)
    if "MLP" in name:
        for other, find in others(module, batch).items():
            started = time.perf_counter()
            value = find()
            took = time.perf_counter() - started
            ratio = side_by_side({"us": sides["us"], other: find}, 3 * budget, rounds=5).ratio(other, "us")
            note = f"off by {100 * (value / true - 1):+.2f} %, {took:.2g} s"
            yield Row(f"{name}: λ_max, {other}'s time against ours", ratio, note=note)


def others(module: nn.Module, batch: Batch) -> dict[str, Callable[[], float]]:
    """The largest eigenvalue by other packages, as their documentation does it."""
    parameters = list(module.parameters())

    def curvlinops() -> float:
        from curvlinops import HessianLinearOperator
        from scipy.sparse.linalg import eigsh

        operator = HessianLinearOperator(module, nn.CrossEntropyLoss(), parameters, [batch], check_deterministic=False)
        return float(eigsh(operator.to_scipy(), k=1, which="LA", return_eigenvectors=False)[0])

    def eigenthings() -> float:
        from hessian_eigenthings import HessianOperator
        from hessian_eigenthings import lanczos as find
        from hessian_eigenthings.loss_fns import supervised_loss

        operator = HessianOperator(model=module, dataloader=[batch], loss_fn=supervised_loss(nn.CrossEntropyLoss()))
        return float(find(operator, k=1, which="LA", max_iter=40).eigenvalues[0])  # its default is 2

    found = {}
    for name, find in (("curvlinops + eigsh", curvlinops), ("hessian-eigenthings", eigenthings)):
        try:
            find()
            found[name] = find
        except Exception as error:  # a package that is not there, or whose interface has moved
            print(f"  {name}: left out, {type(error).__name__}: {str(error)[:120]}")
    return found


def growth(budget: float = 1.0) -> Curve:
    """Seconds of the three measurements as n grows."""
    make, shape, _ = NETWORKS["MLP 40-128-128-10"]
    sizes = (250, 500, 1000, 2000, 4000)
    P = problem(make(), shape, sizes[-1])
    w, way = trained(P, TRAINING), way_of(P)
    seconds: dict[str, list[float]] = {"tr(V)": [], "tr(H)": [], "λ_max": [], GRADIENT: []}
    for n in sizes:
        batch = P.train(0, n)
        at = one(w, batch)

        def eigenvalue(at: tuple[Tensor, Batch] = at) -> object:
            start = curvature.gaussian(1, w, torch.Generator().manual_seed(0))
            return lanczos.each_top(way.hvp(*at), start, tol=5e-3)

        sides = {
            "tr(V)": lambda at=at: way.noise(*at, m=(1,)),
            "tr(H)": lambda at=at: way.ggn_trace(*at),
            "λ_max": eigenvalue, GRADIENT: full_gradient(module_at(P, w), batch),
        }  # fmt: skip
        times = side_by_side(sides, 2 * budget, rounds=5)
        for side, found in seconds.items():
            found.append(times.median(side))
    return Curve("n", sizes, seconds)
