"""Training steps: ours, as `runs.loop` takes them, against what a user would write; see `user`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from benchmarks import user
from benchmarks.problems import (
    B_OF_TRANSFORMERS,
    BATCHES,
    NETWORKS,
    TRANSFORMERS,
    mlp,
    module_at,
    problem,
    spec,
    training,
)  # fmt: skip
from benchmarks.report import Curve, Row, at_least, at_most
from benchmarks.timing import Times, side_by_side
from sam_dash.problems.networks import build
from sam_dash.problems.stack import Stack
from sam_dash.runs.loop import steps
from sam_dash.runs.steppers import vmapped

BUDGET = {"MLP 40-128-128-10": 5.0, "CNN": 12.0, "ResNet-18 width 16": 28.0}
LOOP = {"MLP 40-128-128-10": 50, "CNN": 3.5, "ResNet-18 width 16": 3}


def ours(P: Stack, variant: str, m: int | None, B: int, **knobs: object) -> Callable[[], object]:
    """One step of our training loop a call."""
    loop = training(P, spec(variant, m, B, **knobs))
    return lambda: next(loop)


def eager(P: Stack, B: int, m: int | None = None, seed: int = 0) -> Callable[[], object]:
    """One step of a user's SAM a call; of the m-SAM loop where m is given."""
    module = module_at(P, P.w0[seed])
    optimiser = user.SAM(module.parameters(), torch.optim.SGD, lr=1e-3, momentum=0.9)
    draw = user.batches(P.n, B)

    def step() -> None:
        i = next(draw)
        if m is None:
            user.sam_step(module, optimiser, P.x[i], P.y[seed][i])
        else:
            user.m_sam_step(module, optimiser, P.x[i], P.y[seed][i], m)

    return step


def packaged(P: Stack, B: int) -> Callable[[], object]:
    """One step of pytorch_optimizer's SAM a call."""
    from pytorch_optimizer import SAM

    module = module_at(P, P.w0[0])
    optimiser = SAM(module.parameters(), torch.optim.SGD, rho=0.05, lr=1e-3, momentum=0.9)
    draw = user.batches(P.n, B)

    def step() -> None:
        i = next(draw)
        user.sam_step(module, optimiser, P.x[i], P.y[0][i])

    return step


def rows(budget: float = 1.0) -> Iterator[Row]:
    """m-SAM and RW-SAM on the three networks, then stacked seeds."""
    for name, (make, shape, B) in NETWORKS.items():
        P = problem(make(), shape, BATCHES * B)
        target = 1.0 if "MLP" in name else 1.2
        sides = {"eager SAM": eager(P, B), "pytorch_optimizer": packaged(P, B)}
        sides |= {f"m = {m}": ours(P, "sam", m, B) for m in (1, 8, B)}
        if "ResNet" not in name:
            sides["one probe"] = ours(P, "rwsam", None, B)
            sides["exact norms"] = ours(P, "rwsam", None, B, norms="exact")
        times = side_by_side(sides, budget * BUDGET[name])
        note = f"eager SAM {1e3 * times.median('eager SAM'):.3g} ms a step"
        for m in (1, 8, B):
            yield at_most(
                f"{name}: m-SAM, m = {m}, against eager SAM", times.ratio(f"m = {m}", "eager SAM"), target, note
            )
        yield Row(f"{name}: m = B against pytorch_optimizer's SAM", times.ratio(f"m = {B}", "pytorch_optimizer"))
        if "ResNet" not in name:
            for side, at in (("one probe", 1.1), ("exact norms", 1.0)):
                what = f"{name}: RW-SAM, {side}, against eager SAM"
                yield at_most(what, times.ratio(side, "eager SAM"), at)
            yield probes(name, P, B, budget)
        loop = side_by_side({"user": eager(P, B, 1), "us": ours(P, "sam", 1, B)}, budget * BUDGET[name] / 2, rounds=9)
        yield at_least(f"{name}: m = 1, the user's loop against us", loop.ratio("user", "us"), LOOP[name])
    yield from transformers(budget)
    yield stacked(budget)
    yield from stacked_cnn(budget)


def transformers(budget: float, clock: Callable[[], float] = time.perf_counter) -> Iterator[Row]:
    """m-SAM of the built-in transformers: `python -m benchmarks.steps` prints these alone, in CPU time."""
    B = B_OF_TRANSFORMERS
    for name, (network, shape, vocabulary) in TRANSFORMERS.items():
        P = problem(build(network, shape, 10, vocabulary), shape, BATCHES * B, vocabulary=vocabulary)
        sides = {"eager SAM": eager(P, B)} | {f"m = {m}": ours(P, "sam", m, B) for m in (1, 8, B)}
        times = side_by_side(sides, 12 * budget, clock=clock)
        note = f"{network}; eager SAM {1e3 * times.median('eager SAM'):.3g} ms a step"
        for m in (1, 8, B):
            what = f"{name}: m-SAM, m = {m}, against eager SAM"
            yield at_most(what, times.ratio(f"m = {m}", "eager SAM"), 1.6, note)


def probes(name: str, P: Stack, B: int, budget: float) -> Row:
    """The two ways to probe: losses with their forward-mode derivative, and losses at w and at w + delta z."""
    w, batch, z = P.w0[0], (P.x[:B], P.y[0, :B]), torch.randn_like(P.w0[0]).sign()

    def difference() -> None:
        with torch.no_grad():
            P.losses(w, batch)
            P.losses(w + 1e-3 * z, batch)

    def derivative() -> None:
        with torch.no_grad():
            torch.func.jvp(lambda v: P.losses(v, batch), (w,), (z,))

    times = side_by_side({"jvp": derivative, "difference": difference}, budget)
    return Row(f"{name}: forward-mode derivative against finite difference", times.ratio("jvp", "difference"))


def stacked(budget: float) -> Row:
    """Eight seeds of m = 8 in one stack, against eight eager runs of the user's loop."""
    make, shape, B = NETWORKS["MLP 40-128-128-10"]
    P = problem(make(), shape, BATCHES * B, seeds=8)
    sides = {"us": ours(P, "sam", 8, B), "loop": eager(P, B, 8), "eager SAM": eager(P, B)}
    times = side_by_side(sides, 5 * budget)
    note = f"against 8 eager runs of plain SAM: {times.ratio('eager SAM', 'us').times(8)}"
    return at_least("MLP: 8 stacked seeds at m = 8 against 8 eager runs", times.ratio("loop", "us").times(8), 6, note)


def stacked_cnn(budget: float) -> Iterator[Row]:
    """Eight seeds of a convolutional network: a stack trains them one after another, as fast as alone, not at once."""
    make, shape, B = NETWORKS["CNN"]
    P, one = problem(make(), shape, 4 * B, seeds=8), problem(make(), shape, 4 * B)
    loop = steps(P, specs := [spec("sam", None, B)] * 8, vmapped(P, specs))
    sides = {"stack": ours(P, "sam", None, B), "run": ours(one, "sam", None, B), "at once": lambda: next(loop)}
    times = side_by_side(sides, 10 * budget, rounds=5)
    yield Row("CNN: 8 seeds in a stack against 8 runs, SAM", times.ratio("stack", "run").times(1 / 8))
    yield Row("CNN: 8 seeds at once (vmapped) against one after another, SAM", times.ratio("at once", "stack"))


def growth(budget: float = 1.0) -> Iterator[Curve]:
    """Seconds of a step as m, the width and the number of stacked seeds grow."""
    make, shape, B = NETWORKS["MLP 40-128-128-10"]

    def curve(axis: str, values: tuple[int, ...], sides: Callable[[int], dict[str, Callable[[], object]]]) -> Curve:
        found: list[Times] = [side_by_side(sides(v), budget, rounds=9) for v in values]
        return Curve(axis, values, {side: [t.median(side) for t in found] for side in found[0].seconds})

    P = problem(make(), shape, BATCHES * B)
    yield curve("m", (1, 2, 4, 8, 16, 32, 64, 128), lambda m: {
        "us": ours(P, "sam", m, B), "eager SAM": eager(P, B), "user's loop": eager(P, B, m),
    })  # fmt: skip

    def wide(width: int) -> dict[str, Callable[[], object]]:
        Q = problem(mlp(40, width, width, 10), shape, BATCHES * B)
        return {"us, m = 1": ours(Q, "sam", 1, B), "us, m = 8": ours(Q, "sam", 8, B), "eager SAM": eager(Q, B)}

    yield curve("width", (32, 64, 128, 256, 512), wide)

    def many(S: int) -> dict[str, Callable[[], object]]:
        Q = problem(make(), shape, BATCHES * B, seeds=S)
        return {"us, m = 8, one stack": ours(Q, "sam", 8, B), "eager SAM, one run": eager(Q, B)}

    yield curve("seeds", (1, 2, 4, 8, 16), many)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for row in transformers(1.0, time.thread_time):
        print(f"{row.what}: {row.ratio} {row.target} {row.note}", flush=True)
