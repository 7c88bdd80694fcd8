"""The SDE of m-USAM on least squares: exact moments against enumeration and textbook; orders of its error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.func import vmap

from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.maths.theory import moments, problems, sde, simulate, weak
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.sde import Rule
from sam_dash.maths.theory.simulate import Simulation
from sam_dash.variants import get

RULES = {"n-USAM": (True, 8, 8), "USAM": (False, 8, 8), "m-USAM": (False, 8, 2)}  # of_all, B, m
ETAS = 0.1 * 10.0 ** -np.arange(0, 3.01, 0.5)
START = np.array([1.0, -1.0, 0.5])


def least_squares(w, batch):
    a, b = batch
    return (a @ w - b) ** 2 / 2


def logistic(w, batch):
    a, b = batch
    return torch.nn.functional.softplus(-b * (a @ w))


def two_weights(w, batch):
    a, b = batch
    return (w[1] * torch.tanh(w[0] * a[:, 0]) - b) ** 2 / 2


MADE = [
    (problems.least_squares((1.0, 0.3), 5, 0.7), least_squares),
    (problems.logistic((1.0, 0.3), 5, 0.7), logistic),
    (problems.two_weights(5, 0.7), two_weights),
]


def every_draw(draw: Draw) -> np.ndarray:
    """Every ordered batch, (K, B/m, m), all as likely."""
    ways = itertools.product(range(draw.n), repeat=draw.batch)
    ways = ways if draw.replace else itertools.permutations(range(draw.n), draw.batch)
    return np.array(list(ways)).reshape(-1, draw.parts, draw.m)


def house(problem, losses, x, rule, draw) -> np.ndarray:
    """h of every draw by the variants that train networks.  (K, d)."""
    a, b, w = torch.tensor(problem.a), torch.tensor(problem.b), torch.tensor(x)
    index = torch.tensor(every_draw(draw)).flatten(1)
    full = Oracle(losses, (a, b))
    step = get("nusam").step if rule.of_all else per_micro_batch(get("usam").step, draw.m)

    def one(i):
        return step(Oracle(losses, (a[i], b[i]), full=full), w, (), rho=rule.rho).h

    return vmap(one)(index).numpy()


@pytest.mark.parametrize(("problem", "losses"), MADE, ids=lambda p: getattr(p, "title", ""))
def test_gradients_and_hessians_that_are_written_out_are_those_of_autograd(problem, losses) -> None:
    x = np.array([[0.4, -1.2], [0.0, 2.0], [-0.7, 0.3]])
    a, b = torch.tensor(problem.a), torch.tensor(problem.b)
    for row, loss, g, H in zip(x, problem.losses(x), problem.all_grads(x), problem.hessians(x), strict=True):
        w = torch.tensor(row)
        np.testing.assert_allclose(loss, losses(w, (a, b)), rtol=1e-12)
        np.testing.assert_allclose(g, torch.func.jacrev(losses)(w, (a, b)), atol=1e-12)
        np.testing.assert_allclose(H, torch.func.hessian(losses)(w, (a, b)), atol=1e-12)
    trace = np.trace(np.cov(problem.all_grads(x[0]).T, bias=True))
    assert problem.noise(x)[0] == pytest.approx(trace, rel=1e-12)
    assert problem.loss(x) == pytest.approx(problem.losses(x).mean(1))


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(("batch", "m"), [(4, 4), (4, 2), (4, 1), (3, 3)])
@pytest.mark.parametrize("of_all", [False, True])
def test_drift_and_diffusion_are_mean_and_covariance_of_the_steps_that_train(replace, batch, m, of_all) -> None:
    """On least squares exactly, over every batch that can be drawn."""
    problem, losses = MADE[0]
    x, rule, draw = np.array([0.4, -1.2]), Rule(0.6, of_all), Draw(5, batch, m, replace)
    h = house(problem, losses, x, rule, draw)
    g, H = problem.all_grads(x), problem.hessians(x)
    np.testing.assert_allclose(sde.drift(g, H, rule, draw), h.mean(0), atol=1e-13)
    np.testing.assert_allclose(sde.covariance(g, H, rule, draw), np.cov(h.T, bias=True), atol=1e-13)
    mine = Simulation(problem, rule, draw, 0.1, x)
    np.testing.assert_allclose(mine.h(np.repeat(x[None], len(h), 0), every_draw(draw)), h, atol=1e-13)


@pytest.mark.parametrize("key", ["nsam", "sam"])
@pytest.mark.parametrize(("problem", "losses"), MADE, ids=lambda p: getattr(p, "title", ""))
def test_the_steps_of_sam_forms_are_those_that_train(key, problem, losses) -> None:
    x, draw = np.array([0.4, -1.2]), Draw(5, 4, 2)
    mine = Simulation(problem, Rule(0.6, key == "nsam"), draw, 0.1, x, normalised=True)
    index = every_draw(draw)[::40]
    h = mine.h(np.repeat(x[None], len(index), 0), index)
    a, b = torch.tensor(problem.a), torch.tensor(problem.b)
    step = get(key).step if key == "nsam" else per_micro_batch(get(key).step, 2)
    for row, i in zip(h, torch.tensor(index).flatten(1), strict=True):
        L = Oracle(losses, (a[i], b[i]), full=Oracle(losses, (a, b)))
        np.testing.assert_allclose(row, step(L, torch.tensor(x), (), rho=0.6).h, atol=1e-12)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("m", [4, 2, 1])
def test_the_diffusion_beyond_least_squares_is_that_of_h_to_first_order(replace, m) -> None:
    """The covariance of mean_I (g_I + rho H_I g_I), over every batch; of which `first order` is the tangent in rho."""
    problem, _ = MADE[1]
    x, draw = np.array([0.4, -1.2]), Draw(5, 4, m, replace)
    g, H = problem.all_grads(x), problem.hessians(x)
    index = every_draw(draw)
    g_I, H_I = g[index].mean(2), H[index].mean(2)
    bent = (H_I @ g_I[..., None])[..., 0]

    def enumerated(rho):
        return np.cov((g_I + rho * bent).mean(1).T, bias=True)

    np.testing.assert_allclose(sde.covariance(g, H, Rule(0.6), draw), enumerated(0.6), atol=1e-13)
    np.testing.assert_allclose(sde.covariance(g, H, Rule(0.6), draw, "rho = 0"), enumerated(0), atol=1e-13)
    tangent = enumerated(0) + 0.6 * (enumerated(1e-4) - enumerated(-1e-4)) / 2e-4
    np.testing.assert_allclose(sde.covariance(g, H, Rule(0.6), draw, "first order"), tangent, atol=1e-9)


def test_with_replacement_the_diffusion_is_m_over_B_of_that_of_one_micro_batch_and_without_it_is_not() -> None:
    problem, x = MADE[1][0], np.array([0.4, -1.2])
    g, H = problem.all_grads(x), problem.hessians(x)
    for replace in (True, False):
        whole = sde.covariance(g, H, Rule(0.6), Draw(5, 4, 2, replace))
        one = sde.covariance(g, H, Rule(0.6), Draw(5, 2, 2, replace))
        assert np.allclose(whole, one / 2, rtol=1e-12) == replace
    plain = [sde.covariance(g, H, Rule(0.0), Draw(5, 4, m)) for m in (1, 2, 4)]
    assert np.allclose(plain[0], plain[1:], rtol=1e-12), "at rho = 0 it does not depend on m"


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("of_all", [False, True])
def test_moments_of_two_steps_are_those_over_every_pair_of_batches(replace, of_all) -> None:
    problem = MADE[0][0]
    x, rule, draw = np.array([0.4, -1.2]), Rule(0.6, of_all), Draw(5, 2, 1, replace)
    mine, index = Simulation(problem, rule, draw, 0.3, x), every_draw(draw)
    found = moments.Exact(problem, rule, draw).iterates(moments.at(x), 0.3, 2)
    one = x - 0.3 * mine.h(np.repeat(x[None], len(index), 0), index)
    first = np.repeat(one, len(index), 0)
    two = first - 0.3 * mine.h(first, np.tile(index, (len(one), 1, 1)))
    for k, paths in ((1, one), (2, two)):
        np.testing.assert_allclose(found.mean[k], paths.mean(0), atol=1e-13)
        np.testing.assert_allclose(found.cov[k], np.cov(paths.T, bias=True), atol=1e-13)
        exact = moments.Exact(problem, rule, draw)
        assert found.quadratic(exact.loss_form)[k] == pytest.approx(problem.loss(paths).mean(), rel=1e-12)
        assert found.quadratic(exact.noise_form)[k] == pytest.approx(problem.noise(paths).mean(), rel=1e-12)
    assert list(found.t) == pytest.approx([0, 0.3, 0.6])


def test_with_additive_noise_the_sde_is_the_textbooks_ornstein_uhlenbeck_process() -> None:
    """a_i = +-1: every Hessian is 1, so that dX = -A X dt + sqrt(eta s) dW with A = 1 + rho and s constant."""
    rng = np.random.default_rng(0)
    a = rng.choice([-1.0, 1.0], size=(6, 1))
    problem = problems.LeastSquares(a, rng.normal(size=6))
    draw, rho, eta = Draw(6, 3, 3), 0.5, 0.2
    centre, g = float((a[:, 0] * problem.b).mean()), a[:, 0] * problem.b
    found = moments.Exact(problem, Rule(rho), draw).sde(moments.at(np.array([2.0])), eta, 30)
    A, s = 1 + rho, (1 + rho) ** 2 * g.var() / 3
    np.testing.assert_allclose(found.mean[:, 0], centre + (2 - centre) * np.exp(-A * found.t), rtol=1e-12)
    np.testing.assert_allclose(
        found.cov[:, 0, 0], eta * s / (2 * A) * (1 - np.exp(-2 * A * found.t)), rtol=1e-10, atol=1e-14
    )


def orders(rule, draw, diffusion="full", etas=ETAS) -> np.ndarray:
    """The fitted orders in eta: of the mean, the second moments, the covariance."""
    problem = problems.least_squares((1.0, 0.5, 0.1), 32, 0.5)
    found = np.array([weak.error(problem, rule, draw, eta, START, 2.0, diffusion) for eta in etas])
    return np.polyfit(np.log(etas), np.log(found), 1)[0]


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", RULES)
def test_the_weak_error_has_order_one_in_eta_over_three_decades(name, rho) -> None:
    of_all, batch, m = RULES[name]
    assert orders(Rule(rho, of_all), Draw(32, batch, m)) == pytest.approx(1, abs=0.05)


def test_without_replacement_the_weak_error_has_order_one_as_well_if_the_theory_knows_of_it() -> None:
    assert orders(Rule(0.5), Draw(32, 8, 2, replace=False)) == pytest.approx(1, abs=0.05)


def floors(diffusion, rhos) -> np.ndarray:
    """What such a diffusion leaves of the covariance's relative error as eta goes to 0, by rho."""
    problem, draw, S = problems.least_squares((1.0, 0.5, 0.1), 32, 0.5), Draw(32, 8, 2), moments.at(START)
    of = [moments.Exact(problem, Rule(rho), draw) for rho in rhos]
    return np.array([weak.distance(e.sde(S, 1e-3, 500), e.sde(S, 1e-3, 500, diffusion)).cov for e in of])


def test_a_diffusion_at_rho_0_leaves_an_error_of_order_rho_and_one_to_first_order_of_rho_squared() -> None:
    """Relative to the covariance, and whatever the step length; the full diffusion leaves none."""
    assert orders(Rule(0.5), Draw(32, 8, 2), "rho = 0")[2] < 0.1
    rhos = 0.004 / 2.0 ** np.arange(4)
    for diffusion, order in (("rho = 0", 1), ("first order", 2)):
        assert np.polyfit(np.log(rhos), np.log(floors(diffusion, rhos)), 1)[0] == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("wrong", ["m", "replacement", "no tr V"])
def test_the_wrong_theory_does_not_converge(wrong) -> None:
    problem = problems.least_squares((1.0, 0.5, 0.1), 32, 0.5)
    rule, draw, S = Rule(0.5), Draw(32, 8, 2, replace=False), moments.at(START)
    theory = {"m": (rule, Draw(32, 8, 4, replace=False)), "replacement": (rule, Draw(32, 8, 2))}
    other = moments.Exact(problem, *theory.get(wrong, (Rule(0.5, of_all=True), draw)))
    right = moments.Exact(problem, rule, draw)
    at = {eta: weak.distance(right.iterates(S, eta, round(2 / eta)), other.sde(S, eta, round(2 / eta))) for eta in
          (0.01, 0.001)}  # fmt: skip
    assert at[0.001].mean > 0.5 * at[0.01].mean
    good = [weak.error(problem, rule, draw, eta, START, 2.0).mean for eta in at]
    assert good[1] == pytest.approx(good[0] / 10, rel=0.1)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_an_ensemble_has_the_exact_moments_within_its_intervals(name, replace) -> None:
    of_all, batch, m = RULES[name]
    problem, rule, draw = problems.least_squares((1.0, 0.3), 12, 0.7), Rule(0.3, of_all), Draw(12, batch, m, replace)
    x, exact = START[:2], moments.Exact(problem, rule, draw)
    sim = Simulation(problem, rule, draw, 0.2, x, members=1000)
    for paths, known in (
        (sim.iterates(8), exact.iterates(moments.at(x), 0.2, 8)),
        (sim.sde(8, finer=10), exact.sde(moments.at(x), 0.2, 8)),
    ):
        for values, truth in (
            (paths[1:], known.mean[1:]),
            ((paths[1:] ** 2).sum(-1), np.trace(known.second[1:], axis1=1, axis2=2)),
            (problem.loss(paths[1:]), known.quadratic(exact.loss_form)[1:]),
        ):
            z = (values.mean(1) - truth) / (values.std(1) / 1000**0.5)
            assert np.abs(z).max() < 4.5
            assert np.abs(z).max() > 0.05, "the ensemble is not the formula itself"


def test_what_grows_is_said_and_a_path_that_diverges_stays_finite() -> None:
    problem, draw = problems.least_squares((1.0, 0.3), 12, 0.7), Draw(12, 4, 4)
    exact = moments.Exact(problem, Rule(0.1), draw)
    assert exact.growth(0.1) < 1 < exact.growth(2.5)
    long = exact.iterates(moments.at(START[:2]), 0.1, 400).cov
    assert np.allclose(long[-1], long[-2], rtol=1e-6)
    ratio = exact.iterates(moments.at(START[:2]), 2.5, 60).cov
    assert np.trace(ratio[-1]) / np.trace(ratio[-2]) == pytest.approx(exact.growth(2.5), rel=1e-6)
    far = Simulation(problem, Rule(0.1), draw, 2.5, START[:2], members=4).iterates(200)
    assert np.isfinite(far).all()
    assert np.abs(far).max() < simulate.FAR


def test_a_batch_that_cannot_be_drawn_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"m = 3 does not divide the batch size B = 8; choose one of 1, 2, 4, 8"):
        Draw(12, 8, 3)
    with pytest.raises(ValueError, match=r"B = 8: expected at most n = 6 without replacement"):
        Draw(6, 8, 8, replace=False)
    assert Draw(6, 8, 8).parts == 1
    assert Draw(6, 6, 6, replace=False).factor == 0


@pytest.mark.parametrize("of_all", [False, True])
def test_what_euler_and_maruyama_take_on_least_squares_is_drift_and_diffusion_at_every_path(of_all) -> None:
    problem, draw, rule = problems.least_squares((1.0, 0.3), 12, 0.7), Draw(12, 8, 2), Rule(0.3, of_all)
    x = np.random.default_rng(0).normal(size=(5, 2))
    b, S = Simulation(problem, rule, draw, 0.1, START[:2])._exact(x)
    g, H = problem.all_grads(x), problem.hessians(x)
    np.testing.assert_allclose(b, sde.drift(g, H, rule, draw), atol=1e-13)
    np.testing.assert_allclose(S, sde.covariance(g, H, rule, draw), atol=1e-13)


def test_the_sde_of_a_sam_form_has_the_mean_and_the_covariance_of_its_steps_to_first_order() -> None:
    problem, draw, x = problems.least_squares((1.0, 0.3), 5, 0.7), Draw(5, 4, 2), START[:2]
    sim = Simulation(problem, Rule(0.3), draw, 0.1, x, normalised=True)
    h = sim.h(np.repeat(x[None], 625, 0), every_draw(draw))  # a step on least squares is affine in the perturbation
    b, S = sim._sampled(np.repeat(x[None], 2000, 0), np.random.default_rng(0))
    np.testing.assert_allclose(b.mean(0), h.mean(0), atol=4 * h.std() / (2000 * simulate.SAMPLED) ** 0.5)
    np.testing.assert_allclose(S.mean(0), np.cov(h.T, bias=True), rtol=0.05, atol=0.003)
