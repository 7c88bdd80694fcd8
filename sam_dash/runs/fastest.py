"""The way to step some runs: on a GPU also as a recording, where its replays are measured to be right and to pay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sam_dash.problems.stack import Stack
from sam_dash.runs import any_module
from sam_dash.runs.graphs import Capture, NotRecordedError, Recorded, cuda_graph
from sam_dash.runs.report import one_line
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.steppers import Moment, Stepper, Take, start, stepper

Arguments = tuple[Tensor, Any, Moment]

PAYS = 0.9  # share of the plain step's time that a replay may take: a recording also takes memory
RTOL, ATOL = 1e-3, 1e-4  # float32 kernels that sum in any order; ATOL is relative to the largest entry
ROUNDS, SECONDS, MOST = 5, 0.02, 50  # of timing, in each round so long or so many steps


def fastest(problem: Stack, specs: Sequence[RunSpec]) -> Stepper:
    """The fastest way to step these runs: on a GPU also as a recording, where that pays."""
    way = stepper(problem, specs) if problem.ours else any_module.stepper(problem, specs)
    return recorded(way, problem, specs[0], cuda_graph) if on_gpu(problem) else way


def on_gpu(problem: Stack) -> bool:
    """Whether there are launches to save."""
    return problem.x.is_cuda


def recorded(way: Stepper, problem: Stack, spec: RunSpec, capture: Capture) -> Stepper:
    """`way` as a recording, if its steps are the same to rounding and pay; else as it is, and why in its name."""
    try:
        first = start(problem, spec)
        both = first, _another(problem, first, way.take)
        take = Recorded(way.take, *first, capture)
        for arguments in both:
            if not _agree(take(*arguments), way.take(*arguments)):
                raise NotRecordedError("its steps differ from plain ones")
        rounds = [(_seconds(way.take, both), _seconds(take, both)) for _ in range(ROUNDS)]
        plain, replayed = (1e3 * median(found) for found in zip(*rounds, strict=True))
        if replayed > PAYS * plain:
            raise NotRecordedError(f"it would take {replayed:.2f} ms a step, plain {plain:.2f}")
    except Exception as error:  # whatever it is, plain steps are right
        reason = str(error) if isinstance(error, NotRecordedError) else one_line(error)
        return Stepper(f"{way.path}, no CUDA graph: {reason}", way.take)
    return Stepper(f"{way.path}, CUDA graph: {replayed:.2f} ms a step, plain {plain:.2f}", take)


def _another(problem: Stack, first: Arguments, take: Take) -> Arguments:
    """A step from elsewhere, with another batch, noise and state."""
    W, _, at = first
    way, state, _ = take(*first)
    batch = problem.batch(problem.n - 1 - torch.arange(at.batch[1].shape[1], device=W.device).expand(len(W), -1))
    return W - 0.1 * way.h, state, at._replace(batch=batch, noise=-at.noise)


def _agree(found: Any, expected: Any) -> bool:
    pairs = zip(*(pytree.tree_leaves(side) for side in (found, expected)), strict=True)
    return all(
        torch.allclose(a, b, RTOL, ATOL * float(b.abs().nan_to_num().max()) if b.numel() else 0.0, equal_nan=True)
        for a, b in pairs
    )


def _seconds(take: Take, both: tuple[Arguments, Arguments]) -> float:
    """Seconds of one step, over as many in turn as take `SECONDS`; the GPU has done them all by then."""
    cuda, steps = both[0][0].is_cuda, 0
    if cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    while steps == 0 or (time.perf_counter() - started < SECONDS and steps < MOST):
        take(*both[steps % 2])
        steps += 1
    if cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps
