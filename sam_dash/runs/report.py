"""What a training run tells the world: torch-free records that the store writes and the pages read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf, nan
from typing import Any

import numpy as np

from sam_dash.maths.estimate import Estimate

STATUSES = ("queued", "running", "done", "diverged", "failed", "stopped", "interrupted")
ACTIVE = ("queued", "running")
FINISHED = ("done", "diverged")  # deterministic ends: not run again


@dataclass(frozen=True)
class Measurement(Estimate):
    """An estimate of a quantity at one step of one run: the record that is stored, exported and read back."""

    step: int = 0
    epoch: float = 0.0
    quantity: str = ""

    @classmethod
    def at(cls, step: int, epoch: float, found: Mapping[str, Estimate]) -> list[Measurement]:
        """What was found after `step` steps, `epoch` epochs, by quantity."""
        return [cls(**vars(e), step=step, epoch=epoch, quantity=q) for q, e in found.items()]

    def row(self, run: str) -> dict[str, Any]:
        """As a row of the store; what is missing (nan, or infinite degrees of freedom) is None."""
        values = {f.name: PLAIN[str(f.type)](getattr(self, f.name)) for f in fields(self)}
        return {"run": run, **{k: None if x != x or x == MISSING.get(k) else x for k, x in values.items()}}

    @staticmethod
    def read(row: dict[str, Any]) -> dict[str, Any]:
        """A row of the store with its missing numbers again: the other way of `row`."""
        return row | {name: MISSING.get(name, nan) for name, value in row.items() if value is None}


PLAIN: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str, "bool": bool}
MISSING = {"dof": inf}  # where it is not nan


@dataclass
class Report:
    """What is new since the last report, for the runs of one stack in their order.

    `series[quantity]` (S, t): per-step values of the steps `first` ... `first + t - 1`. `measurements[i]`: those of
    run i. `phase` is "train" or "measure". `saved[i]`, if any: what run i goes on from, should its process end.
    """

    step: int
    steps: int
    phase: str
    first: int = 0
    series: Mapping[str, np.ndarray] = field(default_factory=dict)
    measurements: list[list[Measurement]] = field(default_factory=list)
    saved: Sequence[bytes] = ()


@dataclass
class Outcome:
    """How a run ended: status "done", "diverged" or "stopped", one line of why, the final weights (d,), and which way
    its steps were taken: "vmapped", by the definition, or another of `steppers`; on a GPU, whether recorded. `before`:
    seconds, its share, that earlier attempts took up to where it went on.
    """

    status: str
    message: str = ""
    weights: np.ndarray | None = None
    path: str = "vmapped"
    before: float = 0.0


Listener = Callable[[Report], set[int]]
"""Takes a report; returns the indices of the runs that the user has asked to stop."""


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, and what it says first."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
