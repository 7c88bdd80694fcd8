"""The ways to step runs of a network that is the user's own: each is believed when it agrees with the plain loop.

chain, eager, factored    as for our own networks (`sam_dash.runs.steppers`)
plain, intercepted, vmapped, looped    on the module as it is, run after run (`sam_dash.maths.fast.ways`)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from sam_dash import variants
from sam_dash.maths.base import Descent
from sam_dash.maths.contract import Step
from sam_dash.maths.fast import ways
from sam_dash.maths.fast.ways import NOT_THIS_WAY, ROUGH, Way
from sam_dash.maths.live import Live
from sam_dash.maths.live_oracle import LiveOracle
from sam_dash.problems.stack import Stack
from sam_dash.runs import steppers
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.steppers import Moment, Scalars, Stepper, Take


def stepper(problem: Stack, specs: Sequence[RunSpec]) -> Stepper:
    """The fastest way whose first step is that of the loop over micro-batches, by the module's own autograd."""
    v, spec = variants.get(specs[0].variant), specs[0]
    m = spec.m or spec.training.batch
    live = live_of(problem)
    first = steppers.start(problem, spec)
    expected = None
    for path, make in (("chain", steppers.chain), ("eager", steppers.eager), ("factored", steppers.factored)):
        try:
            take = make(problem, specs)
            way = take(*first)[0]
        except NOT_THIS_WAY:
            continue
        if expected is None:
            loop = Way("looped", ways.looped(v, live, m))
            expected = on_live(live, specs, lambda *_, loop=loop: loop)(*first)[0]
        if bool((way.h - expected.h).norm() <= ROUGH * expected.h.norm()):
            return Stepper(path, take)
    chosen: list[Way] = []

    def choose(*given: Any) -> Way:
        if not chosen:
            chosen.append(ways.choose(v, live, m, *given))
        return chosen[0]

    take = on_live(live, specs, choose)
    take(*first)
    return Stepper(chosen[0].name, take)


def live_of(problem: Stack) -> Live:
    """A copy of the network whose parameters are written in place."""
    module = copy.deepcopy(problem.module)
    return Live.of(module, problem.loss, [p for p in module.parameters() if p.requires_grad])


def on_live(live: Live, specs: Sequence[RunSpec], choose: Callable[..., Way]) -> Take:
    """A step of the stack by the way that is chosen, on the module at the weights of one run after another."""

    def one(spec: RunSpec, w: Tensor, state: Any, at: Moment) -> Step:
        live.wanted = False
        live.write(w)
        with live.held() as held:
            full = None if at.full is None else LiveOracle.on(live, at.full, chunk=4096, layout=live.layout)
            moment = ways.Moment(at.noise, full, at.counts, at.t, at.rate)
            knobs = dict(spec.knobs)
            way = choose(at.batch, held, state, moment, knobs)
            return way.take(at.batch, held, state, moment, knobs)

    def take(W: Tensor, state: Any, at: Moment) -> tuple[Descent, Any, Scalars]:
        outs = []
        for s, spec in enumerate(specs):
            own = at._replace(
                batch=(at.batch[0][s], at.batch[1][s]), noise=at.noise[s], counts=at.counts[s],
                full=at.full and (at.full[0][s], at.full[1][s]),
            )  # fmt: skip
            outs.append(one(spec, W[s], pytree.tree_map(lambda a, s=s: a[s], state), own))
        return steppers.together([out._replace(eps=out.eps[:, None]) for out in outs])

    return take
