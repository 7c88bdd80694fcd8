"""tr(V) against the dense covariance, its 1/m law and the coverage of its error."""

from __future__ import annotations

import math

import pytest
import torch

from sam_dash.maths import noise
from tests.helpers import oracle


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_trace_of_the_covariance_equals_the_dense_one() -> None:
    L, w = oracle(60)
    truth = torch.cov(L.grads(w).T).trace()
    estimate = noise.tr_V(L.losses_fn, w, L.batch)[1]
    assert estimate.value == pytest.approx(float(truth), rel=1e-12)
    assert estimate.budget == 60


def test_a_layers_noise_is_the_trace_of_its_block_of_the_dense_covariance() -> None:
    L, w = oracle(60)
    variances = torch.cov(L.grads(w).T).diagonal()
    found = noise.noise(L.losses_fn, w, L.batch, L.layout.sizes()).by_layer
    assert list(L.layout.sizes()) == ["0", "2"]
    assert found[0].value == pytest.approx(float(variances[:42].sum()), rel=1e-12)
    assert found[1].value == pytest.approx(float(variances[42:].sum()), rel=1e-12)


def test_the_error_covers_the_truth_at_its_rate_of_the_whole_and_of_each_layer() -> None:
    """The truth: tr(V) of 4000 samples. Of 300 subsamples of 200, at least 90 % of +-1.96 SE intervals cover it."""
    torch.manual_seed(0)
    L, w = oracle(60)
    x, y = torch.randn(4000, 5).double(), torch.randint(0, 3, (4000,))

    def measured(x, y):
        found = noise.noise(L.losses_fn, w, (x, y), L.layout.sizes(), m=(1,))
        return [found.by_m[1], *found.by_layer]

    draws = [torch.randint(0, 4000, (200,), generator=generator(s)) for s in range(300)]
    for truth, *found in zip(measured(x, y), *(measured(x[i], y[i]) for i in draws), strict=True):
        values = torch.tensor([e.value for e in found])
        assert sum(abs(e.value - truth.value) < 1.96 * e.stderr for e in found) / 300 > 0.9
        assert abs(float(values.mean()) - truth.value) < 4 * float(values.std()) / 300**0.5
        assert is_the_spread(found)


def test_chunks_change_nothing(monkeypatch) -> None:
    L, w = oracle(60)
    whole = noise.tr_V(L.losses_fn, w, L.batch, m=(1, 2, 4))
    monkeypatch.setattr(noise, "ELEMENTS", 9 * len(w))
    pieces = noise.tr_V(L.losses_fn, w, L.batch, m=(1, 2, 4))
    for m in (1, 2, 4):
        assert pieces[m].value == pytest.approx(whole[m].value, rel=1e-10)
        assert pieces[m].budget == whole[m].budget


def test_the_noise_of_micro_batch_means_is_one_over_m_of_it() -> None:
    """Over 300 random groupings the mean is within 4 standard errors of tr(V)/m."""
    L, w = oracle(48)
    truth = noise.tr_V(L.losses_fn, w, L.batch)[1].value
    found = [noise.tr_V(L.losses_fn, w, L.batch, m=(2, 4, 8), generator=generator(s)) for s in range(300)]
    for m in (2, 4, 8):
        values = torch.tensor([by_m[m].value for by_m in found])
        assert abs(float(values.mean()) - truth / m) < 4 * float(values.std()) / 300**0.5


def is_the_spread(found) -> bool:
    """Whether the mean of 300 errors is how much the values differ, which is known to 4 % (one standard error)."""
    stated = torch.tensor([e.stderr for e in found]).mean()
    return 0.85 < float(stated / torch.tensor([e.value for e in found]).std()) < 1.15


def test_the_error_at_m_is_that_of_independent_groups() -> None:
    """300 draws of 60 samples for each m: the stated error is the spread of the values."""
    torch.manual_seed(0)
    L, w = oracle(60)
    x, y = torch.randn(20000, 5).double(), torch.randint(0, 3, (20000,))
    found = [noise.tr_V(L.losses_fn, w, (x[i : i + 60], y[i : i + 60]), m=(1, 3)) for i in range(0, 18000, 60)]
    for m in (1, 3):
        assert is_the_spread([e[m] for e in found])


def test_two_groups_tell_no_error_and_three_do() -> None:
    L, w = oracle(60)
    found = noise.tr_V(L.losses_fn, w, L.batch, m=(20, 30))
    assert math.isnan(found[30].stderr)
    assert 0 < found[20].stderr < math.inf


@pytest.mark.parametrize("m", [0, 31, 60])
def test_an_m_without_two_groups_is_refused(m) -> None:
    L, w = oracle(60)
    with pytest.raises(ValueError, match="expected between 1 and n/2 = 30"):
        noise.tr_V(L.losses_fn, w, L.batch, m=(m,))
