"""The default preset as a whole: ours, against the same from davda54-style loops and PyHessian; and click to plot."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import user
from benchmarks.report import Row, at_least, at_most
from benchmarks.timing import Ratio
from sam_dash.problems.stack import stack
from sam_dash.runs import cost, launch
from sam_dash.runs.presets import PRESETS
from sam_dash.runs.report import ACTIVE, Report
from sam_dash.runs.spec import RunSpec, SweepSpec
from sam_dash.runs.store import Store
from sam_dash.runs.train import train

TIMED_STEPS = 20  # of the user's 750; the rest is multiplied up


def ours(sweep: SweepSpec) -> float:
    """Seconds to train and measure all runs of a sweep, one stack after another in this process."""

    def listener(_: Report) -> set[int]:
        return set()

    started = time.perf_counter()
    for group in cost.groups(sweep.runs()).values():
        train(group, listener, "cpu")
    return time.perf_counter() - started


def naive(specs: list[RunSpec]) -> float:
    """Seconds that these runs would take a user: some steps and one set of measurements each, multiplied up."""
    return sum(naive_run(spec) for spec in specs)


def naive_run(spec: RunSpec) -> float:
    """One of them."""
    P, T = stack(spec.problem, [spec.seed], torch.device("cpu")), spec.training
    torch.nn.utils.vector_to_parameters(P.w0[0].clone(), P.module.parameters())
    optimiser = user.SAM(P.module.parameters(), torch.optim.SGD, rho=0.1, lr=T.lr, momentum=T.momentum)
    batch = P.train(0)
    draw = user.batches(P.n, T.batch)
    started = time.perf_counter()
    for _ in range(TIMED_STEPS):
        i = next(draw)
        x, y = P.x[i], P.y[0, i]
        if spec.variant == "sgd":
            user.sgd_step(P.module, optimiser.base_optimizer, x, y)
        elif spec.variant == "nsam":
            user.n_sam_step(P.module, optimiser, x, y, batch)
        elif spec.m == T.batch:
            user.sam_step(P.module, optimiser, x, y)
        else:
            user.m_sam_step(P.module, optimiser, x, y, spec.m or T.batch)
    training = (time.perf_counter() - started) / TIMED_STEPS * cost.steps(spec)
    started = time.perf_counter()
    with torch.no_grad():
        for inputs, labels in (batch, P.test):
            out = P.module(inputs)
            torch.nn.functional.cross_entropy(out, labels)
            (out.argmax(1) == labels).double().mean()
    looks = (time.perf_counter() - started) * (T.epochs + 1)
    started = time.perf_counter()
    user.pyhessian(P.module, batch).trace(maxIter=138, tol=-math.inf)  # what 1 % takes
    user.pyhessian(P.module, batch).eigenvalues(maxIter=100, tol=1e-4)
    user.trace_V(P.module, batch)
    return training + looks + time.perf_counter() - started


def rows() -> Iterator[Row]:
    """The whole default preset."""
    sweep = PRESETS["digits"].sweep
    one_seed = [spec for spec in sweep.runs() if spec.seed == sweep.seeds[0]]
    ours(replace(sweep, m=(8,), seeds=(9,), variants=("sam",)))  # to warm up
    ratios, note = [], ""
    for _ in range(2):
        theirs, mine = naive(one_seed) * len(sweep.seeds), ours(sweep)
        ratios.append(theirs / mine)
        note = (
            f"ours {mine:.3g} s, whole, in one process; theirs {theirs:.3g} s, from {TIMED_STEPS} steps and the "
            "measurements of one seed of each setting, multiplied up; 2 rounds"
        )
    ratio = Ratio(sum(ratios) / len(ratios), min(ratios), max(ratios))
    yield at_least("the default preset, all measures, against davda54 loops and PyHessian", ratio, 20, note)
    cold, warm = clicks(sweep)
    yield at_most(
        "click to finished default preset, cold start (s)", Ratio(cold, cold, cold), 30, "once, engine and store"
    )
    yield at_most("the same, warm workers (s)", Ratio(warm, warm, warm), 15, "once, other seeds")


def clicks(sweep: SweepSpec) -> tuple[float, float]:
    """Seconds from submitting the sweep to its last run, with the engine to be started first, and with it running."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.db")
        started = time.perf_counter()
        store.submit(sweep)
        engine = launch.start(store.url)
        try:
            cold = _finished(store, started)
            started = time.perf_counter()
            store.submit(replace(sweep, seeds=(100, 101, 102)))
            warm = _finished(store, started)
        finally:
            engine.close()
            store.close()
    return cold, warm


def _finished(store: Store, started: float) -> float:
    while any(run["status"] in ACTIVE for run in store.runs()):
        if time.perf_counter() - started > 180:
            raise TimeoutError("the default preset is not done after 3 minutes")
        time.sleep(0.1)
    ends = {run["status"] for run in store.runs()}
    assert ends == {"done"}, ends
    return time.perf_counter() - started
