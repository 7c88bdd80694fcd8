"""Products of patches from those of pixels, against unfolded patches."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_dash.maths.fast.overlaps import Overlaps

GEOMETRIES = [
    {"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 1, "stride": 2},
    {"kernel_size": 2, "dilation": 2}, {"kernel_size": (4, 2), "stride": (1, 3), "padding": (3, 0), "dilation": (2, 1)},
    {"kernel_size": 1, "padding": 2},
]  # fmt: skip


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_products_are_those_of_patches_and_spread_is_their_transpose(geometry, m, last) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, **geometry)
    h, x = torch.randn(2, 6, 2, 5, 7, dtype=torch.float64)
    if last:
        h, x = (a.contiguous(memory_format=torch.channels_last) for a in (h, x))
    outputs = layer(x.float()).shape[2:]
    H, X = (
        F.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT.reshape(
            6 // m, -1, 2 * layer.weight[0, 0].numel()
        )
        for a in (h, x)
    )
    where = Overlaps.of(layer, x.shape[2:], outputs)
    found = where.products(h, x, m)
    torch.testing.assert_close(found, H @ X.mT)
    K = torch.randn_like(found)
    P = torch.einsum("gamc,gbmc->gab", *(a.permute(0, 2, 3, 1).reshape(6 // m, -1, 1, 2) for a in (h, x)))
    torch.testing.assert_close((where.spread(K, m) * P).sum(), (K * found).sum())
