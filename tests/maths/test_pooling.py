"""Max pooling written out against torch's, gradient included."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_dash.maths.fast.pooling import max_pool, written_out
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.flat import flatten


@pytest.mark.parametrize("shape", [(3, 2, 6, 8), (2, 1, 7, 6), (2, 3, 4, 5), (1, 1, 2, 2)])
@pytest.mark.parametrize("last", [False, True])
def test_as_torch_pools_ties_included(shape, last):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, shape, generator=g).float()  # most windows have their maximum more than once
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    a, b = (x.clone().requires_grad_() for _ in range(2))
    ours, theirs = max_pool(a), F.max_pool2d(b, 2)
    d = torch.randn(theirs.shape, generator=g)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(out, v, d)[0] for out, v in ((ours, a), (theirs, b))))


def test_a_tapped_network_pools_so():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    x = torch.randn(5, 1, 6, 6)
    with torch.profiler.profile() as found:
        out, pull = Taps(net).linearise(flatten(net), x)
        pull(torch.ones_like(out))
    torch.testing.assert_close(out, net(x).detach())
    assert not any("max_pool2d" in event.key for event in found.key_averages())


class Doubled(nn.MaxPool2d):
    """Something else, by inheritance."""

    def forward(self, h):
        return 2 * super().forward(h)


def test_only_layers_that_pool_so_are_written_out():
    assert written_out(nn.MaxPool2d(2))
    assert written_out(nn.MaxPool2d((2, 2), stride=(2, 2)))
    others = [
        nn.MaxPool2d(3), nn.MaxPool2d(2, stride=1), nn.MaxPool2d(2, padding=1), nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, return_indices=True), nn.MaxPool1d(2), nn.AvgPool2d(2),
        Doubled(2),
    ]  # fmt: skip
    assert not any(map(written_out, others))
