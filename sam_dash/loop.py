"""What `sam_dash.record` needs to know of somebody's loop: its rank, its module, its optimiser, its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.ranks import within
from sam_dash.optim import SharpnessAware
from sam_dash.runs.recording import QUANTITY, RecordedRun


def rank() -> int:
    """This process's rank: that of the default group, or as a launcher such as torchrun has set it; 0 without one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    given = os.environ.get("RANK", "0")
    return int(given) if given.isdecimal() else 0


def inner(model: nn.Module) -> nn.Module:
    """The module within a wrapper whose forward would send to the other ranks, who do not call it.

    ValueError for one that is cut over the ranks: no rank has its weights.
    """
    found = within(model)
    if any(hasattr(p, "device_mesh") for p in found.parameters()):
        raise ValueError("the module is cut over the ranks by fully_shard: rank 0 alone does not have its weights")
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The module with every part in evaluation mode; afterwards each in the mode that it was in.

    The modes are set, `eval()` is not called: some modules do more there.
    """
    modes = [(part, part.training) for part in model.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield model
    finally:
        for part, mode in modes:
            part.training = mode


def number(name: str, value: Any) -> float | Estimate:
    """A value to be logged; ValueError for a name that cannot be one, or a value that is no number."""
    if not QUANTITY.fullmatch(name):
        raise ValueError(f"{name!r}: expected a name of letters, digits and _ @ = . + / -, at most 64")
    if isinstance(value, Estimate):
        return value
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} is a tensor of shape {tuple(value.shape)}: expected one number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {str(value)[:40]!r}: expected a number") from None


def whole(step: Any) -> int:
    """A step; ValueError for what is none."""
    if isinstance(step, bool) or not hasattr(step, "__index__") or not 0 <= int(step) < 2**31:
        raise ValueError(f"step = {step!r}: expected a whole number from 0 on")
    return int(step)


def check_agreement(run: RecordedRun, optimiser: SharpnessAware) -> None:
    """ValueError where an optimiser does something else than was said of the run."""
    B = run.training.batch or None
    said = {"variant": run.variant, **dict(run.knobs)}
    does = {"variant": optimiser.variant.key, **{name: optimiser.knobs.get(name) for name in run.knobs}}
    if "rho" in optimiser.variant.knobs and not (optimiser.m is None and run.m == B):
        said["m"], does["m"] = run.m, optimiser.m
    for name, value in said.items():
        if does[name] != value:
            raise ValueError(f"the recorder was told {name} = {value}, the optimiser has {name} = {does[name]}")
