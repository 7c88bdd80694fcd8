"""What takes how long on a GPU: our steps, plain and recorded, the definition compiled, and images channels last."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from unittest import mock

import torch

from benchmarks.compiled import compiled
from benchmarks.problems import BATCHES, NETWORKS, problem, spec
from benchmarks.timing import side_by_side
from benchmarks.user import SAM, sam_step
from sam_dash.problems.stack import Stack
from sam_dash.runs import steppers
from sam_dash.runs.graphs import Capture, Recorded
from sam_dash.runs.loop import steps
from sam_dash.runs.spec import RunSpec

STEPS = 5  # in a call, after which the GPU is waited for


def wait(device: str) -> None:
    """Until the device has done its work."""
    if device != "cpu":
        torch.cuda.synchronize()


def several(step: Callable[[], object], device: str) -> Callable[[], None]:
    """So many steps, done."""

    def call() -> None:
        for _ in range(STEPS):
            step()
        wait(device)

    return call


def ours(P: Stack, runs: list[RunSpec], take: steppers.Take, device: str) -> Callable[[], None]:
    """Steps of our training loop."""
    loop = steps(P, runs, take)
    return several(lambda: next(loop), device)


def eager(P: Stack, B: int, make: Callable[[], torch.nn.Module], device: str) -> Callable[[], None]:
    """A user's SAM, on one batch that is on the device."""
    module = make().to(device)
    optimiser = SAM(module.parameters(), torch.optim.SGD, lr=1e-3, momentum=0.9)
    return several(lambda: sam_step(module, optimiser, P.x[:B], P.y[0, :B]), device)


def step_times(name: str, device: str, capture: Capture, budget: float, B: int = 0) -> dict[str, str]:
    """Time of a step over that of an eager SAM step, by what is done: plainly, recorded, of one and of eight seeds."""
    make, shape, usual = NETWORKS[name]
    B = B or usual
    P, many = (problem(make(), shape, BATCHES * B, seeds=S, device=device) for S in (1, 8))
    sides = {"eager SAM": eager(P, B, make, device)}
    for label, Q, variant, m in (
        ("m = 1", P, "sam", 1), ("m = 8", P, "sam", 8), (f"m = {B}", P, "sam", B), ("RW-SAM", P, "rwsam", None),
        ("8 seeds, m = 8", many, "sam", 8), (f"8 seeds, m = {B}", many, "sam", B),
        (f"8 seeds, m = {B}, vmapped", many, "sam", B),
    ):  # fmt: skip
        runs = [spec(variant, m, B)] * len(Q.seeds)
        take = steppers.vmapped(Q, runs) if "vmapped" in label else steppers.stepper(Q, runs).take
        sides[label] = ours(Q, runs, take, device)
        try:
            replayed = Recorded(take, *steppers.start(Q, runs[0]), capture)
        except Exception as error:  # a row of its own, not the end of the table
            print(f"{name}, {label}: not recorded: {error}", flush=True)
            continue
        sides[f"{label}, CUDA graph"] = ours(Q, runs, replayed, device)
    if len(shape) == 3:
        runs = [spec("sam", B, B)]
        take = steppers.stepper(P, runs).take
        plainly = ours(P, runs, take, device)

        def contiguous() -> None:
            with mock.patch.object(steppers, "channels_last", lambda x: x):
                plainly()

        sides[f"m = {B}, images as they are, not channels last"] = contiguous
    times = side_by_side(sides, budget)
    per_step = 1e3 * times.median("eager SAM") / STEPS
    return {"eager SAM, ms": f"{per_step:.3g}"} | {
        s: str(times.ratio(s, "eager SAM")) for s in sides if s != "eager SAM"
    }


def compile_times(name: str, mode: str | None, device: str, budget: float, B: int = 0) -> tuple[float, str]:
    """Seconds to compile the definition at m = 8, and its time over that of our plain step."""
    make, shape, usual = NETWORKS[name]
    B = B or usual
    P, runs = problem(make(), shape, BATCHES * B, device=device), [spec("sam", 8, B)]
    fast = compiled(P, runs, mode)
    started = time.perf_counter()
    *_, _ = itertools.islice(steps(P, runs, fast), 3)
    wait(device)
    latency = time.perf_counter() - started
    sides = {
        "compiled": ours(P, runs, fast, device), "ours": ours(P, runs, steppers.stepper(P, runs).take, device),
    }  # fmt: skip
    return latency, str(side_by_side(sides, budget).ratio("compiled", "ours"))
