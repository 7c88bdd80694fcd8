"""A module that `fully_shard` (FSDP2) has cut: whole while a step is taken, in shards between steps.

Every rank then holds all weights and one gradient during the step, as without sharding; what stays cut is the state of
the base optimiser, and between steps the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

Whole = Callable[[nn.Parameter], nn.Parameter]


@dataclass
class Shards:
    """The parts of a module that are cut, from the inside out; none of a module that is not."""

    module: nn.Module
    parts: list[Any]

    @classmethod
    def of(cls, module: nn.Module) -> Shards:
        """The shards of a module; ValueError for a way of cutting that a step cannot undo."""
        parts: list[Any] = [part for part in module.modules() if hasattr(part, "unshard")][::-1]
        _cut(parts)
        found: list[Any] = list(module.parameters())
        for p in found:
            if _is_cut(p) and (not parts or p.device_mesh.size() != dist.get_world_size()):
                raise ValueError(
                    "a parameter is a DTensor that is not cut by fully_shard over all ranks: its whole value is not to "
                    "be had by unshard(). Apply fully_shard over the default mesh"
                )
        for part in parts:
            state = part._get_fsdp_state()
            cuts = [p for group in state._fsdp_param_groups for p in group.fsdp_params]
            if state._mp_policy.param_dtype or any(p.offload_to_cpu for p in cuts):
                raise ValueError(
                    "fully_shard with mp_policy or offload_policy: a step calls the module without FSDP's hooks, which "
                    "would cast and fetch. Use torch.autocast for mixed precision"
                )
        return cls(module, parts)

    @contextmanager
    def whole(self) -> Iterator[Whole]:
        """The module as if it had never been cut, without FSDP's hooks; gives the whole parameter of a cut one."""
        if not self.parts:
            yield lambda p: p
            return
        _cut(self.parts)
        cut = dict(self.module.named_parameters())
        for part in self.parts:
            part.unshard()
        undo = [_stripped(part) for part in self.module.modules()]
        try:
            made = dict(self.module.named_parameters())
            twins = {id(p): made[name] for name, p in cut.items()}
            yield lambda p: twins.get(id(p), p)
        finally:
            for restore in undo:
                restore()
            _cut(self.parts)


def cut_as(p: Any, a: Tensor) -> Tensor:
    """This rank's part of a whole tensor that all ranks have, cut as the parameter is."""
    if not _is_cut(p):
        return a
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(a, p.device_mesh, p.placements, src_data_rank=None)


def _cut(parts: list[Any]) -> None:
    """Cut what is whole, as the outermost part is after an evaluation."""
    for part in parts:
        part.reshard()


def _is_cut(p: Any) -> bool:
    return hasattr(p, "device_mesh")


def _stripped(part: nn.Module) -> Callable[[], None]:
    """Take from a module all that FSDP has put there, its class too, so that it can be called and copied; undoes it."""
    of_fsdp = type(part)
    if hasattr(part, "unshard"):
        part.__class__ = of_fsdp.__bases__[1]
    marks = {k: part.__dict__.pop(k) for k in list(part.__dict__) if k.startswith("__composable_api_state_key")}
    hooks = [(d, dict(d)) for name, d in vars(part).items() if name.endswith("_hooks") and isinstance(d, dict)]
    for now, before in hooks:
        now.clear()
        now.update({k: hook for k, hook in before.items() if not _of_fsdp(hook)})

    def restore() -> None:
        part.__class__ = of_fsdp
        part.__dict__.update(marks)
        for now, before in hooks:
            now.clear()
            now.update(before)

    return restore


def _of_fsdp(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp")
