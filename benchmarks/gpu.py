"""Checks and timings on a CUDA device, in a few minutes: `python -m benchmarks.gpu`; says so where there is none.

Every path of a step is compared with the definition in float64, the measurements with theirs on the CPU, and the steps
are timed. CUDA graphs and torch.compile are not used: no GPU was at hand to show that they pay.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.problems import NETWORKS, problem, spec
from benchmarks.timing import side_by_side
from benchmarks.user import SAM, sam_step
from sam_dash.maths import curvature, ghost, lanczos
from sam_dash.maths.passes import net
from sam_dash.maths.taps import NotFactoredError
from sam_dash.problems.stack import Stack
from sam_dash.runs import steppers
from sam_dash.runs.loop import steps
from sam_dash.runs.train import pick

CASES = (("sgd", None, {}), ("sam", 1, {}), ("sam", 8, {}), ("sam", None, {}), ("nsam", None, {}),
         ("rwsam", None, {"norms": "one-probe"}), ("rwsam", None, {"norms": "exact"}))  # fmt: skip


def check_steps(name: str, device: str, B: int = 16, count: int = 2) -> dict[str, float]:
    """The largest difference of the weights from the definition's, relative to the largest weight, by path."""
    make, shape, _ = NETWORKS[name]
    P = problem(make(), shape, 2 * B, seeds=2, device=device)
    P = replace(P, w0=P.w0.double(), x=P.x.double())
    worst: dict[str, float] = {}
    for variant, m, knobs in CASES:
        runs = [spec(variant, m or (B if variant == "sam" else None), B, lr=0.01, **knobs)] * 2
        expected = last(P, runs, None, count)
        for path in ("chain", "eager", "factored"):
            try:
                found = last(P, runs, getattr(steppers, path)(P, runs), count)
            except NotFactoredError:
                continue
            error = float((found - expected).abs().max() / expected.abs().max())
            worst[path] = max(worst.get(path, 0.0), error)
    return worst


def last(P: Stack, runs: list, take: steppers.Take | None, count: int) -> Tensor:
    """The weights after so many steps."""
    *_, (W, _) = itertools.islice(steps(P, runs, take), count)
    return W


def check_measures(name: str, device: str, n: int = 64) -> float:
    """The largest relative difference of tr(GGN), tr(V) and lambda_max from those on the CPU, in float64."""
    found = []
    for where in ("cpu", device):
        make, shape, _ = NETWORKS[name]
        torch.manual_seed(0)
        P = problem(make(), shape, n, device=where)
        w, x, y, way = P.w0[0].double(), P.x.double(), P.y[0], net(P.module)
        product = curvature.hvp(P.losses, w, (x, y))
        top = lanczos.top_eigenvalues(product, w, torch.Generator().manual_seed(0), tol=1e-6)[0]
        one = w[None], (x[None], y[None])
        tr_V = ghost.noise(way, *one)[0].by_m[1].value
        found.append((ghost.ggn_trace(way, *one)[0].value, tr_V, top.value))
    return max(abs(a - b) / abs(a) for a, b in zip(*found, strict=True))


def timings(name: str, device: str, budget: float = 12.0) -> str:
    """Ratios to an eager SAM step on the device."""
    make, shape, B = NETWORKS[name]
    P = problem(make(), shape, 4 * B, device=device)
    many = problem(make(), shape, 4 * B, seeds=8, device=device)
    module = make().to(device)
    optimiser = SAM(module.parameters(), torch.optim.SGD, lr=1e-3, momentum=0.9)

    def eager() -> None:
        sam_step(module, optimiser, P.x[:B], P.y[0, :B])
        wait(device)

    def ours(Q: Stack, m: int) -> Callable[[], None]:
        runs = [spec("sam", m, B)] * len(Q.seeds)
        loop = steps(Q, runs, steppers.stepper(Q, runs).take)

        def step() -> None:
            next(loop)
            wait(device)

        return step

    sides = {"eager SAM": eager, **{f"m = {m}": ours(P, m) for m in (1, 8, B)}, "8 seeds, m = 8": ours(many, 8)}
    times = side_by_side(sides, budget)
    return ", ".join(f"{side}: {times.ratio(side, 'eager SAM')}" for side in sides if side != "eager SAM")


def wait(device: str) -> None:
    """Until the device has done its work."""
    if device != "cpu":
        torch.cuda.synchronize()


def main() -> int:
    """0 if all checks pass, 1 if not, 2 without a GPU."""
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was checked and nothing timed")
        return 2
    device, started, good = str(pick("auto")), time.perf_counter(), True
    print(torch.cuda.get_device_name(), torch.__version__)
    for name in NETWORKS:
        errors, measured = check_steps(name, device), check_measures(name, device)
        fine = max(errors.values()) < 1e-8 and measured < 1e-5
        good = good and fine
        print(f"{name}: {'good' if fine else 'WRONG'}: steps {errors}, measurements {measured:.1e}")
        print(f"{name}: time against eager SAM: {timings(name, device)}")
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
