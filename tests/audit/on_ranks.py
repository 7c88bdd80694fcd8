"""What each rank of `test_audit` does (`tests/ranks.py`), and what one process does alone."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from sam_dash.audit import Report, audit
from tests.audit.zoo import ZOO, batches, bench
from tests.ranks import join, saved

WARM, STEPS = 1, 2


def audited(name: str, rank: int = 0, size: int = 1) -> tuple[Report, bool]:
    """The report of some steps of a loop, after others; and whether the loop went as it does unwatched."""
    watched, plain = bench(name, rank, size), bench(name, rank, size)
    every = list(batches(WARM + STEPS, rank, size))
    torch.manual_seed(2 + rank)
    for x, y in every[:WARM]:
        ZOO[name].step(watched, x, y)
    with audit(watched.outer, watched.optimiser) as a:
        for x, y in every[WARM:]:
            ZOO[name].step(watched, x, y)
    drawn = torch.get_rng_state()
    now = torch.cat([t.flatten() for t in watched.model.state_dict().values()])
    report = a.report()
    same = torch.equal(drawn, torch.get_rng_state())
    same &= torch.equal(now, torch.cat([t.flatten() for t in watched.model.state_dict().values()]))
    torch.manual_seed(2 + rank)
    for x, y in every:
        ZOO[name].step(plain, x, y)
    same &= torch.equal(now, torch.cat([t.flatten() for t in plain.model.state_dict().values()]))
    return report, same and torch.equal(drawn, torch.get_rng_state())


def main(rank: int, size: int, folder: Path) -> None:
    join(rank, size, folder)
    found = {name: audited(name, rank, size) for name, truth in ZOO.items() if size in truth.sizes}
    torch.save(found, saved(folder, rank, size))
    dist.destroy_process_group()
