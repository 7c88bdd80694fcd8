"""E[h] at fixed weights against the predicted gradient: order 2 in rho, and 1 for any wrong theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_dash.maths.theory import prediction, problems
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.sde import Rule
from tests.maths.test_weak_error import MADE, house

RHOS = 0.05 / 2.0 ** np.arange(5)
PROBLEM = problems.logistic((1.0, 0.5, 0.2), 12, 0.5)
X = np.array([0.7, -0.4, 1.1])


def order(draw: Draw, theory: Draw | None = None, *, tr_v: bool = True, of_all: bool = False) -> float:
    """The fitted order in rho of ||E[h] - predicted||."""
    away = []
    for rho in RHOS:
        rule = Rule(rho, of_all)
        given = prediction.predicted(PROBLEM, X, rule, theory or draw, tr_v)
        away.append(np.linalg.norm(prediction.mean_h(PROBLEM, X, rule, draw) - given))
    return float(np.polyfit(np.log(RHOS), np.log(away), 1)[0])


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_predicted_gradient_is_right_to_second_order_in_rho(m, replace) -> None:
    assert order(Draw(12, 6, m, replace)) == pytest.approx(2, abs=0.1)


def test_that_of_n_usam_is_as_well() -> None:
    assert order(Draw(12, 6, 2), of_all=True) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_wrong_theory_is_right_to_first_order_only(m) -> None:
    """Without tr V, with another m, with the factor of the other way to draw."""
    draw = Draw(12, 6, m)
    assert order(draw, tr_v=False) == pytest.approx(1, abs=0.1)
    assert order(draw, Draw(12, 6, 6 // m if m != 1 else 2)) == pytest.approx(1, abs=0.1)
    if m > 1:
        assert order(draw, Draw(12, 6, m, replace=False)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.parametrize(("problem", "losses"), MADE, ids=lambda p: getattr(p, "title", ""))
def test_the_mean_of_h_is_that_of_the_steps_that_train(problem, losses, of_all, replace) -> None:
    x, rule, draw = np.array([0.4, -1.2]), Rule(0.6, of_all), Draw(5, 4, 2, replace)
    h = house(problem, losses, x, rule, draw)
    np.testing.assert_allclose(prediction.mean_h(problem, x, rule, draw), h.mean(0), atol=1e-13)


@pytest.mark.parametrize(("problem", "losses"), MADE, ids=lambda p: getattr(p, "title", ""))
def test_the_predicted_gradient_is_that_of_the_regularised_loss(problem, losses) -> None:
    """By autograd of f + rho/2 ||grad f||^2 + rho/(2m) k tr V."""
    a, b, x, rho = torch.tensor(problem.a), torch.tensor(problem.b), np.array([0.4, -1.2]), 0.6

    def regularised(w, draw):
        g = torch.func.jacrev(losses)(w, (a, b))
        mean = g.mean(0)
        noise = (g - mean).square().sum(1).mean()
        return losses(w, (a, b)).mean() + rho / 2 * mean @ mean + rho / (2 * draw.m) * draw.factor * noise

    for draw in (Draw(5, 4, 4), Draw(5, 4, 2, replace=False), Draw(5, 4, 1)):
        known = torch.func.grad(regularised)(torch.tensor(x), draw).numpy()
        np.testing.assert_allclose(prediction.predicted(problem, x, Rule(rho), draw), known, atol=1e-12)


@pytest.mark.parametrize("replace", [True, False])
def test_every_micro_batch_is_counted_once_with_its_probability(replace) -> None:
    draw = Draw(7, 6, 3, replace)
    index, p = prediction.micro_batches(draw)
    assert len(index) == prediction.count(draw) == (84 if replace else 35)
    assert p.sum() == pytest.approx(1)
    assert len({tuple(row) for row in index}) == len(index)
    if replace:
        ways = {tuple(row): q * 7**3 for row, q in zip(index.tolist(), p, strict=True)}
        assert (ways[0, 0, 0], ways[0, 0, 1], ways[0, 1, 2]) == pytest.approx((1, 3, 6))


def test_too_many_micro_batches_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"expected at most 5000; choose a smaller m or n"):
        prediction.micro_batches(Draw(40, 20, 20))


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("of_all", [False, True])
def test_distances_are_those_of_the_enumerated_mean(of_all, replace) -> None:
    rule, draw = Rule(0.4, of_all), Draw(12, 6, 2, replace)
    mean, found = prediction.mean_h(PROBLEM, X, rule, draw), prediction.prediction(PROBLEM, X, rule, draw)
    plain = prediction.predicted(PROBLEM, X, Rule(0.0), draw)
    np.testing.assert_allclose(found.full, mean - prediction.predicted(PROBLEM, X, rule, draw), atol=1e-14)
    np.testing.assert_allclose(
        found.without, mean - prediction.predicted(PROBLEM, X, rule, draw, tr_v=False), atol=1e-14
    )
    np.testing.assert_allclose(found.plain, mean - plain, atol=1e-14)
    assert not found.stderr.any()


def test_where_there_are_too_many_micro_batches_the_distance_has_its_error(monkeypatch) -> None:
    draw, rule = Draw(12, 6, 3), Rule(0.4)
    exact = prediction.prediction(PROBLEM, X, rule, draw)
    monkeypatch.setattr(prediction, "MOST", 10)
    z = []
    for seed in range(20):
        found = prediction.prediction(PROBLEM, X, rule, draw, seed)
        z.append((found.full - exact.full) / found.stderr)
        assert found.budget == prediction.SAMPLED
    assert 0.6 < np.std(z) < 1.5
    assert np.abs(z).max() < 4.5
    small = prediction.prediction(PROBLEM, X, Rule(0.04), draw)
    assert np.linalg.norm(small.stderr) < 0.03 * np.linalg.norm(found.stderr), "of the second order in rho"
