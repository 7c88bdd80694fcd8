"""What several ranks compute together is what one does alone; threads stand in for the processes here.

Real processes, and how often they send, are in tests/test_ranks.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sam_dash.maths import ranks as module
from sam_dash.maths.live import Live
from sam_dash.maths.live_oracle import LiveOracle
from sam_dash.maths.ranks import Ranks, SharedOracle

N, D = 6, 4  # samples of a rank, their dimension


class Threads:
    """The part of torch.distributed that is used, for threads; a group is the tuple of its ranks."""

    def __init__(self, size: int) -> None:
        self.size, self.own = size, threading.local()
        self.group = SimpleNamespace(WORLD=tuple(range(size)))
        self.barriers: dict[tuple[int, ...], threading.Barrier] = {}
        self.sent: dict[int, Tensor] = {}
        self.counts = [0] * size
        self.lock = threading.Lock()

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def get_world_size(self) -> int:
        return self.size

    def get_rank(self) -> int:
        return int(self.own.rank)

    def new_group(self, members: list[int]) -> tuple[int, ...]:
        return tuple(members)

    def _all(self, a: Tensor, group: tuple[int, ...]) -> list[Tensor]:
        assert self.own.rank in group
        with self.lock:
            barrier = self.barriers.setdefault(group, threading.Barrier(len(group), timeout=20))
        self.sent[self.own.rank] = a.clone()
        barrier.wait()
        found = [self.sent[rank] for rank in group]
        barrier.wait()
        self.counts[self.own.rank] += 1
        return found

    def all_reduce(self, a: Tensor, group: tuple[int, ...]) -> None:
        a.copy_(torch.stack(self._all(a, group)).sum(0))

    def all_gather(self, parts: list[Tensor], a: Tensor, group: tuple[int, ...]) -> None:
        for part, found in zip(parts, self._all(a, group), strict=True):
            part.copy_(found)

    def run(self, of: Callable[[Ranks], Any]) -> list[Any]:
        """What it gives on every rank."""

        def on(rank: int) -> Any:
            self.own.rank = rank
            return of(Ranks.here())

        with ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(on, range(self.size)))


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Threads]:
    """So many of them, in place of processes."""

    def make(size: int) -> Threads:
        found = Threads(size)
        monkeypatch.setattr(module, "dist", found)
        return found

    return make


def test_one_process_is_a_rank_alone(threads: Callable[[int], Threads], monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Ranks.here(), threads(1).run(lambda own: own)) == (Ranks(), [Ranks()])
    for missing in ("is_available", "is_initialized"):
        several = threads(4)
        monkeypatch.setattr(several, missing, lambda: False)
        assert several.run(lambda own: own) == [Ranks()] * 4


def test_neighbours_are_consecutive_and_there_are_groups_of_every_divisor(threads: Callable[[int], Threads]) -> None:
    found = threads(6).run(lambda own: own)
    assert [(own.size, own.rank) for own in found] == [(6, rank) for rank in range(6)]
    assert found[0].groups == {6: (0, 1, 2, 3, 4, 5), 2: (0, 1), 3: (0, 1, 2)}
    assert found[3].groups == {6: (0, 1, 2, 3, 4, 5), 2: (2, 3), 3: (3, 4, 5)}
    assert threads(2).run(lambda own: own.groups) == [{2: (0, 1)}] * 2


@pytest.mark.parametrize(("m", "k"), [(1, 1), (3, 1), (6, 1), (12, 2), (18, 3), (36, 6)])
def test_m_is_shared_by_as_many_ranks_as_it_spans(m: int, k: int) -> None:
    assert Ranks(6, 0, {6: 0, 2: 0, 3: 0}).sharing(m, N) == k


@pytest.mark.parametrize("m", [4, 5, 9, 24, 30, 72])
def test_another_m_is_refused_with_those_there_are(m: int) -> None:
    several = Ranks(6, 0, {6: 0, 2: 0, 3: 0})
    told = rf"m = {m} does not divide this batch of 6 samples on each of 6 ranks; choose one of 1, 2, 3, 6, 12, 18, 36$"
    with pytest.raises(ValueError, match=told):
        several.sharing(m, N)
    with pytest.raises(ValueError, match=r"of 6 samples; choose one of 1, 2, 3, 6; drop_last=True may help$"):
        Ranks().sharing(m, N)


def test_a_mean_is_over_all_ranks_or_over_neighbours_and_leaves_what_was_there(
    threads: Callable[[int], Threads],
) -> None:
    def of(own: Ranks) -> tuple[Any, ...]:
        a = torch.tensor([float(own.rank), 1.0])
        return own.mean(a), own.mean(a, 2), own.mean(a, 1) is a, a

    several = threads(4)
    found = several.run(of)
    for rank, (over_all, of_two, alone, a) in enumerate(found):
        assert over_all.tolist() == [1.5, 1.0]
        assert of_two.tolist() == [0.5 if rank < 2 else 2.5, 1.0]
        assert alone
        assert a.tolist() == [float(rank), 1.0]
    assert several.counts == [2] * 4, "of one rank nothing is sent"


def test_a_structure_is_averaged_in_one_go_and_keeps_its_shapes_and_types(threads: Callable[[int], Threads]) -> None:
    def of(own: Ranks) -> Any:
        x = float(own.rank)
        return own.means({"a": torch.full((2, 3), x), "b": (x, torch.tensor(10 * x, dtype=torch.float64)), "c": None})

    several = threads(2)
    for rank, found in enumerate(several.run(of)):
        assert (found["a"].dtype, found["a"].tolist()) == (torch.float32, [[0.5] * 3] * 2)
        assert (found["b"][0], found["b"][1].dtype, float(found["b"][1])) == (float(rank), torch.float64, 5.0)
    assert several.counts == [1] * 2
    several.run(lambda own: own.means({"c": 1.0}))
    assert several.counts == [1] * 2, "without a tensor nothing is sent"
    tree = [torch.ones(2)]
    assert Ranks().means(tree) is tree


def live() -> Live:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(D, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    return Live.of(network, lambda out, y: (out[:, 0] - y) ** 2, list(network.parameters()))


def batch(start: int, stop: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(4 * N, D, generator=g).double(), torch.randn(4 * N, generator=g).double()
    return x[start:stop], y[start:stop]


@pytest.mark.parametrize("k", [2, 4])
def test_an_oracle_of_several_ranks_answers_as_one_of_all_their_samples(
    k: int, threads: Callable[[int], Threads]
) -> None:
    p, v = torch.rand(k * N, dtype=torch.float64), torch.randn(19, dtype=torch.float64)

    def answers(L: LiveOracle, w: Tensor) -> list[Tensor]:
        losses, pull = L.pullback(w)
        return [L.losses(w), losses, L.grad(w), pull(p), L.hvp(w, v), torch.tensor(L.n), L.labels]

    models = [live() for _ in range(4)]

    def of(own: Ranks) -> list[Tensor]:
        here = models[own.rank]
        with here.held() as w:
            return answers(SharedOracle.on(here, batch(own.rank * N, own.rank * N + N), ranks=own, k=k), w)

    for rank, found in enumerate(threads(4).run(of)):
        first, alone = rank // k * k * N, live()
        with alone.held() as w:
            expected = answers(LiveOracle.on(alone, batch(first, first + k * N)), w)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_what_would_send_every_samples_gradient_is_refused() -> None:
    shared = SharedOracle.on(live(), batch(0, N))
    with pytest.raises(ValueError, match="per-sample gradients of several ranks"):
        shared.grads(torch.zeros(19))
    with pytest.raises(ValueError, match="some of the samples of several ranks"):
        shared.take(torch.arange(2))
