"""The identities of the theory, exactly where they are exact."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.variants import get
from tests.helpers import oracle


def least_squares(w, batch):
    """l_i(w) = (a_i . w - b_i)^2 / 2."""
    a, b = batch
    return (a @ w - b) ** 2 / 2


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6, 12])
def test_m_usam_on_least_squares_descends_the_regularised_loss_exactly(m) -> None:
    """h = grad[L + rho/2 ||grad L||^2 + rho/2 tr V_m], V_m the covariance (1/n) of the micro-batch gradients."""
    rng, rho, B, d = np.random.default_rng(0), 0.7, 12, 5
    a, b, w = rng.normal(size=(B, d)), rng.normal(size=B), rng.normal(size=d)
    step = per_micro_batch(get("usam").step, m)
    h = step(Oracle(least_squares, (torch.tensor(a), torch.tensor(b))), torch.tensor(w), (), rho=rho).h.numpy()

    g = a * (a @ w - b)[:, None]
    A = a.T @ a / B
    groups = np.arange(B).reshape(-1, m)
    A_j = [a[j].T @ a[j] / m for j in groups]
    g_j = [g[j].mean(0) for j in groups]
    # tr V_m = mean ||g_j||^2 - ||g||^2, whose gradient is 2 (mean A_j g_j - A g)
    grad_trace = 2 * (np.mean([P @ q for P, q in zip(A_j, g_j, strict=True)], 0) - A @ g.mean(0))
    expected = g.mean(0) + rho * A @ g.mean(0) + rho / 2 * grad_trace
    np.testing.assert_allclose(h, expected, rtol=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 5, 6])
def test_the_noise_of_a_micro_batch_is_trV_over_m_with_the_finite_population_factor(m) -> None:
    """E tr V_m = (tr V / m) (B - m)/(B - 1), over all micro-batches of m out of B."""
    rng, B = np.random.default_rng(1), 6
    g = rng.normal(size=(B, 4))
    dev = g - g.mean(0)
    measured = np.mean([np.sum(dev[list(i)].mean(0) ** 2) for i in combinations(range(B), m)])
    assert measured == pytest.approx(np.sum(dev**2) / B / m * (B - m) / (B - 1), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(c=st.floats(0.01, 100))
def test_sam_perturbs_the_same_whatever_the_scale_of_the_loss(c) -> None:
    L, w = oracle()
    scaled = Oracle(lambda w, batch: c * L.losses_fn(w, batch), L.batch)
    sam = get("sam").step
    one, other = sam(L, w, (), rho=0.2), sam(scaled, w, (), rho=0.2)
    torch.testing.assert_close(other.eps, one.eps)
    torch.testing.assert_close(other.h, c * one.h)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), key=st.sampled_from(["sgd", "sam", "usam"]), m=st.sampled_from([1, 3, 12]))
def test_a_rotation_of_the_parameters_rotates_the_step(seed, key, m) -> None:
    torch.manual_seed(seed)
    d, v = 5, get(key)
    Q = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64))[0]
    a, b, w = torch.randn(12, d).double(), torch.randn(12).double(), torch.randn(d).double()
    knobs = {"rho": 0.3} if v.knobs else {}
    step = per_micro_batch(v.step, m)
    plain = step(Oracle(least_squares, (a, b)), w, (), **knobs)
    turned = step(Oracle(least_squares, (a @ Q.T, b)), Q @ w, (), **knobs)
    torch.testing.assert_close(turned.h, Q @ plain.h)


def test_rw_sam_with_exact_norms_equals_ten_naive_lines() -> None:
    L, w = oracle()
    lam, rho = 0.7, 0.3
    grads = []
    for x, y in zip(*L.batch, strict=True):
        v = w.clone().requires_grad_()
        L.losses_fn(v, (x[None], y[None])).sum().backward()
        grads.append(v.grad)
    norms = torch.stack([g.norm() for g in grads])
    p = torch.exp(lam * norms) / torch.exp(lam * norms).sum()
    u = sum(p_i * g for p_i, g in zip(p, grads, strict=True))
    step = get("rwsam").step(L, w, (), rho=rho, lam=lam, norms="exact", scale="raw", normalised=True)
    torch.testing.assert_close(step.eps, rho * u / u.norm())
    torch.testing.assert_close(step.info["ess"], 1 / (p**2).sum())


def test_rw_sam_with_a_huge_lambda_climbs_the_sharpest_sample() -> None:
    L, w = oracle()
    step = get("rwsam").step(L, w, (), rho=0.3, lam=1e3, norms="exact", scale="standardised", normalised=True)
    grads = L.grads(w)
    sharpest = grads[grads.norm(dim=1).argmax()]
    torch.testing.assert_close(step.eps, 0.3 * sharpest / sharpest.norm(), rtol=1e-6, atol=1e-9)
    assert float(step.info["ess"]) == pytest.approx(1, abs=1e-6)


def test_one_probe_estimates_the_norm_without_bias_in_the_square() -> None:
    """E (g . z)^2 = ||g||^2 for Rademacher z: the mean over 4000 probes is within 5 standard errors."""
    L, w = oracle()
    z = 2.0 * torch.randint(0, 2, (4000, len(w))).double() - 1
    delta = 1e-5
    probes = torch.stack([(L.losses(w + delta * v) - L.losses(w)) / delta for v in z]) ** 2  # (4000, B)
    exact = L.grads(w).square().sum(1)
    error = (probes.mean(0) - exact) / (probes.std(0) / 4000**0.5)
    assert float(error.abs().max()) < 5
