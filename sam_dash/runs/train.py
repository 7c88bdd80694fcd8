"""Train one stack, runs that differ by seed, rho or lambda only, step by step, with what it reports and measures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sam_dash.maths import shares
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.kept import kept
from sam_dash.maths.precision import refuse_tf32
from sam_dash.problems.datasets import DataError
from sam_dash.problems.stack import Stack, stack
from sam_dash.runs import standing
from sam_dash.runs.fastest import fastest
from sam_dash.runs.loop import Loop
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.memorise import memorise
from sam_dash.runs.pretrain import pretrain
from sam_dash.runs.probes import measure
from sam_dash.runs.report import Listener, Measurement, Outcome, Report
from sam_dash.runs.resume import StaleError
from sam_dash.runs.scores import evaluate
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.standing import Standing
from sam_dash.runs.steppers import Scalars

FLUSH_SECONDS = 0.5
SAVE_SECONDS = 5.0  # of work that is done again after a crash, or more where saving would take over `SHARE` of it
SHARE = 0.01


def train(
    specs: Sequence[RunSpec], listener: Listener, device: str = "auto", *, saved: Sequence[bytes] = ()
) -> list[Outcome]:
    """Train and measure runs that differ by seed, rho or lambda; tell `listener` every half second and at the end.

    Deterministic on CPU, and the same for every way to stack the runs, to rounding. A run whose gradient or weights
    stop being finite ends as "diverged at step t"; its curve up to there is kept, and the other runs go on.

    `saved`: where each of the runs stood, from a report of an earlier attempt; they go on from there and end as they
    would have, on the CPU to the last bit. StaleError, before the first report, if they cannot.
    """
    began, spec = time.monotonic(), specs[0]
    if any(s.group != spec.group for s in specs):
        raise ValueError("the runs of a stack may differ by their seed, rho and lambda only")
    problem = stack(spec.problem, [s.seed for s in specs], pick(device))
    stood = standing.read(saved)
    first = standing.starts(stood, problem.w0)
    if spec.problem.start == "memorised":
        problem = memorise(problem, spec.training.batch, first)
    if spec.problem.start == "pretrained":
        problem = pretrain(problem, spec.problem, spec.training.batch, first)
    if problem.n < spec.training.batch:
        raise DataError(f"{problem.n} training samples are fewer than one batch of B = {spec.training.batch}")
    with nullcontext() if problem.ours else kept(problem.module):
        return _Run(specs, problem, listener, stood, began).go()


def pick(device: str) -> torch.device:
    """The device: "auto" is CUDA where there is one."""
    refuse_tf32()  # for the measurements above all
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))


class _Run:
    """The state of one training run: what has been reported, who has diverged or been stopped."""

    def __init__(
        self, specs: Sequence[RunSpec], problem: Stack, listener: Listener, stood: Sequence[Standing], began: float
    ) -> None:
        spec = specs[0]
        asked = [MEASURES[key] for key in spec.measures.what]
        along = replace(spec.measures, what=tuple(m.key for m in asked if not m.once))
        self.along = replace(spec, measures=along)
        self.specs, self.spec, self.problem, self.listener = specs, spec, problem, listener
        self.S = len(problem.seeds)
        self.per_epoch = problem.n // spec.training.batch
        self.total = self.per_epoch * spec.training.epochs
        self.ended: dict[int, Outcome] = {}
        self.scalars: list[Scalars] = []
        self.path_of_norms = any(m.path for m in asked)
        self.norms: list[Tensor] = []  # ||w|| (S,) of every step, where a measurement reads them
        self.found: list[list[Measurement]] = [[] for _ in range(self.S)]
        self.seconds = 0.0  # of the steps and their reports, without looks and measurements
        self.before = [run["before"] for run in stood] or [0.0] * self.S
        self.began = began
        self.last = self.kept = time.monotonic()
        self.interval = SAVE_SECONDS
        way = fastest(problem, specs)
        self.path, self.made = way.path, standing.made_with(problem.w0.device, way.path)
        self.loop = Loop(problem, specs, way.take)
        self.stood = stood
        if stood:
            self.go_on(stood)
        self.since = time.perf_counter()

    def go(self) -> list[Outcome]:
        W, every, t = self.loop.W, self.spec.measures.every, self.loop.t
        if not self.stood:
            self.look(0, W, measured=every > 0)
        self.since = time.perf_counter()
        for stepped, scalars in self.loop:
            self.scalars.append(scalars | {"w_norm": W.norm(dim=1)})
            W, t = stepped, self.loop.t
            if self.path_of_norms:
                self.norms.append(self.scalars[-1]["w_norm"])
            if t % self.per_epoch == 0:
                self.drop_diverged(t, W)  # waits for the device
                self.seconds += time.perf_counter() - self.since
                self.look(t, W, measured=every > 0 and t // self.per_epoch % every == 0)
                self.since = time.perf_counter()
            if time.monotonic() - self.last > FLUSH_SECONDS:
                self.flush(t)
            if len(self.ended) == self.S:
                break
        self.flush(t)
        weights = W.detach().cpu().numpy()
        ended = [self.ended.get(s, Outcome("done")) for s in range(self.S)]
        return [
            replace(outcome, weights=weights[s], path=self.path, before=self.before[s])
            for s, outcome in enumerate(ended)
        ]

    def go_on(self, stood: Sequence[Standing]) -> None:
        """Take up what the runs had come to."""
        if any(run["made"] != self.made for run in stood):
            raise StaleError("saved by other software, on another device, or by another way of steps")
        self.loop.go_on(stood)
        self.ended = {s: Outcome("diverged", run["diverged"]) for s, run in enumerate(stood) if run["diverged"]}
        self.seconds = sum(run["seconds"] for run in stood)
        if self.path_of_norms:
            self.norms = list(torch.stack([run["norms"] for run in stood], 1).to(self.loop.W).unbind(0))

    def saved(self) -> list[bytes]:
        """What the runs would go on from, if it is time to keep that; it takes `SHARE` of the time at most."""
        at = time.monotonic()
        if at - self.kept < self.interval or not self.alive():
            return []
        spent = (self.seconds + time.perf_counter() - self.since) / self.S
        moved = self.spec.problem.start != "init"
        norms = torch.stack(self.norms, 1).cpu() if self.norms else torch.zeros(self.S, 0)
        return standing.write(
            {
                **where,
                "made": self.made,
                "start": self.problem.w0[s].cpu().clone() if moved else None,
                "diverged": self.ended[s].message if s in self.ended else "",
                "norms": norms[s].clone(),
                "seconds": spent,
                "before": self.before[s] + (at - self.began) / self.S,
            }
            for s, where in enumerate(self.loop.standing())
        )

    def look(self, t: int, W: Tensor, *, measured: bool) -> None:
        """Losses and accuracies at the weights W (S, d), and the costly measurements where they are due."""
        t_last = t == self.total
        spec = self.spec if t_last else self.along
        scores = evaluate(self.problem, W, self.spec.problem)
        runs = self.alive()
        measured = bool((measured or t_last) and spec.measures.what and runs)
        norms = torch.stack(self.norms, 1)[runs] if self.norms else None
        measurements = measure(self.problem, runs, W[runs], spec, norms)
        for s in runs:
            found = scores[s]
            if measured:
                self.flush(t, "measure")
                found |= next(measurements)
            if t_last:
                method = f"wall clock of the steps of a stack of {self.S}, shared evenly"
                found["train_seconds"] = Estimate(self.seconds / self.S, 0.0, method, self.total)
            self.found[s] += Measurement.at(t, t / self.per_epoch, found)

    def alive(self) -> list[int]:
        return [s for s in range(self.S) if s not in self.ended]

    def drop_diverged(self, t: int, W: Tensor) -> None:
        """End the runs with a step that was not finite since the last look, at that step."""
        norms = torch.stack([row["h_norm"] for row in self.scalars]) if self.scalars else W.new_zeros(0, self.S)
        finite = norms.isfinite().cpu().numpy()
        for s in self.alive():
            if not finite[:, s].all():
                bad = t - len(finite) + int(np.argmin(finite[:, s])) + 1
                self.ended[s] = Outcome("diverged", f"diverged at step {bad}: the gradient is not finite")
            elif not bool(W[s].isfinite().all()):
                self.ended[s] = Outcome("diverged", f"diverged at step {t}: the weights are not finite")

    def flush(self, t: int, phase: str = "train") -> None:
        """Report what is new, and note who has been stopped."""
        self.drop_diverged(t, self.problem.w0)
        first = t - len(self.scalars)
        names = list(self.scalars[0]) if self.scalars else []
        table = {q: torch.stack([row[q] for row in self.scalars], 1).float() for q in names}
        if "sample_weights" in table:
            table |= shares.series(table.pop("sample_weights"))
        at, saved = time.monotonic(), self.saved() if phase == "train" else []
        asked = self.listener(
            Report(t, self.total, phase, first, {q: x.cpu().numpy() for q, x in table.items()}, self.found, saved)
        )
        if saved:
            self.kept = time.monotonic()
            self.interval = max(SAVE_SECONDS, (self.kept - at) / SHARE)
        for s in asked:
            self.ended.setdefault(s, Outcome("stopped", f"stopped at step {t}"))
        self.scalars, self.found = [], [[] for _ in range(self.S)]
        self.last = time.monotonic()
