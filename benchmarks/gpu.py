"""Checks and timings on a CUDA device in less than 8 minutes: `python -m benchmarks.gpu`; says so where there is none.

Prints Markdown: every path of a step against the definition, the measurements against those on the CPU, recorded steps
against plain ones, several groups at once on one GPU; then times, also of `torch.compile`. Sections for which no
time is left are named. Exit codes: 0 all checks passed, 1 not, 2 no GPU, 3 out of time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import torch

from benchmarks import gpu_checks, gpu_times
from benchmarks.problems import NETWORKS
from sam_dash.runs.graphs import Capture, cuda_graph
from sam_dash.runs.train import pick

LIMIT, LAST = 420.0, 460.0  # seconds: no section starts that may take longer, and the end whatever happens


class Report:
    """Prints tables as their rows are found, and keeps what went wrong and what time is left."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.started, self.limit = time.perf_counter(), limit
        self.wrong: list[str] = []
        self.skipped: list[str] = []

    def left(self) -> float:
        """Seconds."""
        return self.limit - (time.perf_counter() - self.started)

    def section(
        self, title: str, columns: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]], takes: float
    ) -> None:
        """A table, if there is time for what it may take (s); one that raises has failed."""
        if self.left() < takes:
            self.skipped.append(title)
            return
        print(f"\n### {title}\n\n| {' | '.join(columns)} |\n| {' | '.join('---' for _ in columns)} |", flush=True)
        try:
            for row in rows():
                print(f"| {' | '.join(row)} |", flush=True)
        except Exception as error:
            self.verdict(title, False)
            print(f"\n{title} failed: {type(error).__name__}: {error}", flush=True)

    def verdict(self, what: str, good: bool) -> str:
        """ "good" or "WRONG", noted."""
        if not good:
            self.wrong.append(what)
        return "good" if good else "**WRONG**"


def checks(report: Report, names: Sequence[str], device: str, capture: Capture, **sizes: int) -> None:
    """The tables of checks."""
    B, n = sizes.get("B", 16), sizes.get("n", 16)

    def same(name: str) -> Iterable[Sequence[str]]:
        for path, error in gpu_checks.check_steps(name, device, B).items():
            yield name, f"path {path}, against the definition", f"{error:.0e}", report.verdict(path, error < 1e-8)
        error = gpu_checks.check_measures(name, device, n)
        yield name, "tr(GGN), tr(V), λ_max, against the CPU", f"{error:.0e}", report.verdict("measures", error < 1e-5)
        for what, found in gpu_checks.check_graphs(name, device, capture, B).items():
            good = isinstance(found, float) and found < 1e-8
            said = f"{found:.0e}" if isinstance(found, float) else f"not recorded: {found}"
            yield name, f"CUDA graph of {what}, against plain steps", said, report.verdict(what, good)

    def float32() -> Iterable[Sequence[str]]:
        error = gpu_checks.check_float32(device)
        yield "float32 product and convolution", f"{error:.0e}", report.verdict("float32", error < 2e-5)

    report.section("float32 is float32, not TensorFloat-32", ("what", "error", ""), float32, 5)
    for name in names:
        columns = ("network", "what", "largest relative difference", "")
        report.section(f"Checks in float64: {name}", columns, lambda name=name: same(name), 45)


def groups(report: Report, workers: Sequence[int], epochs: int) -> None:
    """The table of several groups at once."""

    def rows() -> Iterable[Sequence[str]]:
        served, far = gpu_checks.check_groups(workers, epochs)
        good = report.verdict("several groups at once", far < 1e-3)
        for k, found in served.items():
            yield str(k), f"{found.seconds:.1f}", "; ".join(sorted(found.made)), f"{far:.0e} {good}"

    columns = ("workers", "seconds for four groups", "made on", "weights differ by at most")
    report.section("Several groups at once on one GPU", columns, rows, 90)


def times(report: Report, names: Sequence[str], device: str, capture: Capture, budget: float, B: int = 0) -> None:
    """The tables of times of steps."""
    for name in names:
        columns = ("step", "time against an eager SAM step: median (least - greatest)")
        rows = lambda name=name: gpu_times.step_times(name, device, capture, budget, B).items()  # noqa: E731
        report.section(f"Times: {name}", columns, rows, 3 * budget)


def compiling(report: Report, names: Sequence[str], device: str, budget: float, B: int = 0) -> None:
    """The tables of what torch.compile takes and gives."""

    def rows(name: str) -> Iterable[Sequence[str]]:
        for mode in (None, "reduce-overhead"):
            if report.left() > 60 or mode is None:
                latency, ratio = gpu_times.compile_times(name, mode, device, budget, B)
                yield str(mode or "default"), f"{latency:.1f}", ratio

    for name in names:
        columns = ("mode", "seconds to compile", "time against our plain step")
        title = f"torch.compile of the definition, m = 8: {name}"
        report.section(title, columns, lambda name=name: rows(name), 60)


def out_of_time() -> None:
    """End the process: one computation took longer than all the rest may."""
    print(f"\nout of time after {LAST:.0f} s: what is not above was not run", flush=True)
    os._exit(3)


def main() -> int:
    """Exit code."""
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was checked and nothing timed")
        return 2
    watch = threading.Timer(LAST, out_of_time)
    watch.daemon = True
    watch.start()
    report, device, names = Report(), str(pick("auto")), list(NETWORKS)
    print(f"## {torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    checks(report, names, device, cuda_graph)
    times(report, names, device, cuda_graph, 15.0)
    groups(report, (1, 2, 4), 20)
    compiling(report, names[:2], device, 5.0)
    if report.skipped:
        print(f"\nNo time was left for: {'; '.join(report.skipped)}")
    print(f"\n{'All checks passed' if not report.wrong else 'WRONG: ' + '; '.join(report.wrong)}.", end=" ")
    print(f"{LIMIT - report.left():.0f} s in all.")
    watch.cancel()
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
