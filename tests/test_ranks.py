"""Several processes train as one: the same m gives the same weights, and as few gradients are sent as can be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sam_dash.maths.ranks import Ranks
from sam_dash.optim import SharpnessAware

B, STEPS = 32, 10
VARIANTS = ("sam", "usam", "rwsam", "asam", "gsam")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).double()


def batches():
    torch.manual_seed(1)
    return [(torch.randn(B, 5).double(), torch.randint(0, 3, (B,))) for _ in range(STEPS)]


def trained(variant, m, rank=0, size=1, wrap=False, count=None):
    """The weights after some steps on this rank's share of each batch, and how often gradients were sent in a step."""
    model = network()
    d = sum(p.numel() for p in model.parameters())
    inner = DistributedDataParallel(model) if wrap else model
    base = lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=1e-3)  # noqa: E731
    optimiser = SharpnessAware(inner, variant, base, lr=0.1, m=m, **({"rho": 0.1} if variant != "asam" else {}))
    n, sent = B // size, []
    send = dist.all_reduce
    dist.all_reduce = lambda a, *rest, **named: (sent.append(a.numel()), send(a, *rest, **named))[1]
    try:
        for t, (x, y) in enumerate(batches()):
            own = slice(rank * n, (rank + 1) * n)
            if t == STEPS - 1:
                sent.clear()
            optimiser.step(lambda x=x, y=y, own=own: (x[own], y[own]))
    finally:
        dist.all_reduce = send
    return torch.cat([p.detach().flatten() for p in model.parameters()]), sum(k >= d for k in sent)


def cases(size):
    n = B // size
    sizes = sorted({1, n // 2, n, B, *([2 * n] if size == 4 else [])})
    of = VARIANTS if size == 2 else VARIANTS[1:3]
    return [(v, m, False) for v in of for m in sizes] + [("sam", m, wrap) for m in (1, n, B) for wrap in (False, True)]


def worker(rank, size, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=size)
    found = {case: trained(case[0], case[1], rank, size, case[2]) for case in cases(size)}
    try:
        SharpnessAware(network(), "sam", lr=0.1, m=3).step(lambda: tuple(a[: B // size] for a in batches()[0]))
    except ValueError as error:
        found["refused"] = str(error)
    norm = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).double()
    try:
        SharpnessAware(norm, "sam", lr=0.1).step(lambda: tuple(a[: B // size] for a in batches()[0]))
    except ValueError as error:
        found["norm"] = str(error)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(worker, (request.param, port, str(folder)), nprocs=request.param)
    return request.param, [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def test_weights_are_those_of_one_process_and_bitwise_equal_on_all_ranks(ranks) -> None:
    size, found = ranks
    apart = {}
    for case in cases(size):
        alone = trained(case[0], case[1])[0]
        assert all(torch.equal(of[case][0], found[0][case][0]) for of in found), case
        apart[case] = float((found[0][case][0] - alone).norm() / alone.norm())
    assert max(apart.values()) < 1e-9, apart


def test_one_gradient_is_sent_a_step_where_perturbations_are_local_and_two_where_they_are_common(ranks) -> None:
    size, found = ranks
    sent = {m: found[0]["usam", m, False][1] for variant, m, _ in cases(size) if variant == "usam"}
    assert {m: count for m, count in sent.items() if m <= B // size} == dict.fromkeys({1, B // size // 2, B // size}, 1)
    assert sent[B] == 2


def test_other_m_are_refused_with_those_that_are_possible(ranks) -> None:
    size, found = ranks
    said = f"of {B // size} samples on each of {size} ranks; choose one of 1, 2, 4, 8, 16, 32"
    assert said in found[0]["refused"]
    assert f"BatchNorm normalises each rank's {B // size} samples by themselves" in found[0]["norm"]


def test_one_process_refuses_with_the_divisors() -> None:
    with pytest.raises(ValueError, match="m = 5 does not divide this batch of 6 samples; choose one of 1, 2, 3, 6"):
        Ranks().sharing(5, 6)
    assert Ranks().sharing(3, 6) == 1
