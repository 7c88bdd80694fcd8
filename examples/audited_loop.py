"""Which m has this loop? SAM on several GPUs by a recipe that is often copied: `no_sync` round the backward only.

python -m sam_dash audit examples/audited_loop.py:audited --expect-m 16
torchrun --nproc-per-node 2 -m sam_dash audit examples/audited_loop.py:audited --expect-m 16
"""

import os
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

N, RHO = 16, 0.05  # samples on a rank; the radius


def audited():
    """The model, the optimiser, and a function that makes one training step."""
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 5))
    several = dist.is_initialized()
    outer = DistributedDataParallel(model) if several else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(dist.get_rank() if several else 0)

    def step():
        x, y = torch.randn(N, 20, generator=generator), torch.randint(0, 5, (N,), generator=generator)
        optimizer.zero_grad()
        loss = cross_entropy(outer(x), y)
        with outer.no_sync() if several else nullcontext():  # not round the forward: averaged all the same
            loss.backward()
        kept = [p.detach().clone() for p in model.parameters()]
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(RHO * p.grad / norm)
        optimizer.zero_grad()
        cross_entropy(outer(x), y).backward()
        with torch.no_grad():
            for p, value in zip(model.parameters(), kept, strict=True):
                p.copy_(value)
        optimizer.step()

    return model, optimizer, step
