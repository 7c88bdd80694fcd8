"""`optim.SharpnessAware` in a loop of one's own, against the SAM that a user would write; see `user`.

`python -m benchmarks.own_loop` prints it alone, in CPU time, which a busy machine changes least.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks import user
from benchmarks.memory import LIMIT, peak
from benchmarks.problems import NETWORKS
from benchmarks.report import Row, at_most
from benchmarks.timing import Ratio, side_by_side
from sam_dash.optim import SharpnessAware

RATE, RHO = 1e-3, 0.05
FULL = 1.15  # of an eager SAM step, at m = B
TARGETS = {"MLP 40-128-128-10": 1.3, "CNN": 1.3, "ResNet-18 width 16": 1.4, "Transformer, 2 blocks of 64": 1.6}
BUDGET = {"MLP 40-128-128-10": 5.0, "CNN": 12.0, "ResNet-18 width 16": 28.0, "Transformer, 2 blocks of 64": 12.0}
TOKENS, WORDS, WIDTH, B_OF_TOKENS = 16, 100, 64, 64


class Transformer(nn.Module):
    """Torch's own encoder on tokens: positions, two blocks, a linear head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Parameter(torch.randn(TOKENS, WIDTH) / 8)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (n, 10) of ids (n, TOKENS)."""
        return self.head(self.blocks(self.words(ids) + self.places).mean(1))


def networks() -> Iterator[tuple[str, nn.Module, Tensor, int]]:
    """Name, module, inputs of one batch (B, ...) and B."""
    torch.manual_seed(0)
    for name, (make, shape, B) in NETWORKS.items():
        yield name, make(), torch.randn(B, *shape), B
    yield "Transformer, 2 blocks of 64", Transformer(), torch.randint(0, WORDS, (B_OF_TOKENS, TOKENS)), B_OF_TOKENS


def ours(module: nn.Module, x: Tensor, y: Tensor, m: int) -> tuple[SharpnessAware, Callable[[], object]]:
    """Our optimiser, and one step of it."""
    optimiser = SharpnessAware(module, "sam", torch.optim.SGD, m=m, lr=RATE, rho=RHO)
    return optimiser, lambda: optimiser.step(lambda: (x, y))


def eager(module: nn.Module, x: Tensor, y: Tensor, m: int | None = None) -> Callable[[], object]:
    """One step of a user's SAM; of the m-SAM loop where m is given."""
    optimiser = user.SAM(module.parameters(), torch.optim.SGD, lr=RATE, rho=RHO)
    if m is None:
        return lambda: user.sam_step(module, optimiser, x, y)
    return lambda: user.m_sam_step(module, optimiser, x, y, m)


def plain(module: nn.Module, x: Tensor, y: Tensor) -> Callable[[], object]:
    """One step of SGD."""
    optimiser = torch.optim.SGD(module.parameters(), lr=RATE)
    return lambda: user.sgd_step(module, optimiser, x, y)


def rows(budget: float = 1.0, clock: Callable[[], float] = time.perf_counter) -> Iterator[Row]:
    """Time at m = 1, 8 and B, and peak memory, network by network."""
    for name, module, x, B in networks():
        y = torch.randint(0, 10, (B,))
        made = {m: ours(copy.deepcopy(module), x, y, m) for m in (1, 8, B)}
        sides = {f"m = {m}": step for m, (_, step) in made.items()} | {"eager SAM": eager(copy.deepcopy(module), x, y)}
        times = side_by_side(sides, budget * BUDGET[name], clock=clock)
        least = peak(plain(copy.deepcopy(module), x, y))
        for m, (optimiser, step) in made.items():
            what, note = f"own loop, {name}: m = {m}", f"way: {optimiser.way}"
            target = FULL if m == B else TARGETS[name]
            yield at_most(f"{what}, against eager SAM", times.ratio(f"m = {m}", "eager SAM"), target, note)
            ratio = peak(step) / least
            yield at_most(f"{what}, peak memory against an SGD step", Ratio(ratio, ratio, ratio), LIMIT, note)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for row in rows(clock=time.thread_time):
        print(f"{row.what}: {row.ratio} {row.target} {row.note}", flush=True)
