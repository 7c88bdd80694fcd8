"""Several processes, one recorded run: `torchrun --nproc-per-node 2 examples/recorded_ranks.py`.

Every rank has the same lines; rank 0 records, the others' calls return at once. While rank 0 measures, the others wait
for it at their next all-reduce: keep a measurement shorter than the group's time limit.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sam_dash.optim import SharpnessAware
from sam_dash.record import Recorder

N, BATCH, EPOCHS = 512, 64, 4


def main(store: str | None = None) -> float:
    """Train by m-SAM on all ranks; the accuracy on samples that were not trained on."""
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    x, y = torch.randn(768, 10), torch.randint(0, 3, (768,))
    x[torch.arange(768), y] += 3
    model = DistributedDataParallel(nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3)))
    optimizer = SharpnessAware(model, "sam", m=8, rho=0.05, lr=0.1)
    with Recorder("ranks", variant="sam", m=8, rho=0.05, seed=0, batch=BATCH, share=0.5, store=store) as r:
        r.watch(optimizer)
        for _ in range(EPOCHS):
            for batch in torch.randperm(N).split(BATCH):
                mine = batch[rank::size]
                loss = optimizer.step(lambda: (x[mine], y[mine]))  # noqa: B023 (called before mine changes)
                r.log(optimizer.t, train_loss=loss)
            r.measure(model, x[:N], y[:N], always=True)
            with torch.no_grad():
                accuracy = (model.module(x[N:]).argmax(1) == y[N:]).float().mean()
            r.log(optimizer.t, test_acc=accuracy)
        r.save(model)
    dist.barrier()
    dist.destroy_process_group()
    return float(accuracy)


if __name__ == "__main__":
    print(f"accuracy {main(*sys.argv[1:]):.3f}")
