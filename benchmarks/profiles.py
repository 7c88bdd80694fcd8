"""Where the time goes in the steps that miss their target, and how much arithmetic they need at the least.

`python -m benchmarks.profiles` prints it for m-SAM on every network; `make bench` writes it for what is missed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.problems import BATCHES, NETWORKS, problem
from benchmarks.steps import eager, ours
from sam_dash.maths.fast.chain import chain_or_none
from sam_dash.maths.fast.taps import Taps
from sam_dash.problems.stack import Stack

KINDS = {
    "convolutions forward": "convolution|conv2d",
    "convolutions backward": "convolution_backward",
    "matrix products": "mm|bmm|addmm|baddbmm|baddbmm_",
    "norm layers": "native_group_norm|native_group_norm_backward|native_layer_norm",
    "pooling": "max_pool2d_with_indices|max_pool2d_with_indices_backward|adaptive_avg_pool2d",
    "patches unfolded and folded": "im2col|col2im",
    "copies and fills": "copy_|fill_|zero_|cat|index|index_select",
    "elementwise and sums": "add|add_|sub|addcmul|addcmul_|mul|mul_|div|div_|pow|sum|clamp_min|clamp_min_|maximum|gt|"
    "threshold_backward|linalg_vector_norm|_softmax|_log_softmax|_log_softmax_backward_data|mean|std",
}
OTHER = "all else: views, allocation, autograd, small operators"


def kind(operator: str) -> str:
    """The kind of an operator of the profiler."""
    name = operator.removeprefix("aten::").removeprefix("mkldnn_")
    return next((k for k, names in KINDS.items() if name in names.split("|")), OTHER)


def text(missed: Sequence[str]) -> str:
    """One table for each network with a step that misses: share of the time by kind of operator, beside eager SAM."""
    parts = []
    for name in NETWORKS:
        labels = [label(what) for what in missed if what.startswith(f"{name}:")]
        labels = [found for found in dict.fromkeys(labels) if found]
        if labels:
            parts.append(section(name, labels))
    return "".join(parts)


def label(what: str) -> str:
    """The step that a row of the table is about; "" for a row about something else."""
    step = re.search(r"m = \d+|one probe|exact norms", what)
    return step[0] if step else ""


def section(name: str, labels: Sequence[str]) -> str:
    """The table of one network, and what its steps need to compute."""
    make, shape, B = NETWORKS[name]
    P = problem(make(), shape, BATCHES * B)
    sides = {"eager SAM": eager(P, B)} | {found: step(P, found, B) for found in labels}
    shares = {side: kinds(call) for side, call in sides.items()}
    lines, base = table(shares, "eager SAM")
    bounds = [f"{found}: {bound(P, int(found[4:]), B)}" for found in labels if found.startswith("m = ")]
    said = f"\nArithmetic against SAM's, {'; '.join(bounds)}.\n" if bounds else ""
    return f"\nWhere the time goes, {name}, % of the time of an eager SAM step ({base:.3g} ms profiled):\n\n" + (
        lines + "\n" + said
    )


def table(shares: Mapping[str, Mapping[str, float]], base: str) -> tuple[str, float]:
    """Time by kind of every side, in % of all of `base`'s, as a Markdown table; and that in ms."""
    whole = sum(shares[base].values())
    lines = [f"| kind of operator | {' | '.join(shares)} |", "| --- " * (len(shares) + 1) + "|"]
    for of in (*KINDS, OTHER):
        row = [100 * found.get(of, 0.0) / whole for found in shares.values()]
        if max(row) >= 1:
            lines.append(f"| {of} | {' | '.join(f'{x:.0f}' for x in row)} |")
    lines.append(f"| all | {' | '.join(f'{100 * sum(found.values()) / whole:.0f}' for found in shares.values())} |")
    return "\n".join(lines), whole


def step(P: Stack, found: str, B: int) -> Callable[[], object]:
    """The step of that label."""
    if found.startswith("m = "):
        return ours(P, "sam", int(found[4:]), B)
    return ours(P, "rwsam", None, B, norms=found.replace("one probe", "one-probe").replace("exact norms", "exact"))


def kinds(call: Callable[[], object], steps: int = 5) -> dict[str, float]:
    """ms a step spent in operators of each kind."""
    for _ in range(2):
        call()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            call()
    out: dict[str, float] = {}
    for event in found.key_averages():
        of = kind(event.key)
        out[of] = out.get(of, 0.0) + event.self_cpu_time_total / 1e3 / steps
    return out


def bound(P: Stack, m: int, B: int) -> str:
    """Multiplications of a step of m-SAM over SAM's, and the numbers in the gradients that it has to form."""
    own, sam, formed = multiplications(P, m, B)
    return f"{own / sam:.2f} times the multiplications, with {4 * formed / 1e6:.0f} MB of micro-batch gradients formed"


def multiplications(P: Stack, m: int, B: int) -> tuple[int, int, int]:
    """Of m-SAM in the cheaper form of each layer, and of SAM; and the numbers in the gradients that are formed.

    SAM: two passes of three products a layer, of which the first layer needs no gradient of its inputs. m-SAM: the
    same; a layer whose gradients are not formed adds three times two products of `unformed` (the ghost norm, and the
    perturbation forward and backward). A formed linear layer, but in a perceptron, adds one product forward and one
    backward.
    """
    taps, chain = Taps(P.module), chain_or_none(P.module) is not None
    own = sam = formed = 0
    for k, (layer, shape) in enumerate(zip(taps.layers, taps.output_shapes(P.w0[0], P.x[:B]), strict=True)):
        if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            continue
        o, i, positions = len(layer.weight), layer.weight[0].numel(), math.prod(shape[2:])
        one = B * positions * o * i
        both, low = (6 if k else 4) * one, unformed(layer, positions, m)
        if m == B:
            extra = 0
        elif low:
            extra = B // m * low * 3
        else:
            extra = 2 * one * (isinstance(layer, torch.nn.Linear) and not chain)
        own, sam, formed = own + both + extra, sam + both, formed + (0 if low else B // m * o * i)
    return own, sam, formed


def unformed(layer: Any, positions: int, m: int) -> int:
    """Multiplications of the two products by which a micro-batch's gradient need not be formed; 0 where it is.

    X X^T and D D^T: of inputs and deltas in a linear layer, of pixels in a convolution, which are `stride` squared
    times as many as its positions (`factors.cheaper`, `factors_conv.conv`).
    """
    o, i, r = len(layer.weight), layer.weight[0].numel(), m * positions
    if isinstance(layer, torch.nn.Linear):
        return r * r * (i + o) if r * (i + o) < i * o else 0
    seen = r * math.prod(layer.stride)
    products = seen * seen * layer.in_channels + r * r * o
    return products if 2 * products < r * o * i else 0


def main() -> None:
    """m-SAM at m = 1 and 8 on every network, and RW-SAM."""
    torch.set_num_threads(1)
    steps = ("m = 1", "m = 8", "one probe", "exact norms")
    print(text([f"{name}: {found}" for name in NETWORKS for found in steps]))


if __name__ == "__main__":
    main()
