"""Hill's estimator on distributions whose tail index is known; deviations against per-sample gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, signal, stats

from sam_dash.maths import noise, tail
from sam_dash.maths.estimate import Estimate
from tests.helpers import oracle


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
def test_it_finds_the_index_of_a_pareto_within_its_error(alpha) -> None:
    """Exact for a Pareto tail: over 200 samples of 1000, mean within 4 standard errors, coverage above 0.9."""
    found = [tail.hill(torch.from_numpy(stats.pareto.rvs(alpha, size=1000, random_state=seed))) for seed in range(200)]
    values = torch.tensor([e.value for e in found])
    bias = alpha / 99  # of 1/(a gamma variable) with k = 100
    assert abs(float(values.mean()) - alpha - bias) < 4 * float(values.std()) / 200**0.5
    assert sum(abs(e.value - alpha) < 1.96 * e.stderr for e in found) / 200 > 0.9
    assert found[0].budget == 100


def test_it_is_hills_formula_of_the_largest_k_over_the_next() -> None:
    """1/alpha = (log(8/2) + log(4/2)) / 2 for k = 2, whatever the order and the signs."""
    found = tail.hill(torch.tensor([1.0, -8.0, 0.5, 2.0, 4.0]), 0.4)
    assert found.value == pytest.approx(2 / (3 * np.log(2)), rel=1e-12)
    assert found.stderr == pytest.approx(found.value / 2**0.5, rel=1e-12)
    assert found.budget == 2


def test_alpha_stable_and_student_t_draws_are_told_by_their_index() -> None:
    stable = torch.from_numpy(stats.levy_stable.rvs(1.2, 0.0, size=20000, random_state=0))
    assert tail.hill(stable, 0.01).value == pytest.approx(1.2, rel=0.15)
    student = torch.from_numpy(stats.t.rvs(3, size=100000, random_state=0))
    assert tail.hill(student, 0.002).value == pytest.approx(3, rel=0.2)


def test_a_gaussian_has_a_finite_index_too_which_is_why_it_proves_nothing() -> None:
    value = tail.hill(torch.randn(1000, generator=torch.Generator().manual_seed(0))).value
    assert 2 < value < 8


@pytest.mark.parametrize("values", [torch.zeros(100), torch.ones(100), torch.arange(10.0)])
def test_no_tail_is_refused(values) -> None:
    with pytest.raises(ValueError, match=r"expected at least 2|no tail"):
        tail.hill(values)


def test_deviations_are_those_of_per_sample_gradients() -> None:
    L, w = oracle(60)
    grads = L.grads(w)
    truth = (grads - grads.mean(0)).norm(dim=1)
    found = noise.noise(L.losses_fn, w, L.batch, L.layout.sizes()).deviations
    torch.testing.assert_close(found, truth.double(), rtol=1e-8, atol=1e-10)


def regression(lr: float, batch: int, steps: int, runs: int = 24) -> np.ndarray:
    """|w_t| of SGD on y = 1000 x + noise, all standard normal, fresh samples at every step.  -> (runs, steps)"""
    rng = np.random.default_rng(0)
    w, out = np.full(runs, 1000.0), np.empty((steps, runs))
    for t in range(steps):
        x, noise = rng.standard_normal((2, runs, batch))
        w = w - lr * (x * (x * (w[:, None] - 1000) - noise)).mean(1)
        out[t] = np.abs(w)
    return out.T


def kesten(lr: float, batch: int) -> float:
    """Its tail index: the alpha at which E |1 - lr mean(x^2)|^alpha = 1 (Kesten, Acta Mathematica 1973)."""
    grid = (np.arange(200000) + 0.5) / 200000
    factor = np.log(np.abs(1 - lr * stats.chi2.ppf(grid, batch) / batch))
    return float(optimize.brentq(lambda a: np.exp(a * factor).mean() - 1, 0.2, 30))


def test_the_known_index_of_least_squares_has_a_closed_form_at_two() -> None:
    """(1 - lr s)^2 has mean 1 at lr = 2 / E s^2 = 2 B / (B + 2)."""
    for batch in (1, 4, 16):
        assert kesten(2 * batch / (batch + 2), batch) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(("lr", "batch"), [(2 / 3, 1), (4 / 3, 4), (1.1, 4)])
def test_fluctuations_of_least_squares_have_the_index_that_is_known(lr, batch) -> None:
    found = [tail.fluctuation(torch.from_numpy(x)) for x in regression(lr, batch, 10000)]
    mean = np.mean([e.value for e in found])
    assert mean == pytest.approx(kesten(lr, batch), rel=0.15), "at 3 it is 13 % low, as the power law sets in late"
    spread = np.std([e.value for e in found], ddof=1)
    assert 0.6 < np.mean([e.stderr for e in found]) / spread < 1.7, "the jackknife sees how much runs differ"
    assert np.mean([e.converged for e in found]) > 0.9


def test_the_index_falls_with_the_learning_rate_and_rises_with_the_batch_where_theory_says_so() -> None:
    def index(lr: float, batch: int) -> float:
        return float(np.mean([tail.fluctuation(torch.from_numpy(x)).value for x in regression(lr, batch, 6000, 10)]))

    by_rate = [index(lr, 4) for lr in (0.5, 0.8, 1.1, 1.4)]
    by_batch = [index(0.8, B) for B in (1, 4, 16)]
    assert (np.diff(by_rate) < 0).all()
    assert (np.diff(by_batch) > 0).all()


def gaussian(memory: float, runs: int = 24) -> list[Estimate]:
    """Indices of Gaussian fluctuations around 5, x_t - 5 = memory (x_{t-1} - 5) + noise."""
    noise = np.random.default_rng(0).standard_normal((runs, 10000))
    x = signal.lfilter([1], [1, -memory], noise, axis=1)
    return [tail.fluctuation(torch.from_numpy(5 + 0.01 * row)) for row in x]


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_gaussian_fluctuations_have_the_index_of_their_quantile(memory) -> None:
    """1/alpha = E[log(|z|/u) | |z| > u], P(|z| > u) = 0.05: 6.0, and no true index above it can be seen."""
    u = stats.norm.isf(tail.TOP / 2)
    z = stats.norm.isf((np.arange(100000) + 0.5) / 100000 * tail.TOP / 2)
    found = gaussian(memory)
    assert np.mean([e.value for e in found]) == pytest.approx(1 / np.log(z / u).mean(), rel=0.07)
    assert np.mean([e.converged for e in found]) > 0.9


def test_dependent_steps_widen_the_error_beyond_that_of_independent_ones() -> None:
    found = gaussian(0.98)
    spread = np.std([e.value for e in found], ddof=1)
    assert 0.6 < np.mean([e.stderr for e in found]) / spread < 1.7
    naive = np.mean([e.value / e.budget**0.5 for e in found])
    assert spread > 2 * naive


def test_a_norm_that_drifts_is_said_to_and_too_few_steps_are_refused() -> None:
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert tail.fluctuation(noise).converged
    assert not tail.fluctuation(noise + torch.linspace(0, 10, 4000)).converged
    with pytest.raises(ValueError, match="expected at least 1600"):
        tail.fluctuation(noise[:1000])
