"""The tenths of a batch's weights against numpy's interpolation of their Lorenz curve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_dash.maths import shares


def lorenz(p: np.ndarray) -> np.ndarray:
    """Each tenth's share of one batch's weights (n,), read off the piecewise linear Lorenz curve."""
    held = np.concatenate([[0], np.cumsum(np.sort(p)[::-1])])
    return np.diff(np.interp(np.linspace(0, 1, 11), np.linspace(0, 1, len(p) + 1), held))


@pytest.mark.parametrize("n", [1, 4, 10, 64, 125, 128])
def test_the_tenths_are_those_of_the_lorenz_curve(n) -> None:
    p = torch.rand(3, 5, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64).mul(9).softmax(-1)
    found = shares.tenths(p.sort(-1, descending=True).values)
    assert found.shape == (3, 5, 10)
    for s in range(3):
        for t in range(5):
            np.testing.assert_allclose(found[s, t], lorenz(p[s, t].numpy()), rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [1, 7, 64])
def test_equal_weights_give_a_tenth_each(n) -> None:
    np.testing.assert_allclose(shares.tenths(torch.full((n,), 1 / n)), 0.1, rtol=1e-6)


def test_what_is_recorded_has_the_largest_the_top_tenth_and_the_tenths() -> None:
    p = torch.tensor([0.4, 0.2, *[0.4 / 18] * 18], dtype=torch.float64).expand(2, 3, 20)
    found = {q: x[1, 2].item() for q, x in shares.series(p).items()}
    rest = {f"p_tenth@{j}": 0.4 / 9 for j in range(2, 11)}
    assert found == pytest.approx({"p_max": 0.4, "p_top": 0.6, "p_tenth@1": 0.6} | rest)
