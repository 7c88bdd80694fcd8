"""The process that reads a problem file for its card: `python -m sam_dash.runs.describe FILE ANSWER SECONDS`.

The answer, a file of JSON, is the card and the files that it is of, or what is wrong in one line. A file that takes
longer than so many seconds, after torch is imported, ends the process, which then prints where it was.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from sam_dash.maths import lanczos
from sam_dash.maths.curvature import check_symmetric
from sam_dash.maths.fast.measurer import measurer
from sam_dash.maths.flat import Layout, piecewise_linear
from sam_dash.maths.kept import kept
from sam_dash.problems import stack
from sam_dash.problems.arrays import DataError
from sam_dash.problems.card import Card
from sam_dash.problems.own import Own, load
from sam_dash.problems.problem import Problem
from sam_dash.problems.reading import FEW
from sam_dash.problems.source import of_file
from sam_dash.problems.stack import Stack
from sam_dash.runs.any_module import stepper
from sam_dash.runs.spec import RunSpec, Training


def main(path: str, answer: str, seconds: str) -> int:
    """Write the answer; 0."""
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    try:
        started = time.monotonic()
        own = load(path)
        found: dict[str, Any] = {
            "card": asdict(describe(own, time.monotonic() - started)),
            "files": list(map(str, own.files)),
        }
    except DataError as error:
        found = {"error": str(error)}
    faulthandler.cancel_dump_traceback_later()
    Path(answer).write_text(json.dumps(found))
    return 0


def describe(own: Own, seconds: float) -> Card:
    """The card of a problem that was loaded in so many seconds."""
    module = own.network(0)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(own.x_train[:1])
    layout = Layout.of(module)
    runs = stack.of(of_file(own), Problem(), [0], torch.device("cpu"))
    widths = tuple(outputs for outputs, _, _ in runs.chain.shapes[:-1]) if runs.chain else ()
    return Card(
        own.digest, tuple(own.x_train.shape[1:]), _kind(own.x_train), tuple(own.y_train.shape[1:]), _kind(own.y_train),
        len(own.x_train), len(own.x_test), own.classes, own.outputs, layout.d,
        max(layout.d, counter.get_total_flops() // 2), layout.sizes(), widths, own.loss_title,
        own.score.key if own.score else "", own.augment is not None, ways(runs), wrong(runs),
        not piecewise_linear(module), own.defaults, seconds,
    )  # fmt: skip


def ways(runs: Stack) -> tuple[str, str]:
    """How SAM's steps are taken of a whole batch, and of micro-batches; of a small batch, since it is but a trial."""
    B = min(8, runs.n // 2 * 2)
    found = [stepper(runs, [RunSpec(variant="sam", m=m, training=Training(batch=B))]).path for m in (B, max(1, B // 2))]
    return found[0], found[1]


def wrong(runs: Stack) -> str:
    """Why second derivatives of the loss cannot be measured, in one line; "" where they can."""
    x, y = runs.x[None, :FEW], runs.y[:, :FEW]
    try:
        with kept(runs.module):
            product = measurer(runs.module, runs.loss, runs.w0[0], runs.x[:1]).hvp(runs.w0, (x, y))
            check_symmetric(lanczos.alone(product, 0), runs.w0[0], torch.Generator().manual_seed(0))
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0]
    return ""


def _kind(a: torch.Tensor) -> str:
    return str(a.dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
