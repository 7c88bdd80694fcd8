"""Saddles of two weights: where they attract, against closed forms."""

from __future__ import annotations

import pytest
import torch

from sam_dash.problems.landscapes import LANDSCAPES, contour
from sam_dash.problems.trajectories import critical_radius, factors, spectrum, trajectory
from sam_dash.variants import REGISTRY

SADDLE, BEALE = LANDSCAPES["saddle"], LANDSCAPES["beale"]


@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_saddle_is_one(name) -> None:
    land = LANDSCAPES[name]
    w = torch.tensor(land.saddle, dtype=torch.float64)
    assert float(torch.func.grad(land.loss)(w).norm()) < 1e-12
    low, high = torch.linalg.eigvalsh(torch.func.hessian(land.loss)(w)).tolist()
    assert low < 0 < high


def test_the_critical_radius_of_x2_minus_y2_is_one_half_and_beales_minimum_is_zero() -> None:
    assert critical_radius(SADDLE) == pytest.approx(0.5)
    assert float(BEALE.loss(torch.tensor([3.0, 0.5]))) == 0


@pytest.mark.parametrize(("share", "caught"), [(0.8, False), (1.2, True)])
def test_usam_is_caught_by_a_saddle_above_the_critical_radius_only(share, caught) -> None:
    path = trajectory(SADDLE, "usam", steps=400, lr=0.05, start=(0.0, 0.01), rho=share * critical_radius(SADDLE))
    factor = 1 + 0.1 * (1 - 2 * share * 0.5)  # 1 - lr lambda (1 + rho lambda), lambda = -2
    torch.testing.assert_close(path[:50, 0, 1], 0.01 * factor ** torch.arange(50, dtype=torch.float64))
    assert (abs(float(path[-1, 0, 1])) < 1e-4) == caught


@pytest.mark.parametrize(("share", "caught"), [(0.8, False), (1.25, True)])
def test_so_it_is_on_beales_function_near_its_saddle(share, caught) -> None:
    H = torch.func.hessian(BEALE.loss)(torch.tensor(BEALE.saddle, dtype=torch.float64))
    away = 1e-4 * torch.linalg.eigh(H)[1][:, 0]
    start = tuple((torch.tensor(BEALE.saddle, dtype=torch.float64) + away).tolist())
    rho = share * critical_radius(BEALE)
    path = trajectory(BEALE, "usam", steps=300, lr=0.005, start=start, rho=rho)
    distance = (path[:, 0] - torch.tensor(BEALE.saddle)).norm(dim=1)
    assert (float(distance[-1]) < float(distance[0])) == caught


@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_sam_is_caught_from_within_every_radius_and_then_stays_within_two_lr_rho(rho) -> None:
    def y(start, steps):
        return trajectory(SADDLE, "sam", steps=steps, lr=0.01, start=(0.0, start), rho=rho)[:, 0, 1]

    assert float(y(0.9 * rho, 600)[-300:].abs().max()) <= 2 * 0.01 * rho
    assert float(y(1.1 * rho, 300)[-1]) > 1.1 * rho
    cycle = 0.01 * rho / 1.01  # y -> (1 + 2 lr) y - 2 lr rho sign(y) = -y; unstable, as (1 + 2 lr)^2 > 1
    assert y(cycle, 2).tolist() == pytest.approx([cycle, -cycle, cycle])


def test_sgd_leaves_the_saddle() -> None:
    path = trajectory(SADDLE, "sgd", steps=200, lr=0.05, start=(0.0, 1e-6))
    assert float(path[-1, 0, 1]) == pytest.approx(1e-6 * 1.1**200)


@pytest.mark.parametrize("key", REGISTRY)
def test_every_variant_without_layers_has_a_trajectory_and_no_other(key) -> None:
    knobs = {"rho": 0.1} if "rho" in REGISTRY[key].knobs else {}
    if REGISTRY[key].layered:
        with pytest.raises(AssertionError, match="needs to know"):
            trajectory(SADDLE, key, steps=1, lr=0.01, **knobs)
        return
    path = trajectory(SADDLE, key, steps=5, lr=0.01, **knobs)
    assert path.shape == (6, 1, 2)
    assert bool(path.isfinite().all())
    assert float((path[1:] - path[:-1]).norm()) > 0


def test_the_contour_is_the_loss_with_rows_along_y() -> None:
    x, y, z = contour(SADDLE, 5)
    assert float(z[0, 2]) == pytest.approx(float(x[2] ** 2 - y[0] ** 2))
    assert z.shape == (5, 5)


@pytest.mark.parametrize("land", LANDSCAPES.values(), ids=LANDSCAPES)
@pytest.mark.parametrize("rho", [0.0, 0.3, 2.0])
def test_the_step_differentiated_is_the_formula_of_the_paper(land, rho) -> None:
    """1 - lr lambda (1 + rho lambda) for USAM, 1 - lr lambda for SGD, of each eigenvalue of the Hessian."""
    lam = spectrum(land)[0]
    expected = 1 - 0.01 * lam * (1 + rho * lam)
    assert factors(land, "usam", lr=0.01, rho=rho) == pytest.approx(expected.tolist(), abs=1e-9)
    assert factors(land, "sgd", lr=0.01) == pytest.approx((1 - 0.01 * lam).tolist(), abs=1e-9)


def test_a_normalised_step_jumps_at_the_saddle_and_one_with_noise_has_no_factors() -> None:
    assert factors(SADDLE, "sam", lr=0.01, rho=0.1) is None
    assert factors(SADDLE, "vasso", lr=0.01, rho=0.1) is None


def by_hand(variant, seed, rho, sigma, momentum, steps=30, lr=0.02):
    """SGD, USAM and SAM with momentum on x^2 - y^2, coordinate by coordinate."""
    from sam_dash.problems.stack import torch_stream

    generator, w, b = torch_stream(seed, "order"), [-1.0, 0.3], [0.0, 0.0]
    for _ in range(steps):
        z = (sigma * torch.randn(1, 2, generator=generator, dtype=torch.float64))[0].tolist()
        g = [2 * w[0] + z[0], -2 * w[1] + z[1]]
        length = {"sgd": 0.0, "usam": rho, "sam": rho / (g[0] ** 2 + g[1] ** 2) ** 0.5}[variant]
        at = [w[i] + length * g[i] for i in (0, 1)]
        h = [2 * at[0] + z[0], -2 * at[1] + z[1]]
        b = [momentum * b[i] + h[i] for i in (0, 1)]
        w = [w[i] - lr * b[i] for i in (0, 1)]
    return w


@pytest.mark.parametrize("variant", ["sgd", "usam", "sam"])
def test_stacked_noisy_trajectories_are_those_of_each_seed_by_hand(variant) -> None:
    knobs = {} if variant == "sgd" else {"rho": 0.4}
    path = trajectory(
        SADDLE, variant, steps=30, lr=0.02, start=(-1.0, 0.3), sigma=0.5, momentum=0.7, seeds=(3, 8), **knobs
    )
    for i, seed in enumerate((3, 8)):
        assert path[-1, i].tolist() == pytest.approx(by_hand(variant, seed, 0.4, 0.5, 0.7), rel=1e-9)
    assert float((path[1, 0] - path[1, 1]).norm()) > 1e-3


def test_the_landscapes_do_not_load_torch() -> None:
    import subprocess
    import sys

    code = "import sys, sam_dash.problems.landscapes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
