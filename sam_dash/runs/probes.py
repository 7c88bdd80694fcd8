"""What is measured on a run's clean (unperturbed) weights: the measurements of the table, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sam_dash.maths import curvature, lanczos
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.measurer import Plain, measurer
from sam_dash.maths.oracle import Batch
from sam_dash.problems.stack import Stack, torch_stream
from sam_dash.runs.measure import POINTS, Found
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.spec import RunSpec, divisors

CACHED = 2**20  # numbers that several runs measured at once may have in their layers' outputs: 4 MB in float32


@dataclass(frozen=True)
class Measured:
    """Runs of a stack that are measured at once, several where the network is a perceptron.

    `runs`: their numbers in the stack `problem`. `W` (S, d): their weights. `norms` (S, T): of the weights before every
    step, where a measurement reads them. `way`: the fastest way to measure this network.
    """

    problem: Stack
    runs: list[int]
    W: Tensor
    spec: RunSpec
    way: Plain
    norms: Tensor

    @cached_property
    def batch(self) -> Batch:
        """The first `POINTS` training samples of each run and the labels trained on: (S, n, ...), (S, n)."""
        rows = self.problem.rows[self.runs, :POINTS]
        return self.problem.x[rows], self.problem.y[self.runs, :POINTS]

    @cached_property
    def seeds(self) -> list[int]:
        """The seed of every run."""
        return [self.problem.seeds[run] for run in self.runs]

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One a run, from its seed; each measurement goes on where the one before has left it."""
        return [torch_stream(seed, "probes") for seed in self.seeds]

    @cached_property
    def sizes(self) -> list[int]:
        """The micro-batch sizes m: divisors of the batch size, of which the samples hold two micro-batches."""
        return [m for m in divisors(self.spec.training.batch) if 2 * m <= self.batch[1].shape[1]]

    @cached_property
    def product(self) -> lanczos.Stacked:
        """The products of the runs' Hessians with vectors."""
        return self.way.hvp(self.W, self.batch)


def measure(
    problem: Stack, runs: Sequence[int], W: Tensor, spec: RunSpec, norms: Tensor | None = None
) -> Iterator[dict[str, Estimate]]:
    """What `spec.measures` asks for, at W (S, d), of the runs numbered `runs` (S of them), in order: by quantity.

    `norms` (S, T) of the weights before every step. Perceptrons are measured several at once; what is found of a run
    does not depend on those beside it.
    """
    way = measurer(problem.module, problem.loss, problem.w0[0], problem.x[:1])
    size = together(problem, way, spec)
    norms = W.new_empty(len(W), 0) if norms is None else norms
    for part in zip(torch.tensor(runs).split(size), W.split(size), norms.split(size), strict=True):
        yield from measure_group(Measured(problem, part[0].tolist(), part[1], spec, way, part[2]))


def measure_group(of: Measured) -> list[Found]:
    """The measurements of runs that are measured at once."""
    found: list[Found] = [{} for _ in of.runs]
    for key in of.spec.measures.what:
        for one, quantities in zip(found, MEASURES[key].function(of), strict=True):
            one |= quantities
    return found


def together(problem: Stack, way: Plain, spec: RunSpec) -> int:
    """How many runs to measure at once: on a CPU no more than its cache holds, beyond which one by one is faster."""
    if not way.stacked:
        return 1
    vectors = max((MEASURES[key].vectors for key in spec.measures.what), default=1)
    floats = max(min(problem.n, POINTS) * way.floats(problem.w0[:1], problem.x[None]), vectors * problem.w0.shape[1])
    return max(1, (CACHED if problem.x.device.type == "cpu" else curvature.ELEMENTS) // floats)
