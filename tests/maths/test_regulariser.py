"""What a step adds against its prediction: torch's estimates against enumeration by the theory's own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_dash.maths import regulariser
from sam_dash.maths.flat import flatten, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.maths.theory import prediction, problems
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.sde import Rule
from tests.helpers import mlp
from tests.maths.test_weak_error import logistic

PROBLEM = problems.logistic((1.0, 0.5, 0.2), 12, 0.5)
X = np.array([0.7, -0.4, 1.1])


def measured(seed: int, m=(1, 2, 3), rho=(0.1, 0.5), problem=PROBLEM, losses=logistic, x=X):
    batch = torch.tensor(problem.a), torch.tensor(problem.b)
    g = torch.Generator().manual_seed(seed)
    return regulariser.agreement(losses, torch.tensor(x), batch, m=m, rho=rho, generator=g)


def known(m: int, rho: float) -> list[float]:
    """The four numbers, from every micro-batch."""
    found = prediction.prediction(PROBLEM, X, Rule(rho), Draw(12, 12, m, replace=False))
    D = found.plain
    P = D - found.full
    cos = D @ P / np.linalg.norm(D) / np.linalg.norm(P)
    size = np.linalg.norm(D)
    return [cos, size / np.linalg.norm(P), np.linalg.norm(found.full) / size, np.linalg.norm(found.without) / size]


def test_estimates_are_those_of_all_micro_batches_within_their_errors(monkeypatch) -> None:
    monkeypatch.setattr(regulariser, "PASSES", 40)
    for m in (1, 3):
        z = []
        for seed in range(8):
            found = measured(seed, (m,), (0.5,))[m].by_rho[0.5]
            z.append([(e.value - truth) / e.stderr for e, truth in zip(found, known(m, 0.5), strict=True)])
        assert np.abs(np.mean(z, 0)).max() < 2, f"m = {m}: a bias of the mean of 8"
        assert 0.4 < np.std(z) < 2


def test_the_error_with_tr_V_falls_with_rho_and_without_it_does_not() -> None:
    found = measured(0, (1,), (0.01, 0.1))[1].by_rho
    assert found[0.1].error.value == pytest.approx(10 * found[0.01].error.value, rel=0.2)
    assert found[0.01].error.value < 0.02
    assert found[0.1].without.value == pytest.approx(found[0.01].without.value, rel=0.2)
    assert found[0.01].without.value > 0.1
    assert found[0.01].cosine.value == pytest.approx(1, abs=1e-3)
    assert found[0.01].length.value == pytest.approx(1, abs=0.02)


def test_the_mean_norm_is_that_over_all_micro_batches_and_falls_with_m() -> None:
    g = PROBLEM.all_grads(X)
    found = measured(0)
    values = []
    for m in (1, 2, 3):
        index, p = prediction.micro_batches(Draw(12, 12, m, replace=False))
        truth = p @ np.linalg.norm(g[index].mean(1), axis=1)
        e = found[m].norm
        assert abs(e.value - truth) < 4.5 * e.stderr
        values.append(truth)
    assert values == sorted(values, reverse=True)


def test_of_least_squares_the_prediction_is_exact() -> None:
    problem = problems.least_squares((1.0, 0.5, 0.2), 12, 0.5)

    def losses(w, batch):
        a, b = batch
        return (a @ w - b) ** 2 / 2

    four = measured(0, (2,), (0.5,), problem, losses)[2].by_rho[0.5]
    assert [e.value for e in four][:3] == pytest.approx([1, 1, 0], abs=1e-7)
    assert four.without.value > 0.1


def test_the_error_of_few_noisy_blocks_is_without_the_bias_of_their_noise() -> None:
    """Means of 12 blocks of a remainder of length 5, each coordinate with noise N(0, 1): ||mean||^2 would be 58."""
    g = torch.Generator().manual_seed(0)
    mean, P = torch.zeros(400).double(), torch.zeros(400).double()
    mean[0], P[1] = 5.0, 10.0
    found = [regulariser._agreement(mean + torch.randn(12, 400, generator=g).double(), P, P / 2, 12) for _ in range(30)]
    errors = torch.tensor([a.error.value for a in found])
    assert float(errors.mean()) == pytest.approx(5 / 125**0.5, rel=0.05)
    stated = torch.tensor([a.error.stderr for a in found]).mean()
    assert float(stated) == pytest.approx(float(errors.std()), rel=0.6)


def test_kinks_add_at_first_order_what_the_hessian_does_not_know() -> None:
    """At a tenth of the radius the relative error of a smooth network falls, that of one with ReLU hardly does."""
    errors = {}
    for activation in (torch.nn.ReLU, torch.nn.GELU):
        torch.manual_seed(1)
        net = mlp(8, 16, 3, activation=activation)
        batch = 3 * torch.randn(300, 8).double(), torch.randint(0, 3, (300,))
        w, g = flatten(net), torch.Generator().manual_seed(0)
        f = losses_fn(net, CROSS_ENTROPY)
        found = regulariser.agreement(f, w, batch, m=(1,), rho=(0.003, 0.03), generator=g)[1].by_rho
        errors[activation] = [found[rho].error.value for rho in (0.03, 0.003)]
    assert errors[torch.nn.GELU][1] < 0.3 * errors[torch.nn.GELU][0]
    assert errors[torch.nn.ReLU][1] > 0.6 * errors[torch.nn.ReLU][0]
    assert errors[torch.nn.ReLU][1] > 4 * errors[torch.nn.GELU][1]


def test_an_m_of_more_than_half_of_the_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"m = 7: expected between 1 and n/2 = 6"):
        measured(0, (7,))
