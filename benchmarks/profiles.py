"""Where the time goes in the steps that miss their target: the operators of our step and of the eager one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch.profiler import ProfilerActivity, profile

from benchmarks.problems import BATCHES, NETWORKS, problem
from benchmarks.steps import eager, ours

TOP = 7


def text(missed: Sequence[str]) -> str:
    """One table for each network whose m-SAM is too slow: ms a step by operator, ours at m = 1 beside eager SAM."""
    parts = []
    for name, (make, shape, B) in NETWORKS.items():
        if not any(what.startswith(name) and "against eager SAM" in what for what in missed):
            continue
        P = problem(make(), shape, BATCHES * B)
        mine, theirs = operators(ours(P, "sam", 1, B)), operators(eager(P, B))
        lines = ["| operator | ours, m = 1 | eager SAM |", "| --- | --- | --- |"]
        names = sorted(mine, key=lambda op: -mine[op])[:TOP]
        lines += [f"| `{op}` | {mine[op]:.3g} | {theirs.get(op, 0.0):.3g} |" for op in names]
        lines.append(f"| all | {sum(mine.values()):.3g} | {sum(theirs.values()):.3g} |")
        parts.append(f"\nWhere the time goes, {name}, ms a step:\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def operators(step: Callable[[], object], steps: int = 5) -> dict[str, float]:
    """ms a step spent in each operator itself."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            step()
    return {event.key: event.self_cpu_time_total / 1e3 / steps for event in found.key_averages()}
