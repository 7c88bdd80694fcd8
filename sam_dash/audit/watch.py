"""Anybody's training step, watched from outside: the forwards of the model, and what its optimiser is given.

Nothing of the loop is changed. Hooks copy what a forward was called with, and what the loop's own backward sends to
its outputs; hooks of torch's optimisers copy the gradient that is descended; a dispatch mode counts what is sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sam_dash.maths import generators
from sam_dash.maths.flat import Layout
from sam_dash.maths.live import dense
from sam_dash.maths.ranks import within
from sam_dash.maths.samples import led
from sam_dash.optim import SharpnessAware


@dataclass(eq=False)
class Forward:
    """A forward of the model at the `weights` (d,), and the derivatives of the loop's loss by its outputs."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    n: int  # samples
    weights: Tensor
    buffers: list[Tensor]
    generators: dict[str, Tensor]
    training: list[bool]  # of every part of the model
    autocast: tuple[bool, torch.dtype]
    cotangents: list[Tensor | None] = field(default_factory=list)  # of the outputs that are tensors
    moved: bool = False  # whether it moved buffers, as BatchNorm's statistics
    drew: bool = False  # whether it drew random numbers

    @property
    def told(self) -> bool:
        """Whether a backward went through it."""
        return any(c is not None for c in self.cotangents)

    @property
    def cuttable(self) -> bool:
        """Whether the derivatives are one row a sample, so that some samples' share can be told."""
        return all(c is None or (led(c) and len(c) == self.n) for c in self.cotangents)


@dataclass(eq=False)
class Step:
    """What lies between two steps of the innermost optimiser, and what that one was given."""

    start: Tensor  # the weights after the step before (d,)
    stale: Tensor | None  # .grad as the first forward of the step found it (d,)
    momentum: Tensor | None  # the optimiser's running mean of gradients before it (d,)
    forwards: list[Forward] = field(default_factory=list)
    functional: int = 0  # forwards with weights that are not the module's own, as of torch.func
    sent: list[tuple[str, int]] = field(default_factory=list)  # collectives, and their bytes
    entry: Tensor | None = None  # the weights as the optimiser found them (d,)
    descended: Tensor | None = None  # .grad as the optimiser found it (d,); 0 where there is none
    optimiser: str = ""
    maximises: bool = False  # whether the optimiser goes up its gradients
    own: Any = None  # a `SharpnessAware` that took it: what its replay needs


class _Sent(TorchDispatchMode):
    """Counts the collectives that are called within it, those of DistributedDataParallel too."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            size = sum(a.numel() * a.element_size() for a in pytree.tree_leaves(args) if isinstance(a, Tensor))
            self.watch.open.sent.append((func._opname.strip("_"), size))
        return func(*args, **(kwargs or {}))


class Watch:
    """A context in which training steps of a model are recorded; afterwards nothing of it is left on the model."""

    def __init__(self, model: nn.Module, optimiser: Any = None) -> None:
        self.model = within(model)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError("no parameter of the model requires a gradient: there is no step to watch")
        if any(hasattr(p, "placements") for p in self.parameters):
            raise ValueError("the model is cut by fully_shard; audit it on ranks that hold it whole, as under DDP")
        if optimiser is not None and not hasattr(optimiser, "step"):
            raise ValueError(f"optimiser: {type(optimiser).__name__} has no step(); expected the loop's own optimiser")
        self.layout = Layout.of(self.model)
        self.optimiser = optimiser
        self.steps: list[Step] = []
        self._stack = ExitStack()
        self._running: list[tuple[Any, bool]] = []  # optimisers that are in their step, and whether another is within
        self._last: Tensor | None = None
        self._base: Any = None

    def __enter__(self) -> Self:
        self.open = Step(self.weights(), None, None)
        hooks = [
            register_optimizer_step_pre_hook(self._stepping),
            register_optimizer_step_post_hook(self._stepped),
        ]
        if not _ours(self.optimiser):  # a hook on the model would send it another way
            hooks.append(self.model.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True))
            hooks.append(self.model.register_forward_hook(self._after))
        for hook in hooks:
            self._stack.callback(hook.remove)
        self._stack.enter_context(_Sent(self))
        self.awaiting: list[Forward | None] = []
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def weights(self, of: nn.Module | None = None) -> Tensor:
        """A copy of the parameters (d,), or of what a module has in their place, as within
        `torch.func.functional_call`; the last one again where they are as they were.
        """
        here = dict(of.named_parameters()) if of is not None else {}
        now = _flatten_dense_tensors([here.get(n, p) for n, p in zip(self.layout.names, self.parameters, strict=True)])
        now = now.detach().clone()
        if self._last is None or not torch.equal(now, self._last):
            self._last = now
        return self._last

    def gradient(self) -> Tensor | None:
        """A copy of all .grad (d,), 0 where there is none; None where there is none at all."""
        if all(p.grad is None for p in self.parameters):
            return None
        return dense([p.grad for p in self.parameters], self.parameters).clone()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.awaiting.append(None)
        leaves = pytree.tree_leaves((args, kwargs, list(module.parameters())))
        if any(isinstance(a, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(a) for a in leaves):
            self.open.functional += 1
            return
        if self.open.own:
            return
        if not self.open.forwards:
            self.open.stale, self.open.momentum = self.gradient(), self._momentum()
        keep = lambda a: a.detach().clone() if isinstance(a, Tensor) else a  # noqa: E731
        args, kwargs = pytree.tree_map(keep, (args, kwargs))
        kind = self.parameters[0].device.type
        sizes = {len(a) for a in pytree.tree_leaves((args, kwargs)) if led(a)}
        forward = Forward(
            args, kwargs, max(sizes, default=0), self.weights(module), [b.clone() for b in module.buffers()],
            generators.states(self.parameters), [part.training for part in module.modules()],
            (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)),
        )  # fmt: skip
        self.open.forwards.append(forward)
        self.awaiting[-1] = forward

    def _after(self, module: nn.Module, args: Any, outputs: Any) -> None:
        forward = self.awaiting.pop() if self.awaiting else None
        if forward is None:
            return
        forward.moved = any(not torch.equal(a, b) for a, b in zip(forward.buffers, module.buffers(), strict=True))
        now = generators.states(self.parameters)
        forward.drew = any(not torch.equal(forward.generators[k], now[k]) for k in now)
        tensors = [a for a in pytree.tree_leaves(outputs) if isinstance(a, Tensor)]
        forward.cotangents = [None] * len(tensors)
        for i, a in enumerate(tensors):
            if a.requires_grad:
                a.register_hook(_into(forward, i))

    def _momentum(self) -> Tensor | None:
        """The running mean of gradients of the innermost optimiser (d,); None where it has none yet."""
        state = getattr(self._base or self.optimiser, "state", None) or {}
        found = [state.get(p, {}) for p in self.parameters]
        for name in ("momentum_buffer", "exp_avg"):
            means = [of.get(name) for of in found]
            if all(isinstance(a, Tensor) for a in means):
                return _flatten_dense_tensors(means).detach().clone()
        return None

    def _stepping(self, optimiser: Any, args: Any, kwargs: Any) -> Any:
        mine = {id(p) for p in self.parameters}
        if not any(id(p) in mine for group in optimiser.param_groups for p in group["params"]):
            return None
        if self._running:
            self._running[-1] = (self._running[-1][0], True)
        self._running.append((optimiser, False))
        self.open.entry, self.open.descended = self.weights(), self.gradient()
        if _ours(optimiser):
            return _with_batch(self.open, optimiser, args, kwargs)
        return None

    def _stepped(self, optimiser: Any, args: Any, kwargs: Any) -> None:
        if not any(optimiser is of for of, _ in self._running):
            return
        _, within = self._running.pop()
        if within:
            return
        self._base = optimiser
        self.open.optimiser = type(optimiser).__name__
        self.open.maximises = any(group.get("maximize") for group in optimiser.param_groups)
        self.steps.append(self.open)
        self.open = Step(self.weights(), None, None)


def _ours(optimiser: Any) -> bool:
    """Whether it is a `SharpnessAware`, whose displaced forwards are not the module's own: its steps are replayed."""
    return isinstance(optimiser, SharpnessAware)


def _into(forward: Forward, i: int) -> Callable[[Tensor], None]:
    """What adds a derivative of output i to those of a forward, as every backward through it does."""

    def add(cotangent: Tensor) -> None:
        known, new = forward.cotangents[i], cotangent.detach().clone()
        forward.cotangents[i] = new if known is None else known + new

    return add


@dataclass(eq=False)
class Own:
    """What a replay of a step of `SharpnessAware` needs: the optimiser, and what it had before the step."""

    optimiser: Any
    drawn: dict[str, Tensor]
    weights: Tensor
    found: list[Any] = field(default_factory=list)  # what its closure returned


def _with_batch(step: Step, optimiser: Any, args: Any, kwargs: Any) -> Any:
    """The arguments of its `step`, with a closure that also tells us the batch."""
    bound = inspect.signature(type(optimiser).step).bind(*args, **kwargs)
    closure = bound.arguments.get("closure")
    if closure is None:
        return None
    step.own = Own(optimiser, generators.states(optimiser.trained), step.entry)  # type: ignore[arg-type]

    def told() -> Any:
        found = closure()
        step.own.found = found if isinstance(found, list) else [found]
        step.own.drawn = generators.states(optimiser.trained)
        return found

    return (args[0], told), {}
