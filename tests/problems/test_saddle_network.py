"""The saddle network: its curvature and its mini-batch law against dense Hessians and enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.func import grad, hessian

from sam_dash.problems import saddle_network as network

D = network.HIDDEN * (network.INPUTS + 1)


def test_zero_is_a_saddle_with_the_stated_eigenvalues() -> None:
    batch = tuple(a.double() for a in network.data())
    w = torch.zeros(D, dtype=torch.float64)
    assert float(grad(lambda w: network.losses(w, batch).mean())(w).norm()) == 0
    values = torch.linalg.eigvalsh(hessian(lambda w: network.losses(w, batch).mean())(w))
    K, c = network.HIDDEN, network.curvature()
    expected = torch.cat([torch.full((K,), -c), torch.zeros(D - 2 * K), torch.full((K,), c)]).double()
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)


def test_the_mean_critical_radius_is_where_the_mean_over_all_batches_turns(monkeypatch) -> None:
    x, y = network.data()
    monkeypatch.setattr(network, "SAMPLES", 12)
    monkeypatch.setattr(network, "data", lambda: (x[:12], y[:12]))
    w = torch.zeros(D, dtype=torch.float64)
    for batch in (2, 12):
        hessians = torch.stack([
            hessian(lambda w, i=i: network.losses(w, (x[list(i)].double(), y[list(i)].double())).mean())(w)
            for i in itertools.combinations(range(12), batch)
        ])  # fmt: skip
        rho = network.mean_critical_radius(batch)
        first, second = hessians.mean(0), (hessians @ hessians).mean(0)
        lowest = [float(torch.linalg.eigvalsh(first + s * rho * second)[0]) for s in (0.99, 1.01)]
        assert lowest[0] < -1e-6
        assert lowest[1] > -1e-9
    assert network.mean_critical_radius(12) == pytest.approx(1 / network.curvature(), rel=1e-4)
    assert network.mean_critical_radius(2) < 0.9 * network.mean_critical_radius(12)


def test_a_seed_has_its_start_and_its_batches_whatever_is_stacked_beside_it() -> None:
    assert torch.equal(network.starts([3, 5], 0.1)[1], network.starts([5], 0.1)[0])
    assert float(network.starts([5], 0.1).norm()) == pytest.approx(0.1)
    order = network.orders([3, 5], 16, 10)
    assert order.shape == (10, 2, 16)
    assert torch.equal(order[:, 1], network.orders([5], 16, 10)[:, 0])
    assert sorted(order[:4, 0].flatten().tolist()) == list(range(64))
