"""docs/benchmarks.md and docs/benchmarks.svg, from rows and curves."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.timing import Ratio

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = (
    "torch", "numpy", "pyhessian", "pytorch_optimizer", "backpack-for-pytorch", "curvlinops-for-pytorch",
    "hessian-eigenthings",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One ratio; `target` and whether it is `met`, where there is one."""

    what: str
    ratio: Ratio
    target: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """Seconds of each side along an axis."""

    axis: str
    values: Sequence[int]
    seconds: dict[str, list[float]]


def at_most(what: str, ratio: Ratio, target: float, note: str = "") -> Row:
    """A row whose ratio should not exceed the target."""
    return Row(what, ratio, f"≤ {target:g}", ratio.value <= target, note)


def at_least(what: str, ratio: Ratio, target: float, note: str = "") -> Row:
    """A row whose ratio should reach the target."""
    return Row(what, ratio, f"≥ {target:g}", ratio.value >= target, note)


def page(rows: Sequence[Row], curves: Sequence[Curve], seconds: float, profiles: str = "") -> str:
    """The Markdown page."""
    lines = ["| what | ratio: median (least - greatest) | target | met | |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        lines.append(f"| {row.what} | {row.ratio} | {row.target} | {met} | {row.note} |")
    missed = [row for row in rows if row.met is False]
    said = f"{len([r for r in rows if r.met])} of {len([r for r in rows if r.met is not None])} targets are met."
    tables = "\n\n".join(table(curve) for curve in curves)
    return f"""# Benchmarks

Ratios, side by side in one process on one thread, alternating rounds; medians over the rounds, with the least and the
greatest. "Eager SAM" and "the user's loop" are `benchmarks/user.py`: the usual first_step/second_step optimiser, and a
loop over it for each micro-batch. Our steps are those of `runs.loop`, with batches, update and recorded scalars.
Peak memory is that of all tensors alive at once. All is on a CPU. `torch.compile` is not used there: docs/LOG.md has
what it gains and takes. CUDA graphs have never run, for want of a GPU: `python -m benchmarks.gpu` is for one.

Written by `make bench` on {datetime.date.today()} in {seconds / 60:.0f} min. {machine()}

{said}

{chr(10).join(lines)}
{profiles if missed else ""}
## How cost grows

![Seconds against m, width, seeds and samples](benchmarks.svg)

Milliseconds (medians), MLP 40-128-128-10, B = 128.

{tables}
"""


def machine() -> str:
    """The machine and the versions, in one sentence each."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = f"{len(models)} cores of {models[0]}" if models else cpu
    load = " / ".join(f"{x:.1f}" for x in os.getloadavg())
    busy = f"shared with other work (load {load} at the end)"
    return f"Machine: {cpu}, {busy}. Python {platform.python_version()}, {', '.join(found)}."


def table(curve: Curve) -> str:
    """One curve as a Markdown table."""
    head = f"| {curve.axis} | " + " | ".join(map(str, curve.values)) + " |"
    body = [
        f"| {side} | " + " | ".join(f"{1e3 * s:.3g}" for s in found) + " |" for side, found in curve.seconds.items()
    ]
    return "\n".join([head, "| --- " * (len(curve.values) + 1) + "|", *body])


def plot(curves: Sequence[Curve], path: Path) -> None:
    """All curves on logarithmic axes, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "sam-dash"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(3.6 * len(curves), 3.4), layout="constrained")
    for ax, curve in zip(axes, curves, strict=True):
        for (side, found), marker in zip(curve.seconds.items(), "osD^", strict=False):
            ax.loglog(curve.values, [1e3 * s for s in found], marker=marker, markersize=4, label=side)
        ax.set_xlabel(curve.axis)
        ax.set_xticks(list(curve.values), [str(v) for v in curve.values])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7)
    axes[0].set_ylabel("ms")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
