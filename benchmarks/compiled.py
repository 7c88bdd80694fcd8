"""Whether `torch.compile` pays: the definition compiled whole, against our paths; what compiling takes first.

`python -m benchmarks.compiled`: a table of seconds to compile and of times of a step against an eager SAM step, in
alternating rounds of one process, in processor time of one thread. A variant that reads the step's number is not
timed: it would be compiled anew.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.problems import BATCHES, NETWORKS, problem, spec
from benchmarks.steps import eager
from benchmarks.timing import side_by_side
from sam_dash.problems.stack import Stack
from sam_dash.runs.loop import steps
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.steppers import Moment, Scalars, Take, stepper, vmapped

CASES: tuple[tuple[str, int | None, dict[str, Any]], ...] = (
    ("sgd", None, {}), ("sam", 1, {}), ("sam", 8, {}), ("sam", None, {}), ("rwsam", None, {"norms": "one-probe"}),
    ("asam", 8, {}),
)  # fmt: skip


def compiled(P: Stack, runs: list[RunSpec], mode: str | None = None) -> Take:
    """The definition of these runs' step, compiled whole, as if every step were the first."""
    take = vmapped(P, runs)

    def whole(W: Tensor, state: Any, batch: Any, noise: Tensor, full: Any) -> tuple[Tensor, Any, Scalars]:
        return take(W, state, Moment(batch, noise, full, P.counts, 0, 1.0))

    torch._dynamo.reset()  # else the eighth step that is compiled in a process is left as it is
    fast = torch.compile(whole, mode=mode, dynamic=False, fullgraph=True)
    return lambda W, state, at: fast(W, state, at.batch, at.noise, at.full)


def stepped(P: Stack, runs: list[RunSpec], take: Take) -> Callable[[], Tensor]:
    """One step of the training loop a call: the weights."""
    loop = steps(P, runs, take)
    return lambda: next(loop)[0]


def row(name: str, variant: str, m: int | None, knobs: dict[str, Any], budget: float, seeds: int = 1) -> str:
    """A line of the table: of so many runs in a stack, against one eager SAM step each."""
    make, shape, B = NETWORKS[name]
    P = problem(make(), shape, BATCHES * B, seeds)
    runs = [spec(variant, m or (B if variant == "sam" else None), B, **knobs)] * seeds
    way = stepper(P, runs)
    fast = compiled(P, runs)
    started = time.perf_counter()
    *_, (W, _) = itertools.islice(steps(P, runs, fast), 2)
    latency = time.perf_counter() - started
    *_, (V, _) = itertools.islice(steps(P, runs, vmapped(P, runs)), 2)
    error = float((W - V).abs().max() / V.abs().max())
    sides = {
        "eager SAM": eager(P, B), "definition": stepped(P, runs, vmapped(P, runs)), "compiled": stepped(P, runs, fast),
        "ours": stepped(P, runs, way.take),
    }  # fmt: skip
    times = side_by_side(sides, budget, clock=time.thread_time)
    ratios = " | ".join(str(times.ratio(side, "eager SAM").times(1 / seeds)) for side in list(sides)[1:])
    what = f"{variant}, m = {m or B}" if m or variant == "sam" else variant
    what += f", {seeds} seeds" if seeds > 1 else ""
    return f"| {name} | {what} | {latency:.1f} | {ratios} | {way.path} | {error:.0e} |"


def main() -> int:
    """The table of all cases on the CPU."""
    torch.set_num_threads(1)  # all of a step is then in the thread whose time is taken
    print("| network | step | s to compile | definition | compiled | ours | our path | compiled differs by |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in list(NETWORKS)[:2]:
        for variant, m, knobs in CASES:
            print(row(name, variant, m, knobs, 5.0 if "MLP" in name else 15.0), flush=True)
    for variant, m, knobs in CASES[2:5]:
        print(row(next(iter(NETWORKS)), variant, m, knobs, 5.0, seeds=8), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
