"""Train one stack: runs that differ by seed only, in one vectorised step, with what it reports and measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from sam_dash import variants
from sam_dash.maths import base
from sam_dash.maths.contract import Step, Variant
from sam_dash.maths.draws import draw
from sam_dash.maths.factored import factored_step
from sam_dash.maths.flat import Layout
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Batch, Oracle
from sam_dash.maths.taps import NotFactoredError, Taps
from sam_dash.problems.datasets import DataError
from sam_dash.problems.stack import Stack, stack, torch_stream
from sam_dash.runs.memorise import memorise
from sam_dash.runs.probes import evaluate, measure
from sam_dash.runs.report import Listener, Measurement, Outcome, Report
from sam_dash.runs.spec import RunSpec, Training

Scalars = dict[str, Tensor]

FLUSH_SECONDS = 0.5
STEP_FLOATS = 2**26  # parameters that the perturbed copies of one step may take: 256 MB in float32


def train(specs: Sequence[RunSpec], listener: Listener, device: str = "auto") -> list[Outcome]:
    """Train and measure runs that differ by seed only; tell `listener` about every half second and at the end.

    Deterministic on CPU, and the same for every way to stack the seeds, to rounding. A run whose gradient or weights
    stop being finite ends as "diverged at step t"; its curve up to there is kept, and the other runs go on.
    """
    spec = specs[0]
    if any(s.group != spec.group for s in specs):
        raise ValueError("the runs of a stack may differ by their seed only")
    problem = stack(spec.problem, [s.seed for s in specs], pick(device))
    if spec.problem.start == "memorised":
        problem = memorise(problem, spec.training.batch)
    if problem.n < spec.training.batch:
        raise DataError(f"{problem.n} training samples are fewer than one batch of B = {spec.training.batch}")
    return _Run(spec, problem, listener).go()


def pick(device: str) -> torch.device:
    """The device: "auto" is CUDA where there is one."""
    torch.backends.cudnn.allow_tf32 = False  # float32 must mean float32, for the measurements above all
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))


def steps(problem: Stack, spec: RunSpec, step: Callable[..., Step] | None = None) -> Iterator[tuple[Tensor, Scalars]]:
    """The weights (S, d) after every training step and its scalars (S,), by the definition unless `step` is given."""
    training = spec.training
    v, knobs = variants.get(spec.variant), spec.knobs
    S = len(problem.seeds)
    step = step or plain_step(problem, spec)
    full = problem.full() if v.cost(**knobs).full else None

    layout = Layout.of(problem.module)

    def one(
        w: Tensor, state: object, batch: Batch, noise: Tensor, full: Batch | None, counts: Tensor, t: int, share: float
    ) -> tuple[Tensor, Any, Scalars]:
        whole = Oracle(problem.losses, full, chunk=4096) if full is not None else None
        L = Oracle(problem.losses, batch, noise, whole, t=t, rate=share, counts=counts, layout=layout)
        out = step(L, w, state, **knobs)
        return out.h, out.state, _diagnostics(out)

    optimiser = base_of(training, v)
    probes = [torch_stream(seed, "noise") for seed in problem.seeds]
    per_epoch = problem.n // training.batch
    rate = base.SCHEDULES[training.schedule](training.lr, per_epoch * training.epochs)
    W, state = problem.w0, vmap(v.init)(problem.w0)
    memory = optimiser.init(W)
    stacked = vmap(one, in_dims=(0, 0, 0, 0, None if full is None else 0, 0, None, None))
    for epoch in range(training.epochs):
        order = torch.stack([problem.order(s, epoch, training.batch) for s in range(S)], 1).to(W.device)
        for i in range(per_epoch):
            t = epoch * per_epoch + i
            noise = torch.stack([draw(v, W, g) for g in probes])
            h, state, scalars = stacked(
                W, state, problem.batch(order[i]), noise, full, problem.counts, t, rate(t) / training.lr
            )
            W, memory = optimiser.update(W, h, memory, rate(t))
            yield W, scalars


def base_of(training: Training, v: Variant) -> base.Base:
    """The base optimiser; plain gradient descent for a variant that brings its own descent."""
    if v.descends:
        return base.sgd(weight_decay=training.weight_decay)
    if training.optimiser == "sgd":
        return base.sgd(training.momentum, training.nesterov, training.weight_decay)
    return base.adamw(weight_decay=training.weight_decay)


def plain_step(problem: Stack, spec: RunSpec) -> Callable[..., Step]:
    """The variant's step at the run's m by its definition, in chunks that bound memory."""
    v, B = variants.get(spec.variant), spec.training.batch
    if spec.m in (None, B):
        return v.step
    chunk = max(1, STEP_FLOATS // problem.w0.numel())
    return per_micro_batch(v.step, spec.m, chunk=chunk if chunk < B // spec.m else None)


def fast_step(problem: Stack, spec: RunSpec) -> Callable[..., Step] | None:
    """The same on factored gradients, where the network and the variant have them and it pays; else None."""
    v, B = variants.get(spec.variant), spec.training.batch
    if not v.uses_m or spec.m is None or (spec.m == B and not v.cost(**spec.knobs).per_sample):
        return None
    try:
        step = factored_step(v.step, spec.m, Taps(problem.module))
        w, index = problem.w0[0], torch.arange(B, device=problem.x.device).expand(len(problem.seeds), B)
        x, y = problem.batch(index)
        noise = w.new_ones(v.noise, len(w))
        step(Oracle(problem.losses, (x[0], y[0]), noise), w, v.init(w), **spec.knobs)  # does it ask for what there is?
    except NotFactoredError:
        return None
    return step


def _diagnostics(out: Step) -> Scalars:
    """The scalars that every step reports: mean ||eps||, ||g||, ||h||, cos(g, h), and the variant's own."""
    g, h = out.g.norm(), out.h.norm()
    cosine = out.g @ out.h / (g * h).clamp_min(1e-30)
    return {"eps_norm": out.eps.norm(dim=-1).mean(), "g_norm": g, "h_norm": h, "cos_gh": cosine, **out.info}


class _Run:
    """The state of one training run: what has been reported, who has diverged or been stopped."""

    def __init__(self, spec: RunSpec, problem: Stack, listener: Listener) -> None:
        self.spec, self.problem, self.listener = spec, problem, listener
        self.S = len(problem.seeds)
        self.per_epoch = problem.n // spec.training.batch
        self.total = self.per_epoch * spec.training.epochs
        self.ended: dict[int, Outcome] = {}
        self.scalars: list[Scalars] = []
        self.found: list[list[Measurement]] = [[] for _ in range(self.S)]
        self.last = time.monotonic()

    def go(self) -> list[Outcome]:
        W, every = self.problem.w0, self.spec.measures.every
        fast = fast_step(self.problem, self.spec)
        self.look(0, W, measured=every > 0)
        for t, (W, scalars) in enumerate(steps(self.problem, self.spec, fast), 1):
            self.scalars.append(scalars)
            if t % self.per_epoch == 0:
                self.drop_diverged(t, W)
                self.look(t, W, measured=every > 0 and t // self.per_epoch % every == 0)
            if time.monotonic() - self.last > FLUSH_SECONDS:
                self.flush(t)
            if len(self.ended) == self.S:
                break
        self.flush(t)
        weights = W.detach().cpu().numpy()
        path = "factored" if fast else "vmapped"
        ended = [self.ended.get(s, Outcome("done")) for s in range(self.S)]
        return [replace(outcome, weights=weights[s], path=path) for s, outcome in enumerate(ended)]

    def look(self, t: int, W: Tensor, *, measured: bool) -> None:
        """Losses and accuracies at the weights W (S, d), and the costly measurements where they are due."""
        t_last = t == self.total
        for s in self.alive():
            found = evaluate(self.problem, s, W[s], self.spec.problem)
            if (measured or t_last) and self.spec.measures.what:
                self.flush(t, "measure")
                found += measure(self.problem, s, W[s], self.spec)
            self.found[s] += [m._replace(step=t, epoch=t / self.per_epoch) for m in found]

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
        table = {q: torch.stack([row[q] for row in self.scalars], 1).float().cpu().numpy() for q in names}
        asked = self.listener(Report(t, self.total, phase, first, table, self.found))
        for s in asked:
            self.ended.setdefault(s, Outcome("stopped", f"stopped at step {t}"))
        self.scalars, self.found = [], [[] for _ in range(self.S)]
        self.last = time.monotonic()
