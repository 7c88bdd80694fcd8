"""Ascent-direction sharpness against dense Hessians, finite differences and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sam_dash.maths import ascent, curvature, m_sharpness, noise
from sam_dash.maths.flat import flatten, losses_fn
from sam_dash.maths.samples import shuffled
from tests.helpers import mlp


@pytest.fixture
def problem():
    """A tanh network of 43 parameters and 60 samples: smooth, so that differences of the loss converge."""
    torch.manual_seed(0)
    module = mlp(4, 5, 3, activation=nn.Tanh)
    return losses_fn(module), flatten(module), (torch.randn(60, 4).double(), torch.randint(0, 3, (60,)))


def dense(losses, w, batch) -> float:
    """g^T H g / ||g||^2 with the dense Hessian, both by plain autograd."""

    def f(v):
        return losses(v, batch).mean()

    g = torch.autograd.functional.jacobian(f, w)
    H = torch.autograd.functional.hessian(f, w)
    return float(g @ H @ g / (g @ g))


def whole(losses, w, batch) -> ascent.Estimate:
    return ascent.ascent(losses, w, batch, curvature.hvp(losses, w, batch))


def test_it_is_the_dense_hessian_along_the_gradient(problem) -> None:
    losses, w, batch = problem
    found = whole(losses, w, batch)
    assert found.value == pytest.approx(dense(losses, w, batch), rel=1e-9)
    assert (found.stderr, found.budget) == (0, 60)
    assert len(found.method) <= 64


def test_it_is_the_second_difference_of_the_loss_along_the_gradient(problem) -> None:
    losses, w, batch = problem
    v = w.clone().requires_grad_()
    losses(v, batch).mean().backward()
    u, h = v.grad / v.grad.norm(), 1e-3

    def f(t: float) -> float:
        return float(losses(w + t * u, batch).mean())

    assert whole(losses, w, batch).value == pytest.approx((f(h) - 2 * f(0) + f(-h)) / h**2, rel=1e-5)


@pytest.mark.parametrize("m", [1, 4, 7])
def test_of_micro_batches_it_is_the_mean_of_their_dense_ones(problem, m) -> None:
    losses, w, (x, y) = problem
    parts = [(x[i : i + m], y[i : i + m]) for i in range(0, 60 // m * m, m)]
    each = torch.tensor([dense(losses, w, part) for part in parts], dtype=torch.float64)
    found = ascent.by_size(losses, w, (x, y), m=(m,))[m]
    assert found.value == pytest.approx(float(each.mean()), rel=1e-9)
    assert found.stderr == pytest.approx(float(each.std()) / len(each) ** 0.5, rel=1e-9)
    assert found.budget == 60 // m
    assert len(found.method) <= 64


def test_layer_norm_is_differentiated_twice_rightly() -> None:
    """Forward over forward, torch 2.13 gets it wrong, here by 2e-5 (pytorch/pytorch#196700)."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3)).double()
    losses, w = losses_fn(module), flatten(module)
    x, y = torch.randn(8, 4).double(), torch.randint(0, 3, (8,))
    each = [dense(losses, w, (x[[i]], y[[i]])) for i in range(8)]
    assert ascent.by_size(losses, w, (x, y), m=(1,))[1].value == pytest.approx(sum(each) / 8, rel=1e-9)


def test_it_is_the_second_order_of_m_sharpness(problem) -> None:
    """f(w + rho u) - f(w) = rho ||g|| + rho^2/2 a + O(rho^3): two rho leave a, by another code."""
    losses, w, batch = problem
    far, near = (m_sharpness.m_sharpness(losses, w, batch, m=(5,), rho=r)[5].value for r in (2e-4, 1e-4))
    found = ascent.by_size(losses, w, batch, m=(5,))[5]
    assert found.value == pytest.approx((far - 2 * near) / 1e-8, rel=1e-3)


def test_of_linear_least_squares_a_sample_alone_has_its_trace() -> None:
    """f_i = (x_i w - y_i)^2 / 2 has H_i = x_i x_i^T, of rank 1 along its gradient: a_1 = tr H, whatever the errors."""
    torch.manual_seed(1)
    x, y, w = torch.randn(40, 6).double(), torch.randn(40).double(), torch.randn(6).double()
    found = ascent.by_size(lambda v, batch: (batch[0] @ v - batch[1]) ** 2 / 2, w, (x, y), m=(1, 20))
    assert found[1].value == pytest.approx(float((x.T @ x / 40).trace()), rel=1e-9)
    assert found[20].value < found[1].value


def test_it_is_at_most_the_top_eigenvalue_and_equals_it_along_its_eigenvector() -> None:
    """f = w^T D w / 2: the gradient D w is the top eigenvector where w is."""
    D = torch.diag(torch.tensor([4.0, 1.0, 0.5]).double())
    batch = (torch.zeros(4, 1), torch.zeros(4))

    def losses(v, part):
        return (v @ D @ v / 2).expand(len(part[1]))

    for w, value in (([2.0, 0, 0], 4.0), ([1.0, 1, 1], (4**3 + 1 + 0.5**3) / (16 + 1 + 0.25))):
        found = ascent.ascent(losses, torch.tensor(w).double(), batch, lambda V: V @ D)
        assert found.value == pytest.approx(value)
        assert found.value <= 4 + 1e-9


def test_without_a_gradient_there_is_no_ascent() -> None:
    zero, batch = torch.zeros(3).double(), (torch.zeros(4, 1), torch.zeros(4))

    def losses(v, part):
        return (v @ v).expand(len(part[1]))

    assert ascent.ascent(losses, zero, batch, lambda V: 2 * V).value == 0
    assert ascent.by_size(losses, zero, batch, m=(2,))[2].value == 0


def test_chunks_change_nothing_and_all_sizes_are_cut_from_one_random_order(problem, monkeypatch) -> None:
    losses, w, batch = problem
    order = shuffled(batch, torch.Generator().manual_seed(3))
    by_hand = ascent.by_size(losses, w, order, m=(2, 6))
    monkeypatch.setattr(noise, "ELEMENTS", 12 * len(w))
    found = ascent.by_size(losses, w, batch, m=(2, 6), generator=torch.Generator().manual_seed(3))
    for m in (2, 6):
        assert found[m].value == pytest.approx(by_hand[m].value, rel=1e-10)


def test_batch_sharpness_is_the_ratio_of_means_of_dense_hessians_and_not_the_mean_of_ratios(problem) -> None:
    losses, w, (x, y) = problem
    found = ascent.batch_sharpness(losses, w, (x, y), m=(6,))[6]
    above, below = [], []
    for i in range(0, 60, 6):
        one = x[i : i + 6], y[i : i + 6]
        g = torch.autograd.functional.jacobian(lambda v, one=one: losses(v, one).mean(), w)
        below.append(float(g @ g))
        above.append(below[-1] * dense(losses, w, one))
    assert found.value == pytest.approx(sum(above) / sum(below), rel=1e-9)
    assert found.value != pytest.approx(ascent.by_size(losses, w, (x, y), m=(6,))[6].value, rel=1e-3)
    assert (found.budget, found.dof) == (10, 9)


def test_the_error_of_batch_sharpness_covers_the_truth_at_its_rate() -> None:
    """Of least squares, whose terms are g_i^T H_i g_i = ||x||^2 ||g_i||^2: the ratio over all x is known."""
    draws = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(40000, 3, generator=draws, dtype=torch.float64) - 1
    r = torch.rand(40000, generator=draws, dtype=torch.float64)
    squares = x.square().sum(1) * r.square()
    curvatures = x.square().sum(1)
    truth = 3 / 5 + 6 / 9  # E ||x||^4 / E ||x||^2 of three uniform numbers in (-1, 1)
    found = [ascent.weighted(c, s) for c, s in zip(curvatures.split(80), squares.split(80), strict=True)]
    covered = sum(abs(e.value - truth) < 1.99 * e.stderr for e in found) / len(found)
    assert 0.88 < covered < 0.98


def test_an_m_without_two_micro_batches_is_refused(problem) -> None:
    losses, w, batch = problem
    with pytest.raises(ValueError, match="expected between 1 and n/2"):
        ascent.by_size(losses, w, batch, m=(31,))
