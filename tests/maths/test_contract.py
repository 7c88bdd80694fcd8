"""What every registered variant must satisfy."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.func import vmap

from sam_dash.maths.contract import TINY, Knob, unit
from sam_dash.maths.micro import per_micro_batch
from sam_dash.variants import REGISTRY, get
from tests.helpers import CountingOracle, knobs, oracle, with_batch

VARIANTS = [pytest.param(v, id=k) for k, v in REGISTRY.items()]
MODES = [
    pytest.param(REGISTRY["rwsam"], {"norms": n, "scale": s, "normalised": z}, id=f"rwsam-{n}-{s}-{z}")
    for n in ("one-probe", "exact")
    for s in ("raw", "standardised")
    for z in (True, False)
]


def test_the_six_variants_of_the_first_release_are_there() -> None:
    assert {"sgd", "sam", "usam", "nsam", "nusam", "rwsam"} <= set(REGISTRY)


@pytest.mark.parametrize("v", VARIANTS)
def test_a_step_returns_finite_vectors_and_leaves_w_alone(v) -> None:
    L, w = oracle()
    before = w.clone()
    out = v.step(L, w, v.init(w), **knobs(v))
    assert out.h.shape == out.eps.shape == out.g.shape == w.shape
    assert all(torch.isfinite(a).all() for a in (out.h, out.eps, out.g))
    assert torch.equal(w, before)


@pytest.mark.parametrize("v", VARIANTS)
def test_seeds_in_one_vmap_equal_seeds_in_a_loop(v) -> None:
    L, w = oracle()
    W = w + 0.1 * torch.randn(3, len(w), dtype=w.dtype)
    x, y = (torch.stack([a[i : i + 12] for i in (0, 6, 12)]) for a in L.batch)

    def one(w, x, y):
        return v.step(replace(L, batch=(x, y)), w, v.init(w), **knobs(v))

    together = vmap(one)(W, x, y)
    for i in range(3):
        alone = one(W[i], x[i], y[i])
        torch.testing.assert_close(together.h[i], alone.h)
        torch.testing.assert_close(together.eps[i], alone.eps)


@pytest.mark.parametrize(("v", "changed"), [*[(p.values[0], {}) for p in VARIANTS], *[p.values for p in MODES]])
def test_the_declared_cost_is_the_counted_cost(v, changed) -> None:
    L, w = oracle(kind=CountingOracle)
    chosen = knobs(v, **changed)
    v.step(L, w, v.init(w), **chosen)
    cost = v.cost(**chosen)
    counted = Counter(gradients=cost.gradients, forwards=cost.forwards, per_sample=cost.per_sample)
    assert +L.calls == +counted
    assert L.full.calls["gradients"] == cost.full


@pytest.mark.parametrize("v", [p for p in VARIANTS if p.values[0].is_sam_at is not None])
def test_a_variant_is_sam_where_it_says_so(v) -> None:
    L, w = oracle()
    out, sam = v.step(L, w, v.init(w), **knobs(v, **v.is_sam_at)), get("sam").step(L, w, (), rho=0.3)
    torch.testing.assert_close(out.h, sam.h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(out.eps, sam.eps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("v", [p for p in VARIANTS if "rho" in p.values[0].knobs])
def test_without_a_radius_it_descends_the_gradient(v) -> None:
    L, w = oracle()
    out = v.step(L, w, v.init(w), **knobs(v, rho=0.0))
    torch.testing.assert_close(out.h, L.grad(w))
    assert float(out.eps.abs().max()) == 0.0


@pytest.mark.parametrize("v", VARIANTS)
def test_m_equal_to_B_is_the_plain_variant(v) -> None:
    L, w = oracle()
    plain, whole = v.step(L, w, v.init(w), **knobs(v)), per_micro_batch(v.step, 24)(L, w, v.init(w), **knobs(v))
    torch.testing.assert_close(whole.h, plain.h)
    torch.testing.assert_close(whole.eps, plain.eps[None])


@pytest.mark.parametrize("v", VARIANTS)
@pytest.mark.parametrize("m", [1, 4, 8])
def test_the_m_version_equals_a_loop_over_micro_batches(v, m) -> None:
    L, w = oracle()
    out = per_micro_batch(v.step, m)(L, w, v.init(w), **knobs(v))
    parts = [v.step(with_batch(L, torch.arange(i, i + m)), w, v.init(w), **knobs(v)) for i in range(0, 24, m)]
    torch.testing.assert_close(out.h, torch.stack([p.h for p in parts]).mean(0))
    torch.testing.assert_close(out.eps, torch.stack([p.eps for p in parts]))


@pytest.mark.parametrize("v", [p for p in VARIANTS if p.values[0].uses_m])
def test_chunking_the_micro_batches_changes_nothing(v) -> None:
    L, w = oracle()
    all_at_once, in_pieces = (per_micro_batch(v.step, 2, chunk=c)(L, w, v.init(w), **knobs(v)) for c in (None, 5))
    torch.testing.assert_close(in_pieces.h, all_at_once.h)
    torch.testing.assert_close(in_pieces.eps, all_at_once.eps)


@pytest.mark.parametrize("v", VARIANTS)
def test_the_order_within_a_micro_batch_does_not_matter(v) -> None:
    L, w = oracle()
    order = torch.arange(24).view(-1, 4).flip(1).reshape(-1)
    before, after = (per_micro_batch(v.step, 4)(M, w, v.init(w), **knobs(v)).h for M in (L, with_batch(L, order)))
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("m", [1, 2, 3, 8])
def test_sgd_is_the_same_for_every_m(m) -> None:
    L, w = oracle()
    torch.testing.assert_close(per_micro_batch(get("sgd").step, m)(L, w, ()).h, L.grad(w))


def test_sam_differs_between_values_of_m() -> None:
    L, w = oracle()
    h8, h24 = (per_micro_batch(get("sam").step, m)(L, w, (), rho=0.3).h for m in (8, 24))
    assert float((h8 - h24).norm() / h24.norm()) > 0.01


def test_n_sam_perturbs_along_the_full_gradient() -> None:
    L, w = oracle()
    eps = get("nsam").step(L, w, (), rho=0.3).eps
    torch.testing.assert_close(eps, 0.3 * L.full.grad(w) / L.full.grad(w).norm())
    torch.testing.assert_close(get("nusam").step(L, w, (), rho=0.3).eps, 0.3 * L.full.grad(w))


def test_a_zero_gradient_gives_no_perturbation() -> None:
    assert torch.equal(unit(torch.zeros(4)), torch.zeros(4))
    assert TINY > 0


@pytest.mark.parametrize("v", VARIANTS)
def test_every_knob_has_a_symbol_help_and_a_valid_default(v) -> None:
    for name, knob in v.knobs.items():
        assert knob.symbol
        assert knob.help
        assert knob.check(name, knob.default) == knob.default
    assert v.doc.startswith(f"{v.title}:")
    assert v.ref in v.doc or v.key == "sgd"


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (Knob("ρ", "", 0, 1), -0.1), (Knob("ρ", "", 0, 1), 2), (Knob("ρ", "", 0, 1), float("nan")),
        (Knob("ρ", "", 0, 1), "0.1"), (Knob("ρ", "", 0, 1), True), (Knob("k", "", 1, 9, int), 1.5),
        (Knob("b", "", kind=bool), 1), (Knob("c", "", choices=("a", "b")), "c"),
    ],
)  # fmt: skip
def test_a_knob_refuses_what_is_out_of_range(knob, value) -> None:
    with pytest.raises(ValueError, match="expected"):
        knob.check("name", value)


def test_unknown_variants_and_knobs_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown variant 'sma'; known: .*sam"):
        get("sma")
    with pytest.raises(ValueError, match="SAM has no knob 'lam'"):
        get("sam").check({"lam": 1})


def test_the_registry_loads_without_torch() -> None:
    code = "import sys, sam_dash.variants, sam_dash.runs.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
