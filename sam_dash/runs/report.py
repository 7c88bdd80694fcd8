"""What a training run tells the world: torch-free records that the store writes and the pages read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

STATUSES = ("queued", "running", "done", "diverged", "failed", "stopped", "interrupted")
ACTIVE = ("queued", "running")
FINISHED = ("done", "diverged")  # deterministic ends: not run again


class Measurement(NamedTuple):
    """One number at one step of one run, with its error and how it was found.

    `stderr` is the standard error of the estimator (0 where exact, nan where it has none), `method` what it is,
    `budget` how many probes, iterations or samples it took, `residual` that of an iterative method, else nan.
    """

    step: int
    epoch: float
    quantity: str
    value: float
    stderr: float = float("nan")
    method: str = ""
    budget: int = 0
    residual: float = float("nan")
    converged: bool = True


@dataclass
class Report:
    """What is new since the last report, for the runs of one stack in their order.

    `series[quantity]` (S, t): per-step values of the steps `first` ... `first + t - 1`. `measurements[i]`: those of
    run i. `phase` is "train" or "measure".
    """

    step: int
    steps: int
    phase: str
    first: int = 0
    series: Mapping[str, np.ndarray] = field(default_factory=dict)
    measurements: list[list[Measurement]] = field(default_factory=list)


@dataclass
class Outcome:
    """How a run ended: status "done", "diverged" or "stopped", one line of why, the final weights (d,), and which way
    its steps were taken: "vmapped", by the definition, or another of `steppers`; on a GPU, whether recorded.
    """

    status: str
    message: str = ""
    weights: np.ndarray | None = None
    path: str = "vmapped"


Listener = Callable[[Report], set[int]]
"""Takes a report; returns the indices of the runs that the user has asked to stop."""


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, and what it says first."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
