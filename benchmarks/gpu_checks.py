"""What must hold on a GPU: every path is the definition, a recording is the plain step, float32 is float32."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.problems import NETWORKS, problem, spec
from sam_dash.maths import curvature, lanczos
from sam_dash.maths.fast.measurer import measurer
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.problems.stack import Stack
from sam_dash.runs import launch, steppers
from sam_dash.runs.graphs import Capture, NotRecordedError, Recorded
from sam_dash.runs.loop import steps
from sam_dash.runs.report import ACTIVE
from sam_dash.runs.spec import Measures, Problem, RunSpec, SweepSpec, Training
from sam_dash.runs.store import Store

Case = tuple[str, int | None, dict[str, Any]]
CASES: tuple[Case, ...] = (
    ("sgd", None, {}), ("sam", 1, {}), ("sam", 8, {}), ("sam", None, {}), ("nsam", None, {}),
    ("rwsam", None, {"norms": "one-probe"}), ("rwsam", None, {"norms": "exact"}),
)  # fmt: skip
RECORDED: tuple[Case, ...] = (*CASES, ("msam", None, {}), ("adasam", None, {}), ("asam", 8, {}), ("rwp", None, {}))


def double(name: str, device: str, B: int) -> Stack:
    """A problem of the network in float64: two seeds, two batches."""
    make, shape, _ = NETWORKS[name]
    P = problem(make(), shape, 2 * B, seeds=2, device=device)
    return replace(P, w0=P.w0.double(), x=P.x.double())


def runs_of(case: Case, B: int) -> list[RunSpec]:
    """Two runs of a case."""
    variant, m, knobs = case
    return [spec(variant, m or (B if variant == "sam" else None), B, lr=0.01, **knobs)] * 2


def last(P: Stack, runs: list[RunSpec], take: steppers.Take | None, count: int) -> Tensor:
    """The weights after so many steps."""
    *_, (W, _) = itertools.islice(steps(P, runs, take), count)
    return W


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max())


def check_steps(name: str, device: str, B: int = 16, count: int = 2) -> dict[str, float]:
    """By path: how far the weights are from the definition's after so many steps, at most."""
    P = double(name, device, B)
    worst: dict[str, float] = {}
    for case in CASES:
        runs = runs_of(case, B)
        expected = last(P, runs, None, count)
        for path in ("chain", "eager", "factored"):
            try:
                found = last(P, runs, getattr(steppers, path)(P, runs), count)
            except NotFactoredError:
                continue
            worst[path] = max(worst.get(path, 0.0), apart(found, expected))
    return worst


def check_graphs(name: str, device: str, capture: Capture, B: int = 16, count: int = 5) -> dict[str, float | str]:
    """By variant and m: how far replayed steps are from plain ones; where a step is not recorded, why."""
    P = double(name, device, B)
    found: dict[str, float | str] = {}
    for case in RECORDED:
        runs = runs_of(case, B)
        take = steppers.stepper(P, runs).take
        what = f"{case[0]}, m = {case[1]}" if case[1] else " ".join([case[0], *case[2].values()])
        try:
            replayed = Recorded(take, *steppers.start(P, runs[0]), capture)
        except (NotRecordedError, RuntimeError) as error:
            found[what] = str(error).splitlines()[0]
            continue
        found[what] = apart(last(P, runs, replayed, count), last(P, runs, take, count))
    return found


def check_measures(name: str, device: str, n: int = 16) -> float:
    """The largest relative difference of tr(GGN), tr(V) and lambda_max from those on the CPU, in float64."""
    found = []
    for where in ("cpu", device):
        make, shape, _ = NETWORKS[name]
        torch.manual_seed(0)
        P = problem(make(), shape, n, device=where)
        w, x, y, way = (
            P.w0[0].double(),
            P.x.double(),
            P.y[0],
            measurer(P.module, P.loss, P.w0[0].double(), P.x[:1].double()),
        )
        product = curvature.hvp(P.losses, w, (x, y))
        top = lanczos.top_eigenvalues(product, w, torch.Generator().manual_seed(0), tol=1e-6)[0]
        one = w[None], (x[None], y[None])
        tr_V = way.noise(*one, m=(1,))[0].by_m[1].value
        found.append((way.ggn_trace(*one)[0].value, tr_V, top.value))
    return max(abs(a - b) / abs(a) for a, b in zip(*found, strict=True))


def check_float32(device: str, n: int = 512) -> float:
    """How far a product and a convolution in float32 are from float64: about 1e-6, and 1e-3 if TensorFloat-32."""
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, n, generator=g, dtype=torch.float64).to(device) for _ in range(2))
    x = torch.randn(8, 32, 16, 16, generator=g, dtype=torch.float64).to(device)
    k = torch.randn(32, 32, 3, 3, generator=g, dtype=torch.float64).to(device)
    product = apart((a.float() @ b.float()).double(), a @ b)
    convolved = torch.nn.functional.conv2d(x.float(), k.float()).double()
    return max(product, apart(convolved, torch.nn.functional.conv2d(x, k)))


class Served(NamedTuple):
    """What an engine made of a sweep: seconds, what each run was made on, the weights by key."""

    seconds: float
    made: set[str]
    weights: dict[str, np.ndarray]


def serve(workers: int, epochs: int, patience: float = 120.0) -> Served:
    """Four groups by an engine with so many workers, which have all imported torch before."""

    def sweep(seed: int, length: int) -> SweepSpec:
        train = Training(epochs=length)
        return SweepSpec(variants=("sam",), m=(64, 16, 4, 1), seeds=(seed,), problem=Problem(), training=train,
                         measures=Measures(what=()))  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder, "store.db"))
        engine = launch.start(store.url, workers)
        try:
            if not engine.ready(patience):
                raise RuntimeError("the engine did not start")
            seconds = [_run(store, s, patience) for s in (sweep(1, 1), sweep(0, epochs))][-1]
            rows = store.runs(sweep(0, epochs).key)
            bad = [row["error"] for row in rows if row["status"] != "done"]
            if bad:
                raise RuntimeError(bad[0])
            made = [store.run(row["key"])["environment"] for row in rows]
            weights = {row["key"]: store.weights(row["key"]) for row in rows}
        finally:
            engine.close()
            store.close()
    return Served(seconds, {f"{e['device']}: {e['steps']}" for e in made}, weights)


def _run(store: Store, sweep: SweepSpec, patience: float) -> float:
    started = time.perf_counter()
    store.submit(sweep)
    while {row["status"] for row in store.runs(sweep.key)} & set(ACTIVE):
        if time.perf_counter() - started > patience:
            raise RuntimeError("the engine took too long")
        time.sleep(0.05)
    return time.perf_counter() - started


def check_groups(workers: Sequence[int] = (1, 2, 4), epochs: int = 20) -> tuple[dict[int, Served], float]:
    """The same four groups with so many workers at once on the GPU, and how far their weights are from the first's."""
    served = {k: serve(k, epochs) for k in workers}
    first = served[workers[0]].weights
    far = max(apart(torch.tensor(w), torch.tensor(first[k])) for s in served.values() for k, w in s.weights.items())
    return served, far
