"""What each rank of `test_ranks` does (`tests/ranks.py`), and what one process does alone."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from sam_dash.optim import SharpnessAware
from tests.ranks import join, saved

B, STEPS = 32, 10
VARIANTS = ("sam", "usam", "rwsam", "asam", "gsam")
OPTIONS: dict[str, dict[str, Any]] = {
    "DDP": {},
    "DDP, bucket views": {"gradient_as_bucket_view": True},
    "DDP, unused parameters": {"find_unused_parameters": True},
    "DDP, static graph": {"static_graph": True},
    "DDP, small buckets": {"bucket_cap_mb": 1e-4},
    "DDP, no buffers": {"forward_sync_buffers": False},
}
Case = tuple[str, int, str]  # the variant, m, and what is round the module


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).double()


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(B, 5).double(), torch.randint(0, 3, (B,))) for _ in range(STEPS)]


def cases(size: int) -> list[Case]:
    n = B // size
    sizes = sorted({1, n // 2, n, B, *([2 * n] if size == 4 else [])})
    of = VARIANTS if size == 2 else VARIANTS[1:3]
    found = [(v, m, "") for v in of for m in sizes]
    found += [("sam", m, way) for m in (1, n, B) for way in ("", "DDP", "FSDP, cut by layers")]
    if size == 2:
        found += [("sam", m, way) for m in (n // 2, n, B) for way in OPTIONS]
        found += [(v, m, "FSDP") for v in ("rwsam", "wsam") for m in (n // 2, B)]
    return found


def wrapped(model: nn.Module, way: str) -> nn.Module:
    if "layers" in way:
        for part in (model[0], model[3]):  # type: ignore[index]
            fully_shard(part)
    if "FSDP" in way:
        return fully_shard(model)
    return DistributedDataParallel(model, **OPTIONS[way]) if way else model


def trained(case: Case, rank: int = 0, size: int = 1) -> tuple[torch.Tensor, int]:
    """The weights after some steps on this rank's share of each batch, and how often gradients were sent in a step."""
    variant, m, way = case
    model = network()
    d = sum(p.numel() for p in model.parameters())
    outer = wrapped(model, way if size > 1 else "")
    hidden = [p for part in (model[0], model[1]) for p in part.parameters()]  # type: ignore[index]
    groups = [{"params": hidden, "lr": 0.05}, {"params": list(model[3].parameters())}]  # type: ignore[index]
    with torch.no_grad():
        outer(batches()[0][0])  # after which FSDP leaves the outermost part whole
    base = lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=1e-3)  # noqa: E731
    own = {} if variant == "asam" else {"rho": 0.1}
    optimiser = SharpnessAware(outer, variant, base, lr=0.1, m=m, params=groups, clip=1.0, **own)
    n, sent = B // size, []
    send = dist.all_reduce
    dist.all_reduce = lambda a, *rest, **named: (sent.append(a.numel()), send(a, *rest, **named))[1]
    try:
        for t, (x, y) in enumerate(batches()):
            part = slice(rank * n, (rank + 1) * n)
            if t == STEPS - 1:
                sent.clear()
            optimiser.step(lambda x=x, y=y, part=part: (x[part], y[part]))
            with torch.no_grad():
                outer(x)
    finally:
        dist.all_reduce = send
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return torch.cat([p.detach().flatten() for p in whole]), sum(k >= d for k in sent)


def refused(model: nn.Module, n: int, m: int | None = None, spoil: bool = False) -> str:
    x, y = (a[:n] for a in batches()[0])
    x[0, 0] = torch.nan if spoil else x[0, 0]
    try:
        SharpnessAware(model, "sam", lr=0.1, m=m).step(lambda: (x, y))
    except ValueError as error:
        return str(error)
    return ""


def marks(model: nn.Module) -> list[Any]:
    """What FSDP has put on the parts of a module: class, attributes, hooks."""
    hooks = [[list(d) for name, d in vars(part).items() if name.endswith("_hooks")] for part in model.modules()]
    return [hooks, *([type(part).__name__, *sorted(vars(part))] for part in model.modules())]


def fsdp_of_its_own(n: int) -> tuple[float, bool]:
    """How far FSDP's own gradient after a step of ours is from the one without; whether its marks are as before."""
    x, y = (a[:n] for a in batches()[0])
    model = wrapped(network(), "FSDP, cut by layers")
    grads = []
    for ours in (False, True):
        if ours:
            model.zero_grad()
            SharpnessAware(model, "sam", lr=0.0, m=1).step(lambda: (x, y))
            model.zero_grad()
        else:
            model(x)  # it puts its last hooks there at the first call
            before = marks(model)
        nn.functional.cross_entropy(model(x), y).backward()
        grads.append(torch.cat([p.grad.full_tensor().flatten() for p in model.parameters()]))
    return float((grads[0] - grads[1]).norm()), marks(model) == before


def main(rank: int, size: int, folder: Path) -> None:
    join(rank, size, folder)
    n = B // size
    found: dict[Any, Any] = {case: trained(case, rank, size) for case in cases(size)}
    found["refused"] = refused(network(), n, 3)
    found["norm"] = refused(nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).double(), n)
    found["mixed"] = refused(fully_shard(network(), mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16)), n)
    found["NaN"] = refused(network(), n, 1, spoil=rank == 1)
    hooked = DistributedDataParallel(network())
    hooked.register_comm_hook(None, default_hooks.fp16_compress_hook)
    with warnings.catch_warnings(record=True) as said:
        SharpnessAware(hooked, "sam", lr=0.1)
    found["hook"] = [str(w.message) for w in said]
    found["FSDP"] = fsdp_of_its_own(n)
    torch.save(found, saved(folder, rank, size))
    del hooked
    gc.collect()  # a DistributedDataParallel that outlives its group aborts the process now and then
    dist.destroy_process_group()
