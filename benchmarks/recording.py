"""What recording costs a loop, call by call, in CPU time: python -m benchmarks.recording.

CPU seconds of the loop's thread and of the writer's, each told by its own clock: other processes on the machine disturb
them less than the difference of two whole loops.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from sam_dash.optim import SharpnessAware
from sam_dash.record import Recorder
from sam_dash.runs.writer import KEPT

B, PARTS, EACH = 64, 10, 200


def networks() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Networks from small to middling, with a batch of inputs."""
    cnn = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(2, 16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    return {
        "perceptron, 64 hidden": (nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(B, 64)),
        "CNN, 16-32": (cnn, torch.randn(B, 1, 14, 14)),
    }


def micros(call: Callable[[], object], calls: int = EACH) -> tuple[float, float, float]:
    """Median, least and most CPU microseconds of a call in this thread, over parts of so many calls."""
    found = []
    for _ in range(PARTS):
        begun = time.thread_time()
        for _ in range(calls):
            call()
        found.append(1e6 * (time.thread_time() - begun) / calls)
    return statistics.median(found), min(found), max(found)


def row(what: str, times: tuple[float, float, float]) -> None:
    """One line of the table."""
    print(f"| {what} | {times[0]:.0f} | {times[1]:.0f} to {times[2]:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| | CPU, µs | least to most |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, Recorder("cost", store=Path(folder, "store.db"), share=1.0) as r:
        loss = torch.tensor(1.0)
        row("`log` of one tensor", micros(lambda: r.log(r.step + 1, train_loss=loss)))
        time.sleep(1.5)
        writer = r._writer
        assert writer is not None
        row(f"writing one value, of the first {KEPT} of its name, in the writer's thread",
            (1e6 * writer.cpu / (PARTS * EACH),) * 3)  # fmt: skip
        before = writer.cpu
        row("`log` of one more", micros(lambda: r.log(r.step + 1, train_loss=loss)))
        time.sleep(1.5)
        row("writing it, as part of a mean", (1e6 * (writer.cpu - before) / (PARTS * EACH),) * 3)
        for name, (model, x) in networks().items():
            y = torch.randint(0, 10, (B,))
            optimiser = SharpnessAware(model, "sam", m=8, lr=0.01, rho=0.05)
            step = lambda: optimiser.step(lambda: (x, y))  # noqa: E731, B023 (called at once)
            step()
            row(f"a step of m-SAM, m = 8, B = {B}: {name}", micros(step, 10))
            row("`watch` of it", micros(lambda: r._watched(optimiser)))  # noqa: B023 (called at once)


if __name__ == "__main__":
    main()
