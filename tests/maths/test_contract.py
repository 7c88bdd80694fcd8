"""What every registered variant must satisfy."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from typing import Annotated

import pytest
import torch
from torch.func import vmap

from sam_dash.maths.contract import SOURCES, TAKEN, TINY, Cost, Knob, Radius, Variant, unit, variant
from sam_dash.maths.micro import per_micro_batch
from sam_dash.results.drawing import lines
from sam_dash.results.numbers import tables
from sam_dash.runs.spec import Measures, Problem, Training
from sam_dash.variants import REGISTRY, get
from tests.helpers import CountingOracle, knobs, oracle, walk, with_batch

VARIANTS = [pytest.param(v, id=k) for k, v in REGISTRY.items()]
MODES = [
    pytest.param(REGISTRY["rwsam"], {"norms": n, "scale": s, "normalised": z}, id=f"rwsam-{n}-{s}-{z}")
    for n in ("one-probe", "exact")
    for s in ("raw", "standardised")
    for z in (True, False)
]
MODES += [
    pytest.param(REGISTRY[key], changed, id=f"{key}-{'-'.join(map(str, changed.values()))}")
    for key, changed in [
        ("fsam", {"order": "paper"}), ("asam", {"form": "all"}), ("unified", {"path": "1/t"}),
        ("esam", {"swp": "coordinates"}), ("esam", {"gamma_s": 1.0}), ("lightsam", {"light": "II"}),
        ("lightsam", {"light": "III"}), ("looksam", {"period": 3}), ("multisam", {"ascents": 3}),
        ("lookbehind", {"behind": 3}), ("ssamf", {"refresh": 3}), ("ssamd", {"refresh": 1}),
        ("eigensam", {"turns": 3, "powers": 2}), ("wsam", {"coupling": "coupled"}),
    ]
]  # fmt: skip
ALL = [pytest.param(p.values[0], {}, id=p.id) for p in VARIANTS] + MODES


def test_the_six_variants_of_the_first_release_are_there() -> None:
    assert {"sgd", "sam", "usam", "nsam", "nusam", "rwsam"} <= set(REGISTRY)


@pytest.mark.parametrize("v", VARIANTS)
def test_a_step_returns_finite_vectors_and_leaves_w_alone(v) -> None:
    L, w = oracle(v=v)
    before = w.clone()
    out = v.step(L, w, v.init(w), **knobs(v))
    assert out.h.shape == out.eps.shape == out.g.shape == w.shape
    assert all(torch.isfinite(a).all() for a in (out.h, out.eps, out.g))
    assert torch.equal(w, before)


@pytest.mark.parametrize(("v", "changed"), ALL)
def test_three_steps_of_seeds_in_one_vmap_equal_seeds_in_a_loop(v, changed) -> None:
    L, w = oracle(v=v)
    W = w + 0.1 * torch.randn(3, len(w), dtype=w.dtype)
    x, y = (torch.stack([a[i : i + 12] for i in (0, 6, 12)]) for a in L.batch)

    def one(w, s, x, y, t):
        return v.step(replace(L, batch=(x, y), t=t), w, s, **knobs(v, **changed))

    S, alone = vmap(v.init)(W), [v.init(w) for w in W]
    for t in range(3):
        together = vmap(one, in_dims=(0, 0, 0, 0, None))(W, S, x, y, t)
        S = together.state
        for i in range(3):
            out = one(W[i], alone[i], x[i], y[i], t)
            alone[i] = out.state
            torch.testing.assert_close(together.h[i], out.h)
            torch.testing.assert_close(together.eps[i], out.eps)
            torch.testing.assert_close(together.descent[i], out.descent)
        W = W - 0.1 * together.h


@pytest.mark.parametrize(("v", "changed"), ALL)
def test_the_declared_cost_is_the_counted_cost(v, changed) -> None:
    L, w = oracle(kind=CountingOracle, v=v)
    chosen = knobs(v, **changed)
    cost = v.cost(**chosen)
    s = v.init(w)
    for t in range(cost.period):
        s = v.step(replace(L, t=t), w, s, **chosen).state
    names = ("gradients", "forwards", "per_sample", "backwards", "products")
    assert {n: L.calls[n] / cost.period for n in names} == pytest.approx({n: getattr(cost, n) for n in names})
    assert L.full.calls["gradients"] == cost.full


@pytest.mark.parametrize("v", [p for p in VARIANTS if p.values[0].is_sam_at is not None])
def test_a_variant_is_sam_where_it_says_so_in_every_step(v) -> None:
    L, w = oracle(v=v)
    outs = walk(v, L, w, 4, **knobs(v, **v.is_sam_at))
    for out, sam in zip(outs, walk(get("sam"), L, w, 4, rho=0.3), strict=True):
        torch.testing.assert_close(out.h, sam.h, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(out.eps, sam.eps, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("v", [p for p in VARIANTS if "rho" in p.values[0].knobs])
def test_without_a_radius_it_is_the_variants_own_unperturbed_base(v) -> None:
    L, w = oracle(v=v)
    for out in walk(v, L, w, 3, **knobs(v, rho=0.0)):
        assert float(out.eps.abs().max()) == 0.0
    out = v.step(L, w, v.init(w), **knobs(v, rho=0.0))
    torch.testing.assert_close(out.h, unperturbed(v, L, w))


def unperturbed(v, L, w):
    """What the first step descends at rho = 0; all but these descend the gradient of the batch."""
    g = L.grad(w)
    k = v.defaults()
    if v.key == "slsam":
        return v.step(L, w, v.init(w), **k).moves * g
    if v.key == "lookbehind":
        return k["mix"] * k["behind"] * g
    if v.key == "adasam":  # AMSGrad without bias correction
        return k["scale_lr"] * (1 - k["beta1"]) * g / ((1 - k["beta2"]) * g * g).clamp_min(1e-16).sqrt()
    if v.key == "lightsam":  # AdaGrad-Norm
        return g / (1e-16 + g @ g).sqrt()
    if v.key == "xsam":  # less half of the part along its eigenvector
        top = v.step(L, w, v.init(w), **k).state.v
        return g - 0.5 * (g @ top) * top
    return g


@pytest.mark.parametrize(("v", "changed"), ALL)
def test_m_equal_to_B_is_the_plain_variant(v, changed) -> None:
    L, w = oracle(v=v)
    chosen = knobs(v, **changed)
    plain, whole = v.step(L, w, v.init(w), **chosen), per_micro_batch(v.step, 24)(L, w, v.init(w), **chosen)
    torch.testing.assert_close(whole.h, plain.h)
    torch.testing.assert_close(whole.eps, plain.eps[None])


@pytest.mark.parametrize(("v", "changed"), ALL)
@pytest.mark.parametrize("m", [1, 4, 8])
def test_the_m_version_equals_a_loop_over_micro_batches(v, changed, m) -> None:
    L, w = oracle(v=v)
    s = v.init(w)
    for t in range(2):  # the second step has a state
        at = replace(L, t=t)
        out = per_micro_batch(v.step, m)(at, w, s, **knobs(v, **changed))
        parts = [v.step(with_batch(at, torch.arange(i, i + m)), w, s, **knobs(v, **changed)) for i in range(0, 24, m)]
        torch.testing.assert_close(out.h, torch.stack([p.h for p in parts]).mean(0))
        torch.testing.assert_close(out.descent, torch.stack([p.descent for p in parts]).mean(0))
        torch.testing.assert_close(out.eps, torch.stack([p.eps for p in parts]))
        for mean, each in zip(out.state, zip(*(p.state for p in parts), strict=True), strict=True):
            torch.testing.assert_close(mean, torch.stack(each).mean(0))
        s = out.state


@pytest.mark.parametrize("key", ["fsam", "vasso", "ssamf", "msam"])
def test_a_state_of_means_commutes_with_averaging_over_micro_batches(key) -> None:
    v = get(key)
    L, w = oracle(v=v)
    s = v.step(L, w, v.init(w), **knobs(v, rho=0.0)).state
    by_parts = per_micro_batch(v.step, 4)(L, w, v.init(w), **knobs(v, rho=0.0)).state
    torch.testing.assert_close(by_parts, s)


@pytest.mark.parametrize("v", [p for p in VARIANTS if p.values[0].uses_m])
def test_chunking_the_micro_batches_changes_nothing(v) -> None:
    L, w = oracle(v=v)
    all_at_once, in_pieces = (per_micro_batch(v.step, 2, chunk=c)(L, w, v.init(w), **knobs(v)) for c in (None, 5))
    torch.testing.assert_close(in_pieces.h, all_at_once.h)
    torch.testing.assert_close(in_pieces.eps, all_at_once.eps)


@pytest.mark.parametrize("v", VARIANTS)
def test_the_order_within_a_micro_batch_does_not_matter(v) -> None:
    L, w = oracle(v=v)
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


@pytest.mark.parametrize("v", [p for p in VARIANTS if p.values[0].noiseless_at is not None])
def test_a_variant_reads_no_noise_where_it_says_so(v) -> None:
    L, w = oracle(v=v)
    silent = knobs(v, **v.noiseless_at)
    assert (v.at(silent).noise, v.at(knobs(v)).noise) == (0, v.noise)
    outs = [v.step(replace(L, noise=noise), w, v.init(w), **silent) for noise in (L.noise, None)]
    torch.testing.assert_close(outs[0].h, outs[1].h, rtol=0, atol=0)


@pytest.mark.parametrize("v", VARIANTS)
def test_every_knob_has_a_symbol_help_and_a_valid_default(v) -> None:
    for name, knob in v.knobs.items():
        assert knob.symbol
        assert knob.help
        assert knob.check(name, knob.default) == knob.default
        assert knob.source.partition(" (")[0] in SOURCES
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


def test_of_a_variant_of_which_no_facts_are_told_none_holds() -> None:
    v = Variant("plain", "Plain", get("sam").step, "", {}, get("sam").cost, None)
    assert (v.init(torch.zeros(3)), v.noise, v.noiseless_at, v.law, v.no_m, v.family) == (
        (),
        0,
        None,
        "signs",
        "",
        "sam",
    )
    assert not any((v.m_axis, v.descends, v.layered, v.counts, v.chained, v.factored))
    assert v.uses_m


@pytest.mark.parametrize(
    "sources", [{}, {"rho": "hearsay"}, {"rho": "ours", "lam": "ours"}], ids=["none", "unknown", "of no knob"]
)
def test_every_knobs_default_says_where_it_is_from_and_nothing_else_does(sources) -> None:
    def halved(L, w, s, *, rho: Radius = 0.05): ...

    with pytest.raises(TypeError, match="must say for each knob which of"):
        variant("Halved", ref="", cost=Cost(gradients=2), defaults=sources)(halved)
    assert "halved" not in REGISTRY


@pytest.mark.parametrize("name", ["budget", "m", "lr", "colour"])
def test_a_knob_cannot_be_called_as_a_column_or_another_argument_is(name) -> None:
    def taken(L, w, s, **knobs): ...

    hint = Annotated[float, Knob("τ", "what it is")]
    taken.__signature__ = inspect.Signature(
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=0.1, annotation=hint) for n in ("rho", name)]
    )
    with pytest.raises(TypeError, match=f"cannot be called '{name}'"):
        variant("Taken", ref="", cost=Cost(gradients=2), defaults=dict.fromkeys(("rho", name), "ours"))(taken)
    assert "taken" not in REGISTRY


def test_all_names_that_stand_beside_knobs_are_taken() -> None:
    from sam_dash.optim import SharpnessAware
    from sam_dash.record import Recorder

    columns = {*tables.CURVES, *tables.runs_frame([]).columns, *lines.COLUMNS, *lines.LOOK}
    fields_ = {name for part in (Problem, Training, Measures) for name in part.__dataclass_fields__}
    arguments = {name for of in (SharpnessAware, Recorder) for name in inspect.signature(of).parameters} - {"knobs"}
    assert (columns | fields_ | arguments) - set(tables.knob_names()) <= TAKEN
    assert not TAKEN & set(tables.knob_names())
