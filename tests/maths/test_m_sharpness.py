"""m-sharpness of fixed weights and ||G||^2 against a naive loop and closed forms."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths import m_sharpness as sharp
from sam_dash.maths import noise
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.samples import shuffled
from tests.helpers import oracle


def naive(L, w, m: int, rho: float) -> list[float]:
    """By the definition: one micro-batch after the other, gradients by autograd."""
    x, y = L.batch
    out = []
    for start in range(0, len(y) // m * m, m):
        part = (x[start : start + m], y[start : start + m])
        v = w.clone().requires_grad_()
        f = L.losses_fn(v, part).mean()
        (g,) = torch.autograd.grad(f, v)
        out.append(float(L.losses_fn(w + rho * g / g.norm(), part).mean() - f.detach()))
    return out


@pytest.mark.parametrize("m", [1, 4, 7])
def test_it_is_the_mean_rise_of_a_naive_loop(m) -> None:
    L, w = oracle(60)
    rises = torch.tensor(naive(L, w, m, 0.05), dtype=torch.float64)
    found = sharp.m_sharpness(L.losses_fn, w, L.batch, m=(m,), rho=0.05)[m]
    assert found.value == pytest.approx(float(rises.mean()), rel=1e-9)
    assert found.stderr == pytest.approx(float(rises.std()) / len(rises) ** 0.5, rel=1e-9)
    assert found.budget == len(rises) == 60 // m
    assert "lower bound" in found.method
    assert len(found.method) <= 64


def test_chunks_change_nothing(monkeypatch) -> None:
    L, w = oracle(60)
    whole = sharp.m_sharpness(L.losses_fn, w, L.batch, m=(2,), rho=0.1)[2].value
    monkeypatch.setattr(noise, "ELEMENTS", 12 * w.numel())
    assert sharp.m_sharpness(L.losses_fn, w, L.batch, m=(2,), rho=0.1)[2].value == pytest.approx(whole, rel=1e-10)


def test_all_sizes_are_cut_from_one_random_order() -> None:
    L, w = oracle(60)
    order = shuffled(L.batch, torch.Generator().manual_seed(3))
    found = sharp.m_sharpness(L.losses_fn, w, L.batch, m=(2, 6), rho=0.1, generator=torch.Generator().manual_seed(3))
    by_hand = sharp.m_sharpness(L.losses_fn, w, order, m=(2, 6), rho=0.1)
    assert {m: e.value for m, e in found.items()} == {m: e.value for m, e in by_hand.items()}


def test_to_first_order_it_is_rho_times_the_gradient_norm_so_smaller_m_is_sharper() -> None:
    L, w = oracle(60)
    norms = L.grads(w).norm(dim=1)
    tiny = sharp.m_sharpness(L.losses_fn, w, L.batch, m=(1, 30), rho=1e-6)
    assert tiny[1].value == pytest.approx(1e-6 * float(norms.mean()), rel=1e-4)
    assert tiny[30].value < tiny[1].value


def test_an_m_without_two_micro_batches_is_refused() -> None:
    L, w = oracle(60)
    with pytest.raises(ValueError, match="expected between 1 and n/2"):
        sharp.m_sharpness(L.losses_fn, w, L.batch, m=(31,), rho=0.1)


def test_the_squared_norm_of_the_gradient_is_unbiased() -> None:
    """Over 400 subsamples of 50 of 4000 samples the mean is within 4 standard errors of ||G||^2 of all."""
    torch.manual_seed(0)
    L, w = oracle(60)
    x, y = torch.randn(4000, 5).double(), torch.randint(0, 3, (4000,))
    grads = Oracle(L.losses_fn, (x, y)).grads(w)
    truth = float(grads.mean(0).square().sum())
    values, covered = [], 0
    for s in range(400):
        rows = torch.randint(0, 4000, (50,), generator=torch.Generator().manual_seed(s))
        found_here = noise.noise(L.losses_fn, w, (x[rows], y[rows]), L.layout.sizes()).grad_sq
        values.append(found_here.value)
        covered += abs(found_here.value - truth) < 1.96 * found_here.stderr
    found = torch.tensor(values)
    assert abs(float(found.mean()) - truth) < 4 * float(found.std()) / 20
    assert covered / 400 > 0.85
