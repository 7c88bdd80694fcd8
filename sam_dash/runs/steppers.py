"""The ways to take one step of a stack of runs. The first that the network and the variant allow is taken:

    chain      a perceptron: all runs in one pass that is written out (`maths.fast.chain`)
    eager      other networks at m = B: one run after another, by plain autograd
    factored   layers with factored gradients: one run after another, m-SAM for any m at the price of SAM
    vmapped    anything: the definition, vectorised over runs and micro-batches

Each is a function of the stack's weights W (S, d), its state and its `Moment`; it returns the `Descent`, h (S, d) and
what goes with it, the next state, and what to record: scalars (S,), and where there are any the weights of the samples
(S, n).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from sam_dash import variants
from sam_dash.maths.base import Descent
from sam_dash.maths.contract import Step
from sam_dash.maths.fast.chain import chain_step
from sam_dash.maths.fast.eager import EagerOracle
from sam_dash.maths.fast.factored import factored_step
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.fast.unformed import NotFactoredError, formed
from sam_dash.maths.flat import Layout
from sam_dash.maths.loss import Loss
from sam_dash.maths.micro import per_micro_batch, with_length
from sam_dash.maths.oracle import Batch, Oracle
from sam_dash.problems.stack import Stack
from sam_dash.runs.spec import RunSpec

Scalars = dict[str, Tensor]
Knobs = Mapping[str, Any]


class Moment(NamedTuple):
    """What a step of a stack of S runs may use: its batch (S, B, ...), (S, B), its noise (S, K, d), the full data where
    the variant asks for it, class counts (S, C), the step t, and the learning rate as a share of the largest one.
    """

    batch: Batch
    noise: Tensor
    full: Batch | None
    counts: Tensor
    t: int
    rate: float


Take = Callable[[Tensor, Any, Moment], tuple[Descent, Any, Scalars]]

STEP_FLOATS = 2**26  # parameters that the perturbed copies of one vmapped step may take: 256 MB in float32


class Stepper(NamedTuple):
    """How steps are taken, and the name of that way."""

    path: str
    take: Take


def stepper(problem: Stack, specs: Sequence[RunSpec]) -> Stepper:
    """The fastest way to step these runs; a trial step tells whether the variant can go it."""
    for path, make in (("chain", chain), ("eager", eager), ("factored", factored)):
        try:
            take = make(problem, specs)
            take(*start(problem, specs[0]))
        except NotFactoredError:
            continue
        return Stepper(path, take)
    return Stepper("vmapped", vmapped(problem, specs))


def chain(problem: Stack, specs: Sequence[RunSpec]) -> Take:
    """All runs of a perceptron at once."""
    v, knobs = variants.get(specs[0].variant), stacked_knobs(problem, specs)
    if problem.chain is None:
        raise NotFactoredError("not a chain of linear layers and ReLU")
    step = chain_step(v.step, specs[0].m, problem.chain, of_ours(problem))

    def take(W: Tensor, state: Any, at: Moment) -> tuple[Descent, Any, Scalars]:
        whole = Oracle(problem.losses, at.full) if at.full is not None else None
        L = Oracle(problem.losses, at.batch, at.noise, whole, t=at.t, rate=at.rate)
        out = step(L, W, state, **knobs)
        eps, mean = out.eps.norm(dim=-1).reshape(len(W), -1), formed(out.g)
        g, h = (torch.linalg.vector_norm(a, dim=1) for a in (mean, out.h))
        cosine = torch.linalg.vecdot(mean, out.h) / (g * h).clamp_min(1e-30)
        found = {"eps_norm": eps.mean(1), "g_norm": g, "h_norm": h, "cos_gh": cosine, **out.info}
        return Descent(out.h), out.state, found

    return take


def eager(problem: Stack, specs: Sequence[RunSpec]) -> Take:
    """One run after another by plain autograd, for whole batches."""
    v, spec = variants.get(specs[0].variant), specs[0]
    if v.uses_m and spec.m not in (None, spec.training.batch):
        raise NotFactoredError("several micro-batches")
    return looped(problem, specs, v.step, EagerOracle)


def factored(problem: Stack, specs: Sequence[RunSpec]) -> Take:
    """One run after another, on factored gradients."""
    v, m = variants.get(specs[0].variant), specs[0].m
    if not v.uses_m or m is None:
        raise NotFactoredError("a variant without micro-batches")
    step = factored_step(v.step, m, Taps(problem.module), of_ours(problem))
    return looped(problem, specs, step, Oracle)


def of_ours(problem: Stack) -> Loss:
    """The loss, of which all is known; NotFactoredError for a function of the user's."""
    if not isinstance(problem.loss, Loss):
        raise NotFactoredError("a loss of which only the values are known")
    return problem.loss


def channels_last(x: Tensor) -> Tensor:
    """Images (n, C, H, W) in the format that convolutions and pooling are faster in.

    Strides are set where C = 1: torch takes such a tensor to be in either format, and its convolutions in the other.
    """
    if x.ndim != 4:
        return x
    n, C, H, W = x.shape
    if C == 1:
        return x.contiguous().as_strided((n, 1, H, W), (H * W, 1, W, 1))
    return x.contiguous(memory_format=torch.channels_last)


def looped(problem: Stack, specs: Sequence[RunSpec], step: Callable[..., Step], oracle: type[Oracle]) -> Take:
    """A step of one run as a step of a stack of them, one after another."""

    layout = Layout.of(problem.module)

    def take(W: Tensor, state: Any, at: Moment) -> tuple[Descent, Any, Scalars]:
        outs = []
        for s, spec in enumerate(specs):
            whole = None if at.full is None else oracle(problem.losses, (at.full[0][s], at.full[1][s]), chunk=4096)
            L = oracle(
                problem.losses, (channels_last(at.batch[0][s]), at.batch[1][s]), at.noise[s], whole,
                t=at.t, rate=at.rate, counts=at.counts[s], layout=layout,
            )  # fmt: skip
            outs.append(step(L, W[s], pytree.tree_map(lambda a, s=s: a[s], state), **spec.knobs))
        return together(outs)

    return take


def together(outs: Sequence[Step]) -> tuple[Descent, Any, Scalars]:
    """The steps of single runs as that of their stack."""
    rows = [diagnostics(out) for out in outs]
    pairs = [(Descent.of(out), out.state) for out in outs]
    way, stacked = pytree.tree_map(lambda *a: torch.stack(a), *pairs)
    return way, stacked, {q: torch.stack([r[q] for r in rows]).detach() for q in rows[0]}


def vmapped(problem: Stack, specs: Sequence[RunSpec]) -> Take:
    """The definition, vectorised over the runs."""
    v, knobs = variants.get(specs[0].variant), stacked_knobs(problem, specs)
    step = plain_step(problem, specs[0])
    varied = {name: value.squeeze(1) for name, value in knobs.items() if isinstance(value, Tensor)}
    fixed = {name: value for name, value in knobs.items() if name not in varied}
    of_full = 0 if v.cost(**fixed).full else None

    layout = Layout.of(problem.module)

    def one(w: Tensor, state: Any, at: Moment, varied: dict[str, Tensor]) -> tuple[Descent, Any, Scalars]:
        whole = Oracle(problem.losses, at.full, chunk=4096) if at.full is not None else None
        L = Oracle(problem.losses, at.batch, at.noise, whole, t=at.t, rate=at.rate, counts=at.counts, layout=layout)
        out = step(L, w, state, **fixed, **varied)
        return Descent.of(out), out.state, diagnostics(out)

    dims: Any = Moment(0, 0, of_full, 0, None, None)  # type: ignore[arg-type]
    over = vmap(one, in_dims=(0, 0, dims, 0))
    return lambda W, state, at: over(W, state, at, varied)


def stacked_knobs(problem: Stack, specs: Sequence[RunSpec]) -> dict[str, Any]:
    """The runs' knobs: numbers where they agree, (S, 1) where they differ."""
    out: dict[str, Any] = {}
    for name, value in specs[0].knobs.items():
        values = [spec.knobs[name] for spec in specs]
        out[name] = problem.w0.new_tensor(values).unsqueeze(1) if len(set(values)) > 1 else value
    return out


def plain_step(problem: Stack, spec: RunSpec) -> Callable[..., Step]:
    """The variant's step at the run's m by its definition, in chunks that bound memory."""
    step, B = with_length(variants.get(spec.variant).step), spec.training.batch
    if spec.m in (None, B):
        return step
    chunk = max(1, STEP_FLOATS // problem.w0.numel())
    return per_micro_batch(step, spec.m, chunk=chunk if chunk < B // spec.m else None)


def diagnostics(out: Step) -> Scalars:
    """The scalars that every step reports: mean ||eps||, ||g||, ||h||, cos(g, h), and the variant's own."""
    mean, down = formed(out.g), out.descent
    g, h = mean.norm(), down.norm()
    cosine = mean @ down / (g * h).clamp_min(1e-30)
    return {"eps_norm": out.eps.norm(dim=-1).mean(), "g_norm": g, "h_norm": h, "cos_gh": cosine, **out.info}


def start(problem: Stack, spec: RunSpec) -> tuple[Tensor, Any, Moment]:
    """What a step is given at the start, with ones for noise and the first samples for a batch."""
    v = variants.get(spec.variant).at(spec.knobs)
    S, B = len(problem.seeds), spec.training.batch
    batch = problem.batch(torch.arange(B, device=problem.x.device).expand(S, B))
    noise = problem.w0.new_ones(S, v.noise, problem.w0.shape[1])
    full = problem.full() if v.cost(**spec.knobs).full else None
    return problem.w0, vmap(v.init)(problem.w0), Moment(batch, noise, full, problem.counts, 0, 1.0)
