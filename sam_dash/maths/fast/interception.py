"""What is met while a module runs: every torch function that is given a parameter, by a rule or by a stack.

The module runs under `vmap` over micro-batches, with autograd beneath, so that where the samples lie is never guessed.
A function that has a rule (`sites`) runs on the plain parameters, all micro-batches at once, and their gradients stay
factored. For any other the parameter is replaced by a stack of copies, one for each micro-batch, whose gradients are
formed: nothing is passed through. Gradients belong to parameters, not to calls, so that what is tied or repeated adds
up before a norm is taken.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sam_dash.maths.fast.factors import Dense, Factor
from sam_dash.maths.fast.sites import RULES, Pair, Site, joined
from sam_dash.maths.fast.unformed import NotFactoredError

Key = tuple[int, ...]
FACTS = {"size", "dim", "numel", "stride", "__len__", "is_floating_point", "is_contiguous"}
PROPERTIES = {
    "shape", "dtype", "device", "requires_grad", "ndim", "layout", "is_cuda", "is_cpu", "is_nested", "is_sparse",
    "is_leaf", "is_quantized", "is_meta",
}  # fmt: skip


def without_dispatch(function: Any) -> Callable[..., Any]:
    """A python function of torch, which then does not hand itself to the mode as a whole."""
    seen = {**function.__globals__, "has_torch_function": lambda _: False}
    made = types.FunctionType(function.__code__, seen, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


OPENED = {F.multi_head_attention_forward: without_dispatch(F.multi_head_attention_forward)}


@dataclass
class Plan:
    """Which of the parameters are stacked: those that a function without a rule is given, or that two rules share."""

    parameters: Sequence[Tensor]
    numbers: dict[int, int]
    stacked: set[int] = field(default_factory=set)


class Meeting(TorchFunctionMode):
    """What is done where a function meets a parameter, in G = `groups` micro-batches; passes say how."""

    def __init__(self, plan: Plan, groups: int) -> None:
        super().__init__()
        self.plan, self.groups = plan, groups
        self.level: int | None = None
        self.stacks: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, or what stands for it."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self.attention(*args, **kwargs)
        if not self.met(args) and not (kwargs and self.met(kwargs.values())):
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in FACTS or (name == "__get__" and getattr(func.__self__, "__name__", "") in PROPERTIES):
            return func(*args, **kwargs)
        if func in OPENED:
            with self:
                return OPENED[func](*args, **kwargs)
        found = RULES[func](*args, **kwargs) if func in RULES else None
        key = self.key(found[1]) if found else None
        if found is None or key is None or self.plan.stacked & set(key):
            stacked = self.replaced(args), dict(zip(kwargs, self.replaced(kwargs.values()), strict=True))
            return embedded(*stacked[0], **stacked[1]) if func is F.embedding else func(*stacked[0], **stacked[1])
        return self.beneath(lambda h: self.at(key, found[1], h), found[0])

    def met(self, args: Iterable[Any]) -> bool:
        """Whether a parameter is among the arguments, or in a list of them."""
        numbers = self.plan.numbers
        for a in args:  # noqa: SIM110 (twice as fast as any(); for every function that the module calls)
            if id(a) in numbers or (type(a) in (list, tuple) and self.met(a)):
                return True
        return False

    def key(self, site: Site) -> Key | None:
        """The numbers of the site's parameters; None where one of them is not trained."""
        found = [self.plan.numbers.get(id(p)) for p in (site.weight, site.bias) if p is not None]
        return None if None in found else cast(Key, tuple(found))

    def beneath(self, function: Callable[..., Tensor], *args: Tensor) -> Tensor:
        """A function of tensors (G, ...), beneath `vmap`."""
        level = _functorch.maybe_current_level()
        if level is None or self.level not in (None, level):
            raise NotFactoredError("vmap within the module")
        self.level = level
        with retrieve_current_functorch_interpreter().lower():
            out = function(*(self.leading(a) for a in args))
        return _functorch._add_batch_dim(out, 0, level)

    def leading(self, a: Tensor) -> Tensor:
        """A tensor as the module sees it, with its micro-batches in front (G, ...)."""
        if not _functorch.is_batchedtensor(a):
            return a.expand(self.groups, *a.shape)
        return _functorch.get_unwrapped(a).movedim(_functorch.maybe_get_bdim(a), 0)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *rest: Any, **more: Any) -> Tensor:
        """F.scaled_dot_product_attention, for which `vmap` has no rule on the CPU: (..., t, e), (..., s, e)."""
        mask = more.pop("attn_mask", mask)

        def flat(*given: Tensor) -> Tensor:
            q, k, v, *masks = given
            if masks and masks[0].ndim < q.ndim:
                masks[0] = masks[0].reshape(len(q), *[1] * (q.ndim - masks[0].ndim), *masks[0].shape[1:])
            masks = [a.expand(*q.shape[:-1], k.shape[-2]) for a in masks]
            q, k, v, *masks = (a.flatten(0, -4) for a in (q, k, v, *masks))
            out = F.scaled_dot_product_attention(q, k, v, masks[0] if masks else None, *rest, **more)
            return out.view(*given[0].shape[:-1], v.shape[-1])

        return self.beneath(flat, *(a for a in (q, k, v, mask) if a is not None))

    def replaced(self, args: Iterable[Any]) -> list[Any]:
        """The arguments with a stack in place of each parameter."""
        return [
            type(a)(self.replaced(a)) if type(a) in (list, tuple)
            else self.stack(self.plan.numbers[id(a)]) if id(a) in self.plan.numbers else a
            for a in args
        ]  # fmt: skip

    def stack(self, i: int) -> Tensor:
        """A parameter of each micro-batch's own, as the module sees it."""
        if i not in self.plan.stacked:
            raise NotFactoredError("a function that was not met in the first forward")
        return self.beneath(functools.partial(self.kept, i))

    def kept(self, i: int) -> Tensor:
        """Parameter i of each micro-batch (G, ...), made once a pass."""
        if i not in self.stacks:
            self.stacks[i] = self.values(i)
        return self.stacks[i]

    def values(self, i: int) -> Tensor:
        """Parameter i of each micro-batch (G, ...)."""
        raise NotImplementedError

    def at(self, key: Key, site: Site, h: Tensor) -> Tensor:
        """The outputs (G, ...) of the site for inputs h (G, ...)."""
        raise NotImplementedError


class Look(Meeting):
    """The first look: which parameters are met by what. All of them are constants."""

    def __init__(self, plan: Plan, groups: int) -> None:
        super().__init__(plan, groups)
        self.sites: dict[Key, Site] = {}
        self.others: set[int] = set()

    def stack(self, i: int) -> Tensor:
        self.others.add(i)
        return self.plan.parameters[i].detach()

    def at(self, key: Key, site: Site, h: Tensor) -> Tensor:
        if key in self.sites and not (site.merges and site == self.sites[key]):
            self.others |= set(key)
        self.sites[key] = site
        bias = None if site.bias is None else site.bias.detach()
        site = replace(site, weight=site.weight.detach(), bias=bias)
        out = site.forward(site.rows(h))
        return out.view(site.shape(h, out))


class First(Meeting):
    """The pass at w, which remembers what gradients are made of."""

    def __init__(self, plan: Plan, groups: int) -> None:
        super().__init__(plan, groups)
        self.uses: list[tuple[Key, Site, Tensor, Any]] = []

    def values(self, i: int) -> Tensor:
        p = self.plan.parameters[i].detach()
        return p.expand(self.groups, *p.shape).requires_grad_()

    def at(self, key: Key, site: Site, h: Tensor) -> Tensor:
        out, x, head = site.first(h)
        self.uses.append((key, site, x, head))
        return out.view(site.shape(h, out))

    def gradients(self, total: Tensor, scale: float) -> dict[Key, Factor]:
        """Each micro-batch's gradients, by their parameters; `total` is the sum of their losses, times the scale."""
        heads = [*self.stacks.values(), *(head for *_, head in self.uses)]
        found = [None if d is None else d / scale if scale != 1 else d
                 for d in torch.autograd.grad(total, heads, allow_unused=True)]  # fmt: skip
        out: dict[Key, Factor] = {
            (i,): Dense(d.reshape(len(d), -1), None) for i, d in zip(self.stacks, found, strict=False) if d is not None
        }
        pairs: dict[Key, tuple[Site, list[Pair]]] = {}
        for (key, site, x, _), d in zip(self.uses, found[len(self.stacks) :], strict=True):
            if d is not None:
                pairs.setdefault(key, (site, []))[1].append((x, d))
        return out | {key: site.factor(*joined(of, self.groups), self.groups) for key, (site, of) in pairs.items()}


class Second(Meeting):
    """The pass at w + s_j g_j."""

    def __init__(self, plan: Plan, groups: int, found: dict[Key, Factor], scale: Tensor) -> None:
        super().__init__(plan, groups)
        self.found, self.scale = found, scale

    def values(self, i: int) -> Tensor:
        p, g = self.plan.parameters[i], self.found.get((i,))
        if g is None:
            return p.expand(self.groups, *p.shape)
        return torch.addcmul(p, self.scale.view(-1, *[1] * p.ndim), g.dense().view(-1, *p.shape))

    def at(self, key: Key, site: Site, h: Tensor) -> Tensor:
        x, g = site.rows(h), self.found.get(key)
        out = site.forward(x) if g is None else g.perturbed(site, x, self.scale)
        return out.view(site.shape(h, out))


def embedded(x: Tensor, weight: Tensor, padding_idx: int | None = None, *rest: Any, **more: Any) -> Tensor:
    """F.embedding of stacked weights, where autograd beneath `vmap` knows the padding of the first stack only."""
    out = F.embedding(x, weight, None, *rest, **more)
    if padding_idx is None:
        return out
    return torch.where((x == padding_idx % weight.shape[0]).unsqueeze(-1), out.detach(), out)
