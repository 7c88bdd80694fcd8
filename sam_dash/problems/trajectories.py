"""The way of a variant through a loss of few weights, for several seeds at once, and what its step does at a saddle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import hessian, jacrev, vmap

from sam_dash import variants
from sam_dash.maths import base
from sam_dash.maths.draws import draws
from sam_dash.maths.oracle import Batch, LossesFn, Oracle
from sam_dash.problems.landscapes import Landscape
from sam_dash.problems.stack import torch_stream

JUMP = 1e6  # an entry of a Jacobian above it: the step is not continuous there


def walk(
    losses: LossesFn, variant: str, W: Tensor, batches: Iterator[Batch], full: Batch, *,
    lr: float, momentum: float, seeds: Sequence[int], knobs: Mapping[str, Any],
) -> Iterator[Tensor]:  # fmt: skip
    """The weights (S, d) after each step from W, one a batch ((S, B, ...), (S, B)); the actual variant, vectorised.

    A knob that is a tensor (S,) differs between the runs.
    """
    v = variants.get(variant)
    varied = {name: value for name, value in knobs.items() if isinstance(value, Tensor)}
    fixed = v.check({name: value for name, value in knobs.items() if name not in varied})
    whole = Oracle(losses, full)
    counts = torch.ones(1)

    def one(w: Tensor, s: Any, batch: Batch, noise: Tensor, varied: dict[str, Tensor], t: int) -> tuple[Any, Any]:
        out = v.step(Oracle(losses, batch, noise, whole, t=t, counts=counts), w, s, **{**fixed, **varied})
        return base.Descent.of(out), out.state

    step = vmap(one, in_dims=(0, 0, 0, 0, 0, None))
    optimiser = base.sgd(0.0 if v.descends else momentum)
    generators = [torch_stream(seed, "noise") for seed in seeds]
    state, memory = vmap(v.init)(W), optimiser.init(W)
    for t, batch in enumerate(batches):
        way, state = step(W, state, batch, draws(v, W, generators), varied, t)
        W, memory = optimiser.descend(W, way, memory, lr)
        yield W


def tilted(land: Landscape) -> LossesFn:
    """The landscape's loss plus z w for each z (2,) of a batch: a sample whose gradient is off by z."""
    return lambda w, batch: land.loss(w) + batch[0] @ w


def tilts(sigma: float, seeds: Sequence[int], steps: int) -> Iterator[Batch]:
    """Each step a batch of one tilt for every seed, normal with standard deviation sigma in both coordinates."""
    generators = [torch_stream(seed, "order") for seed in seeds]
    zeros = torch.zeros(len(seeds), 1, dtype=torch.int64)
    for _ in range(steps):
        z = torch.stack([torch.randn(1, 2, generator=g, dtype=torch.float64) for g in generators])
        yield sigma * z, zeros


def still() -> Batch:
    """A batch of one sample that is not tilted."""
    return torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)


def trajectory(
    land: Landscape, variant: str, *, steps: int, lr: float, start: tuple[float, float] | None = None,
    sigma: float = 0.0, momentum: float = 0.0, seeds: Sequence[int] = (0,), **knobs: Any,
) -> Tensor:  # fmt: skip
    """The weights (steps + 1, S, 2) of a variant under gradient descent with a constant learning rate, in float64."""
    W = torch.tensor(start or land.start, dtype=torch.float64).repeat(len(seeds), 1)
    path = walk(
        tilted(land), variant, W, tilts(sigma, seeds, steps), still(),
        lr=lr, momentum=momentum, seeds=seeds, knobs=knobs,
    )  # fmt: skip
    return torch.stack([W, *path])


def spectrum(land: Landscape) -> tuple[Tensor, Tensor]:
    """Eigenvalues (2,) of the Hessian at the saddle, the negative one first, and its eigenvectors as columns."""
    H = hessian(land.loss)(torch.tensor(land.saddle, dtype=torch.float64))
    return torch.linalg.eigh(H)


def critical_radius(land: Landscape) -> float:
    """1/|lambda_1|, lambda_1 < 0 the lowest eigenvalue of the Hessian at the saddle."""
    return float(-1 / spectrum(land)[0][0])


def factors(land: Landscape, variant: str, *, lr: float, **knobs: Any) -> list[float] | None:
    """By what a step of plain descent multiplies a small distance from the saddle: the eigenvalues of its Jacobian.

    Found by differentiating the variant's own step, that along the Hessian's lowest eigenvector first. None where the
    step jumps at the saddle, as a normalised perturbation does, or has a state or noise.
    """
    v = variants.get(variant)
    if v.noise or v.init(torch.zeros(2)) != ():
        return None
    chosen, L = v.check(knobs), Oracle(tilted(land), still(), counts=torch.ones(1))
    whole = Oracle(L.losses_fn, L.batch, full=L, counts=L.counts)
    w = torch.tensor(land.saddle, dtype=torch.float64)
    J = jacrev(lambda w: w - lr * v.step(whole, w, (), **chosen).descent)(w)
    if not bool((J.abs() < JUMP).all()):
        return None
    vectors = spectrum(land)[1]
    along: list[float] = (vectors * (J @ vectors)).sum(0).tolist()
    return along
