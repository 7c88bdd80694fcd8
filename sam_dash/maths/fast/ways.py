"""The ways to take a step of a variant on a user's own module; the first that is right for both is taken.

    chain        a perceptron, all micro-batches in one pass that is written out (`fast.chain`)
    plain        the whole batch by the module's own forward and autograd (`maths.live_oracle`)
    factored     layers whose gradients have factors, all micro-batches in one pass (`fast.factored`)
    intercepted  functions that are given a parameter are met, all micro-batches in one pass (`fast.intercepted`)
    vmapped      the definition, vectorised over micro-batches (`maths.micro`)
    looped       one micro-batch after another by the module's own forward and autograd: anything

A way that is not plain autograd is believed only when its first step agrees with `looped`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from sam_dash.maths.contract import Step, Variant
from sam_dash.maths.fast.chain import Chain, chain_step
from sam_dash.maths.fast.factored import factored_step
from sam_dash.maths.fast.intercepted import InterceptedOracle, plan_of
from sam_dash.maths.fast.interception import Plan
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.maths.generators import put, states
from sam_dash.maths.live import Live, call
from sam_dash.maths.live_oracle import LiveOracle
from sam_dash.maths.loss import Loss
from sam_dash.maths.micro import mean_step, per_micro_batch, with_length
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.samples import cut, grouped, over, samples

NOT_THIS_WAY = (
    NotFactoredError, RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError, UserWarning
)  # fmt: skip
TOLERANCE = {torch.float64: 1e-6}
ROUGH = 1e-2  # of float32 and less: a wrong way is off by tens of per cent, a kink or a finite difference by less


class Moment(NamedTuple):
    """What a step may use besides its batch: noise (K, d), an oracle of the full data, class counts (C,), the step t,
    and where the learning rate stands in its schedule.
    """

    noise: Tensor
    full: LiveOracle | None
    counts: Tensor | None
    t: int
    rate: float


Take = Callable[[Any, Tensor, Any, Moment, dict[str, Any]], Step]


class Way(NamedTuple):
    """How steps are taken, and the name of that way."""

    name: str
    take: Take


def ways(v: Variant, live: Live, m: int, whole: bool) -> Iterator[Way]:
    """The ways that are not plain autograd, for micro-batches of m, fastest first; of a `Loss` there are more.

    For the whole batch only the chain, where autograd's own price is what a step costs.
    """
    if v.uses_m and live.radii is None and len(live.parameters) == sum(1 for _ in live.module.parameters()):
        for name, make in (("chain", chain), ("factored", factored))[: 1 if whole else 2]:
            try:
                yield Way(name, make(v, live, m))
            except (NotFactoredError, ValueError):
                continue
    if whole:
        return
    if v.uses_m and live.radii is None and not live.rest:
        yield Way("intercepted", intercepted(v, live, m))
    if not repeated(live.module) and not live.rest:
        yield Way("vmapped", vmapped(v, live, m))


def choose(v: Variant, live: Live, m: int, batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Way:
    """The first way whose step on this batch agrees with the plain loop's, else the loop; all of the batch needs none.

    Generators are left as they are.
    """
    whole, reference = m == samples(batch), None
    loop = Way("plain", plain(v, live)) if whole else Way("looped", looped(v, live, m))
    with torch.random.fork_rng():
        for way in ways(v, live, m, whole):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)  # torch warns where vectorising falls back to a loop
                    out = way.take(batch, w, state, at, knobs)
            except NOT_THIS_WAY:
                continue
            if any(map(left_behind, live.module.modules())):
                continue
            reference = reference or loop.take(batch, w, state, at, knobs)
            apart = (out.descent - reference.descent).norm()
            if bool(apart <= TOLERANCE.get(w.dtype, ROUGH) * reference.descent.norm()):
                return Way(way.name, knowing(way.take, live, live.used))
    return loop


def knowing(take: Take, live: Live, used: set[int]) -> Take:
    """The step, which says which parameters it has used where it does not know."""

    def told(*given: Any) -> Step:
        out = take(*given)
        live.used = live.used or used
        return out

    return told


def made_of(module: nn.Module) -> tuple[Any, ...]:
    """What a way is chosen for: the module's parts, their modes and how many hooks they have."""
    return tuple(
        (id(p), p.training, len(p._forward_hooks) + len(p._forward_pre_hooks), len(p._backward_hooks))
        for p in module.modules()
    )


def plain(v: Variant, live: Live) -> Take:
    """The whole batch at once."""

    def take(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        return on_module(v, LiveOracle.on(live, batch, layout=live.layout, **at._asdict()), w, state, knobs)

    return take


def on_module(v: Variant, L: LiveOracle, w: Tensor, state: Any, knobs: dict[str, Any]) -> Step:
    """The step by the definition on the module itself, which remembers its losses at w where they were found."""
    live = L.live
    live.gradients.clear()
    out = length(v, live)(L, w, state, **knobs)
    if live.wanted:
        clean = L.clean
        live.losses.append(L.losses(w) if clean is None else clean)
    descended = out.h if isinstance(out.aside, tuple) and isinstance(out.moves, tuple) else out.descent
    if not live.rest:
        return out
    h, g = live.completed(descended), live.known(out.g)
    return out._replace(h=h, g=torch.cat([out.g, out.g.new_zeros(len(h) - len(out.g))]) if g is None else g)


def length(v: Variant, live: Live) -> Callable[..., Step]:
    """The step with ||eps|| (1,) in place of eps, each displacement by its radius."""

    def step(L: Oracle, w: Tensor, s: Any, **knobs: Any) -> Step:
        out = v.step(L, w, s, **knobs)
        return out if live.radii is None else out._replace(eps=live.radii * out.eps)

    return with_length(step)


def looped(v: Variant, live: Live, m: int) -> Take:
    """One micro-batch after another; what comes out is averaged."""
    one = plain(v, live)

    def take(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        parts = cut(batch, m)
        return mean_step((one(part, w, state, at, knobs), 1 / len(parts)) for part in parts)

    return take


def chain(v: Variant, live: Live, m: int) -> Take:
    """All micro-batches of a perceptron in one pass; NotFactoredError for other networks."""
    outs: list[Tensor] = []
    step = chain_step(v.step, m, Chain.of(once(live.module)), of_ours(live), outs.append)

    def take(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        batch = owned(batch)
        full = None if at.full is None else Oracle(nothing, stacked(at.full.batch))
        L = Oracle(nothing, stacked(batch), at.noise[None], full, t=at.t, rate=at.rate)
        out = step(L, w[None], state, **knobs)
        told(live, [a[0] for a in outs], batch)
        outs.clear()
        info = {key: a[0] for key, a in out.info.items()}
        g = out.g[0] if isinstance(out.g, Tensor) else out.g
        return Step(out.h[0], out.eps.norm(dim=-1).reshape(-1), g, out.state, info)

    return take


def factored(v: Variant, live: Live, m: int) -> Take:
    """All micro-batches of a network of layers with factors in one pass; NotFactoredError for other networks."""
    outs: list[Tensor] = []
    taps = Taps(once(live.module))
    step = factored_step(v.step, m, taps, of_ours(live), outs.append)

    def take(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        taps.follow()
        batch = owned(batch)
        out = step(Oracle(nothing, tensors(batch), layout=live.layout, **at._asdict()), w, state, **knobs)
        told(live, outs, batch)
        outs.clear()
        return out._replace(eps=out.eps.norm(dim=-1))

    return take


def intercepted(v: Variant, live: Live, m: int) -> Take:
    """All micro-batches of any module in one pass; a later batch on which that fails is looped over."""
    plans: list[Plan] = []
    loop = looped(v, live, m)

    def step(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        if state != () or torch.is_autocast_enabled(w.device.type):
            raise NotFactoredError("a step with a state, or autocast")
        batch = owned(batch)
        plan = plans[0] if plans else plan_of(live, batch, m)
        L = InterceptedOracle(cast(Loss, live.loss), batch, m, at.noise, at.full, at.t, at.rate, live=live, plan=plan)
        out = L.ended(v.step(L, w, state, **knobs))
        plans[:] = [plan]
        return out._replace(eps=out.eps.norm(dim=-1))

    def take(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        before, told = states(live.parameters), len(live.losses)
        try:
            return step(batch, w, state, at, knobs)
        except NOT_THIS_WAY:
            if not plans:
                raise
            put(before)
            del live.losses[told:]
            return loop(batch, w, state, at, knobs)

    return take


def vmapped(v: Variant, live: Live, m: int) -> Take:
    """The definition, vectorised over the micro-batches."""

    def losses(w: Tensor, batch: Any) -> Tensor:
        x, y = batch
        if not any(torch._C._functorch.is_batchedtensor(leaf) for leaf in pytree.tree_leaves(x)):
            raise NotFactoredError("a module that vmap cannot take, so that micro-batches would be looped over")
        parameters = live.layout.unflatten(live.placed(w))
        return live.loss(call(lambda *a, **k: functional_call(live.module, parameters, a, k), x), y)  # type: ignore

    step = per_micro_batch(length(v, live), m)

    def take(batch: Any, w: Tensor, state: Any, at: Moment, knobs: dict[str, Any]) -> Step:
        if live.scale != 1:
            raise NotFactoredError("scaled losses")
        out = step(Oracle(losses, tensors(batch), layout=live.layout, **at._asdict()), w, state, **knobs)
        if live.wanted:
            live.losses.append(over(lambda part: losses(w, part), grouped(batch, m)).flatten())
        return out._replace(eps=out.eps.flatten())

    return take


def told(live: Live, outs: list[Tensor], batch: Any) -> None:
    """Let the module know its losses at w, from the outputs of the first pass, which is there."""
    if outs:
        live.losses.append(of_ours(live).values(outs[0], batch[1]))


def of_ours(live: Live) -> Loss:
    """The loss, of which all is known; NotFactoredError for a function of the user's."""
    if not isinstance(live.loss, Loss):
        raise NotFactoredError("a loss of which only the values are known")
    return live.loss


def nothing(*_: Any) -> Any:
    """The losses of an oracle that is asked through its twin."""
    raise NotFactoredError("losses of the definition")


def owned(batch: Any) -> Any:
    """A copy of the batch, which nobody writes to: g is formed from it by who asks for it, since that costs much."""
    return pytree.tree_map_only(Tensor, Tensor.clone, batch)


def tensors(batch: Any) -> tuple[Tensor, Tensor]:
    """A batch of one tensor of inputs and one of targets; NotFactoredError for others."""
    x, y = batch
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise NotFactoredError("a batch that is not two tensors")
    return x, y


def stacked(batch: Any) -> tuple[Tensor, Tensor]:
    """The batch of one run as that of a stack of one."""
    x, y = tensors(batch)
    return x[None], y[None]


def left_behind(part: nn.Module) -> bool:
    """Whether a forward under `vmap` has left a tensor of it in the module, which is of no use after it."""
    leaves = pytree.tree_leaves([a for a in vars(part).values() if not isinstance(a, nn.Module)])
    return any(isinstance(a, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(a) for a in leaves)


def once(module: nn.Module) -> nn.Module:
    """The module; NotFactoredError where a part of it has two names."""
    if repeated(module):
        raise NotFactoredError("a module under two names")
    return module


def repeated(module: nn.Module) -> bool:
    """Whether a module occurs under two names, which `torch.func.functional_call` does not put back."""
    return len(list(module.named_modules(remove_duplicate=False))) > len(list(module.modules()))
