"""Hill's estimator on distributions whose tail index is known; deviations against per-sample gradients."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from sam_dash.maths import tail
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
    torch.testing.assert_close(tail.deviations(L.losses_fn, w, L.batch), truth.double(), rtol=1e-8, atol=1e-10)
