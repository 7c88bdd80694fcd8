"""Where the variants meet each other and closed forms: the identities of their papers, in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from sam_dash.maths.contract import unit
from sam_dash.maths.flat import Layout, flatten, losses_fn
from sam_dash.maths.oracle import Oracle
from sam_dash.variants import REGISTRY, get
from tests.helpers import knobs, oracle, walk

SCALE_FREE = (
    "sam", "multisam", "lookbehind", "gsam", "wsam", "fsam", "vasso", "looksam", "asam", "esam", "ssamf", "ssamd",
    "focalsam", "eigensam", "msam", "rwp",
)  # fmt: skip
ROTATED = ("unified", "mongesam", "gsam", "wsam", "looksam", "fsam", "vasso", "multisam", "lookbehind", "msam")


def first(key, L=None, w=None, **changed):
    """The first step of a variant, and the oracle and w that it was taken at."""
    v = get(key)
    if L is None:
        L, w = oracle(v=v)
    return v.step(L, w, v.init(w), **knobs(v, **changed)), L, w


def number(x):
    return torch.tensor(x, dtype=torch.float64)


def close(a, b, tol=1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize("key", SCALE_FREE)
def test_scaling_the_loss_scales_h_and_leaves_eps(key) -> None:
    v = get(key)
    L, w = oracle(v=v)
    scaled = replace(L, losses_fn=lambda w, batch: 37 * L.losses_fn(w, batch))
    for a, b in zip(walk(v, L, w, 3, **knobs(v)), walk(v, scaled, w, 3, lr=0.1 / 37, **knobs(v)), strict=True):
        close(b.eps, a.eps, 1e-9)
        close(b.h, 37 * a.h, 1e-9)


@pytest.mark.parametrize("key", ["usam", "mongesam", "unified"])
def test_these_are_not_scale_free(key) -> None:
    v = get(key)
    L, w = oracle()
    scaled = replace(L, losses_fn=lambda w, batch: 37 * L.losses_fn(w, batch))
    a, b = (v.step(M, w, (), **knobs(v)) for M in (L, scaled))
    assert float((a.eps - b.eps).norm()) > 0.01 * float(a.eps.norm())


@pytest.mark.parametrize("light", ["I", "II", "III"])
def test_lightsam_takes_the_same_steps_whatever_the_loss_is_multiplied_by(light) -> None:
    v = get("lightsam")
    L, w = oracle()
    scaled = replace(L, losses_fn=lambda w, batch: 37 * L.losses_fn(w, batch))
    for a, b in zip(
        walk(v, L, w, 4, **knobs(v, light=light)), walk(v, scaled, w, 4, **knobs(v, light=light)), strict=True
    ):
        tol = 1e-5 if light == "III" else 1e-7  # the first sums, 1e-16, count little: 1e-8 (III: 3e-7) to a gradient
        close(b.eps, a.eps, tol)
        close(b.h, a.h, tol)


@pytest.mark.parametrize("key", ROTATED)
def test_rotating_the_weights_rotates_every_step(key) -> None:
    v = get(key)
    torch.manual_seed(1)
    a, b, w = torch.randn(12, 6).double(), torch.randn(12).double(), torch.randn(6).double()
    Q = torch.linalg.qr(torch.randn(6, 6).double())[0]

    def squares(w, batch):
        return (batch[0] @ w - batch[1]) ** 2 / 2

    plain = walk(v, Oracle(squares, (a, b)), w, 3, lr=0.01, **knobs(v))
    turned = walk(v, Oracle(squares, (a @ Q.T, b)), Q @ w, 3, lr=0.01, **knobs(v))
    for p, t in zip(plain, turned, strict=True):
        close(t.h, Q @ p.h, 1e-10)
        close(t.eps, Q @ p.eps, 1e-10)


def test_unified_sam_goes_from_usam_to_sam_or_back() -> None:
    L, w = oracle()
    v, late = get("unified"), 10**9
    usam, sam = (get(k).step(L, w, (), rho=0.3) for k in ("usam", "sam"))
    close(v.step(L, w, (), **knobs(v, path="constant", l=0.0)).h, usam.h)
    close(v.step(L, w, (), **knobs(v, path="1-1/t")).h, usam.h)
    close(v.step(L, w, (), **knobs(v, path="1/t")).h, sam.h)
    close(v.step(replace(L, t=late), w, (), **knobs(v, path="1-1/t")).h, sam.h, 1e-7)
    close(v.step(replace(L, t=late), w, (), **knobs(v, path="1/t")).h, usam.h, 1e-7)


def test_monge_sam_has_the_length_rho_in_its_own_metric() -> None:
    out, L, w = first("mongesam")
    g = L.grad(w)
    close(out.eps @ out.eps + (out.eps @ g) ** 2, number(0.09))
    close(out.eps.norm(), 0.3 / (1 + g @ g).sqrt())


@pytest.mark.parametrize("c", [1e-6, 1e6])
def test_monge_sam_is_sam_where_the_gradient_is_small_and_sgd_where_it_is_large(c) -> None:
    L, w = oracle()
    scaled = replace(L, losses_fn=lambda w, batch: c * L.losses_fn(w, batch))
    out = first("mongesam", scaled, w)[0]
    close(out.h, get("sam" if c < 1 else "sgd").step(scaled, w, (), **({"rho": 0.3} if c < 1 else {})).h, 1e-5 * c)


def test_gsam_subtracts_only_what_is_across_the_perturbed_gradient() -> None:
    out, L, w = first("gsam")
    sam = get("sam").step(L, w, (), rho=0.3)
    across = (sam.h - out.h) / 0.4
    close(across @ sam.h, number(0.0))
    close(across + (out.g @ sam.h) / (sam.h @ sam.h) * sam.h, out.g)


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("wsam", {"gamma": 0.0}),
        ("focalsam", {"penalty": 0.0}),
        ("ssamf", {"sparsity": 1.0}),
        ("ssamd", {"sparsity": 1.0}),
    ],
)
def test_these_are_sgd_at_one_end(key, changed) -> None:
    out, L, w = first(key, **changed)
    close(out.h, L.grad(w))


def test_focal_sam_on_balanced_classes_mixes_sgd_and_sam() -> None:
    L, w = oracle()
    even = replace(L, counts=torch.tensor([7, 7, 7]))
    out = first("focalsam", even, w, focus=2.0, penalty=0.8)[0]
    c = 0.8 * (1 - 1 / 3) ** 2
    close(out.h, (1 - c) * L.grad(w) + c * get("sam").step(L, w, (), rho=0.3).h)


def test_focal_sam_perturbs_for_rare_classes_more() -> None:
    L, w = oracle()
    tail = replace(L, counts=torch.tensor([1000, 10, 1]))
    eps = first("focalsam", tail, w, focus=50.0)[0].eps
    rare = L.take((L.batch[1] != 0).nonzero().flatten()).grad(w)
    assert float(eps @ rare / (eps.norm() * rare.norm())) > 0.9


def test_the_two_orders_of_f_sam_have_one_direction_at_sigma_one_and_two_at_another() -> None:
    v = get("fsam")
    L, w = oracle()
    code = walk(v, L, w, 4, **knobs(v, order="code"))
    paper = walk(v, L, w, 4, **knobs(v, order="paper"))
    for a, b in zip(code, paper, strict=True):
        close(a.eps, b.eps, 1e-11)
    code, paper = (walk(v, L, w, 2, **knobs(v, order=o, sigma=0.5))[1].eps for o in ("code", "paper"))
    assert float((code - paper).norm()) > 0.001


def test_f_sam_starts_as_sam_and_its_mean_can_be_frozen() -> None:
    v = get("fsam")
    L, w = oracle()
    outs = walk(v, L, w, 3, **knobs(v, memory=1.0))
    close(outs[0].eps, 0.3 * unit(outs[0].g))
    close(outs[2].state.mean, outs[0].g)
    close(outs[2].eps, 0.3 * unit(outs[2].g - outs[0].g))


def test_f_sam_on_a_constant_gradient_falls_back_to_it() -> None:
    v = get("fsam")
    L, w = oracle()
    s = v.step(L, w, v.init(w), **knobs(v)).state
    out = v.step(replace(L, t=1), w, s, **knobs(v))
    close(out.eps, 0.3 * unit(out.g))


def test_vasso_perturbs_along_the_exponential_mean() -> None:
    v = get("vasso")
    L, w = oracle()
    a, b = walk(v, L, w, 2, **knobs(v, theta=0.3))
    close(b.eps, 0.3 * unit(0.7 * a.g + 0.3 * b.g))


def test_esam_keeps_whole_tensors_and_gives_them_the_length_rho_over_beta() -> None:
    v = get("esam")
    L, w = oracle(v=v)
    L = replace(L, t=1)
    out = v.step(L, w, (), **knobs(v))
    parts = [bool(p.any()) for p in L.layout.segments(out.eps)]
    assert 0 < sum(parts) < len(parts)
    close(out.eps.norm(), number(0.3 / 0.6), 1e-11)
    coordinates = v.step(L, w, (), **knobs(v, swp="coordinates")).eps
    mask = L.noise[0] < 0.6
    close(coordinates, mask * 0.3 / 0.6 * unit(L.grad(w)))


def test_esam_descends_the_samples_whose_loss_rises_most_and_never_none() -> None:
    v = get("esam")
    L, w = oracle(v=v)
    out = v.step(L, w, (), **knobs(v, gamma_s=0.25))
    rise = (L.losses(w + out.eps) - L.losses(w)).tolist()
    worst = sorted(range(24), key=rise.__getitem__)[-6:]
    close(out.h, L.take(torch.tensor(worst)).grad(w + out.eps))
    tied = v.step(L, w, (), **knobs(v, rho=0.0, gamma_s=0.01))
    assert bool(tied.h.isfinite().all())
    assert float(tied.h.norm()) > 0


def test_ssam_f_perturbs_where_the_fisher_information_was_largest() -> None:
    v = get("ssamf")
    L, w = oracle(v=v)
    s = v.step(L, w, v.init(w), **knobs(v, sparsity=0.75)).state
    out = v.step(replace(L, t=1), w, s, **knobs(v, sparsity=0.75))
    fisher = L.grads(w).square().mean(0)
    on = out.eps != 0
    assert int(on.sum()) == round(0.25 * len(w))
    assert float(fisher[on].min()) >= float(fisher[~on].max())
    close(out.eps[on], 0.3 * unit(L.grad(w))[on])
    assert float(out.eps.norm()) <= 0.3


def test_ssam_d_keeps_the_density_of_its_mask_while_it_moves() -> None:
    v = get("ssamd")
    L, w = oracle(v=v)
    masks = [out.state.mask for out in walk(v, L, w, 5, **knobs(v, sparsity=0.7, refresh=2))]
    assert {float(m.sum()) for m in masks} == {float(round(0.3 * len(w)))}
    assert torch.equal(masks[0], masks[1])
    moved = int((masks[2] - masks[1]).clamp(min=0).sum())
    assert moved == round(0.5 * round(0.3 * len(w)))
    assert {float(x) for m in masks for x in m} == {0.0, 1.0}


def test_sl_sam_leaves_the_tensors_that_are_not_drawn_alone() -> None:
    v = get("slsam")
    L, w = oracle(v=v)
    out = v.step(replace(L, noise=torch.full((1, len(w)), 0.8).double()), w, v.init(w), **knobs(v, keep=0.5))
    drawn = [bool(h.any()) for h in L.layout.segments(out.h)]
    assert drawn == [False, False, False, True]  # none by its own probability, so that the last one is
    assert float(out.info["active"]) == pytest.approx(3 / 66)
    close(out.moves, torch.cat([torch.zeros(63), torch.ones(3)]).double())


def test_asam_with_unit_weights_is_sam() -> None:
    L, _ = oracle()
    signs = L.noise[0]
    out = first("asam", L, signs, form="all")[0]
    close(out.eps, get("sam").step(L, signs, (), rho=0.3).eps)
    biases = torch.cat([torch.zeros(35), torch.ones(7), torch.zeros(21), torch.ones(3)]).bool()
    w = torch.where(biases, 100.0, signs)  # biases are not scaled by the authors' form
    close(first("asam", L, w, eta=0.0)[0].eps, get("sam").step(L, w, (), rho=0.3).eps)


def test_asam_does_not_see_a_rescaling_that_leaves_the_network_as_it_is() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)).double()
    w, L = flatten(module), oracle()[0]
    L = replace(L, losses_fn=losses_fn(module), layout=Layout.of(module))
    A = torch.cat([torch.full((35,), 4.0), torch.full((21,), 0.25)]).double()
    a, b = first("asam", L, w, form="all")[0], first("asam", L, A * w, form="all")[0]
    close(b.eps, A * a.eps)
    close(L.losses(A * w + b.eps), L.losses(w + a.eps))
    sam_a, sam_b = (get("sam").step(L, v, (), rho=0.3).eps for v in (w, A * w))
    assert float((L.losses(A * w + sam_b) - L.losses(w + sam_a)).abs().max()) > 0.01


def test_looksam_pushes_along_what_sam_added_across_the_gradient() -> None:
    v = get("looksam")
    L, w = oracle()
    a, b = walk(v, L, w, 2, **knobs(v))
    close(a.state.across @ a.g, number(0.0))
    close(b.h, b.g + 0.7 * b.g.norm() * unit(a.state.across))
    assert float(b.eps.norm()) == 0


def test_momentum_sam_looks_back_along_the_momentum_of_sgd() -> None:
    v = get("msam")
    L, w = oracle()
    a, b, c = walk(v, L, w, 3, **knobs(v))
    close(a.eps, torch.zeros_like(a.eps))
    close(b.eps, -0.3 * unit(a.h))
    close(c.eps, -0.3 * unit(0.9 * a.h + b.h))


def test_two_ascents_have_half_the_radius_each_and_lookbehinds_the_whole() -> None:
    L, w = oracle()
    half = get("sam").step(L, w, (), rho=0.15)
    close(first("multisam", L, w)[0].eps, half.eps + 0.15 * unit(half.h))
    whole = get("sam").step(L, w, (), rho=0.3)
    behind = first("lookbehind", L, w)[0]
    close(behind.eps, whole.eps + 0.3 * unit(whole.h))
    close(behind.h, 0.5 * (whole.h + L.grad(w + behind.eps)))


def test_eigen_sam_turns_towards_the_top_eigenvector_of_a_dense_hessian() -> None:
    out, L, w = first("eigensam", powers=300)
    H = torch.func.hessian(lambda w: L.losses(w).mean())(w)
    values, vectors = torch.linalg.eigh(H)
    v = vectors[:, values.abs().argmax()]
    close((out.state.v @ v).abs(), number(1.0), 1e-8)
    u = unit(L.grad(w))
    close(out.eps, 0.3 * (u + 0.2 * (u @ v).sign() * (v - (v @ u) * u)), 1e-4)
    assert float((out.eps @ v).abs()) > 0.3 * float((u @ v).abs())


def test_adasam_is_amsgrad_without_bias_correction_and_so_is_not_torchs_adam() -> None:
    v = get("adasam")
    L, w = oracle()
    outs = walk(v, L, w, 4, **knobs(v, rho=0.0, scale_lr=1.0))
    m = s = 0 * w
    top = 0 * w + 1e-16
    for out in outs:
        m, s = 0.9 * m + 0.1 * out.g, 0.999 * s + 0.001 * out.g**2
        top = torch.maximum(top, s)
        close(out.h, m / top.sqrt())
    p = nn.Parameter(w.clone())
    p.grad = L.grad(w)
    torch.optim.Adam([p], lr=0.1, amsgrad=True, eps=1e-16).step()
    h = v.step(L, w, v.init(w), **knobs(v, rho=0.0, scale_lr=1.0)).h
    close((h / ((w - p.detach()) / 0.1)).median(), number(0.1 / math.sqrt(0.001)), 1e-6)


def test_the_radius_of_lightsam_one_falls_and_that_of_two_starts_at_rho_root_d() -> None:
    v = get("lightsam")
    L, w = oracle()
    lengths = [out.eps.norm() for out in walk(v, L, w, 10, **knobs(v))]
    close(lengths[0], number(0.3), 1e-9)
    assert float(lengths[9]) < 0.6 * float(lengths[0])
    seen = L.grad(w) != 0
    raw = v.step(L, w, v.init(w), **knobs(v, light="II", per_root_d=False)).eps
    close(raw[seen].abs(), torch.full_like(raw[seen], 0.3), 1e-6)
    close(v.step(L, w, v.init(w), **knobs(v, light="II")).eps * len(w) ** 0.5, raw)


def test_n_sam_on_the_whole_training_set_is_sam() -> None:
    L, w = oracle()
    close(first("nsam", replace(L.full, full=L.full), w)[0].h, get("sam").step(L.full, w, (), rho=0.3).h)


def test_rw_sam_with_equal_norms_is_sam_and_with_a_huge_lambda_follows_one_sample() -> None:
    L, w = oracle()
    same = L.take(torch.zeros(8, dtype=torch.int64))
    close(first("rwsam", same, w, lam=0.7)[0].h, get("sam").step(same, w, (), rho=0.3).h)
    grads = L.grads(w)
    out = first("rwsam", L, w, lam=1e6, norms="exact")[0]
    close(out.eps, 0.3 * unit(grads[grads.norm(dim=1).argmax()]))


def test_random_perturbation_has_sams_length_and_no_direction_of_its_own() -> None:
    out, L, _ = first("rwp")
    close(out.eps, 0.3 * unit(L.noise[0]))


def test_every_state_is_of_finite_floats_of_the_size_of_w() -> None:
    for v in REGISTRY.values():
        L, w = oracle(v=v)
        for out in walk(v, L, w, 3, **knobs(v)):
            for part in out.state:
                assert part.shape == w.shape
                assert part.dtype == w.dtype
                assert bool(part.isfinite().all())
