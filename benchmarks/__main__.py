"""Run all benchmarks on one thread and write docs/benchmarks.md and docs/benchmarks.svg."""

from __future__ import annotations

import time
from itertools import chain

import torch

from benchmarks import measures, memory, own_loop, pipeline, profile_measures, profiles, report, steps


def main() -> None:
    """About ten minutes on two cores."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    rows = []
    for row in chain(pipeline.rows(), steps.rows(), measures.rows(), memory.rows(), own_loop.rows()):
        print(f"{time.perf_counter() - started:5.0f} s  {row.what}: {row.ratio} {row.target} {row.note}", flush=True)
        rows.append(row)
    curves = [*steps.growth(), measures.growth()]
    report.plot(curves, report.DOCS / "benchmarks.svg")
    missed = [row.what for row in rows if row.met is False]
    page = report.page(
        rows, curves, time.perf_counter() - started, profiles.text(missed) + profile_measures.text(missed)
    )
    (report.DOCS / "benchmarks.md").write_text(page, encoding="utf-8")
    print(f"wrote docs/benchmarks.md after {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
