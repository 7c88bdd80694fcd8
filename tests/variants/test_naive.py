"""Every rule that could be wrong by a line, against loops over samples, tensors and coordinates of other code.

The network is written out; its gradients are of one sample at a time; all else is Python's numbers and lists.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.func import vmap

from sam_dash.maths import base
from sam_dash.maths.micro import per_micro_batch
from sam_dash.variants import get
from tests.helpers import knobs, oracle

SHAPES = [(7, 5), (7,), (3, 7), (3,)]  # of helpers.oracle's network
SIZES = [math.prod(s) for s in SHAPES]


def loss_of(w, x, y):
    """Of one sample."""
    A, a, B, b = (part.view(shape) for part, shape in zip(w.split(SIZES), SHAPES, strict=True))
    out = B @ (A @ x + a).clamp(min=0) + b
    return out.exp().sum().log() - out[y]


def samples(L):
    return list(zip(*L.batch, strict=True))


def grad_of(w, batch, p=None):
    """Of sum_i p_i l_i, the mean without p, one sample after another."""
    total = torch.zeros_like(w)
    for i, (x, y) in enumerate(batch):
        v = w.clone().requires_grad_()
        g = torch.autograd.grad(loss_of(v, x, y), v)[0]
        total += g / len(batch) if p is None else p[i] * g
    return total


def norm(v):
    return math.sqrt(sum(x * x for x in v.tolist()))


def vector(values):
    return torch.tensor(values, dtype=torch.float64)


def close(a, b, tol=1e-9):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def start(key, **changed):
    """The variant, its oracle, w and state, and its knobs."""
    v = get(key)
    L, w = oracle(v=v)
    return v, L, w, v.init(w), knobs(v, **changed)


# RW-SAM


def softmax(x):
    top = max(x)
    e = [math.exp(v - top) for v in x]
    return [v / sum(e) for v in e]


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("lam", [0.0, 0.5, -0.0, 30.0])
def test_rw_sams_default_mode_is_one_probe_of_a_tenth_softmax_and_sams_radius(lam, normalised) -> None:
    v, L, w, s, k = start("rwsam", lam=lam, normalised=normalised)
    assert (k["norms"], k["scale"], v.knobs["normalised"].default) == ("one-probe", "raw", True)
    z, delta = L.noise[0], 0.1 / math.sqrt(len(w))
    assert set(z.tolist()) == {-1.0, 1.0}
    rises = [abs(float(loss_of(w + delta * z, x, y)) - float(loss_of(w, x, y))) / delta for x, y in samples(L)]
    p = softmax([lam * r for r in rises])
    u = grad_of(w, samples(L), p)
    eps = 0.3 * u / norm(u) if normalised else 0.3 * u
    out = v.step(L, w, s, **k)
    close(out.eps, eps)
    close(out.h, grad_of(w + eps, samples(L)))
    close(out.info["sample_weights"], vector(sorted(p, reverse=True)))
    assert float(out.info["ess"]) == pytest.approx(1 / sum(x * x for x in p))
    if lam == 0:
        close(out.h, get("sam").step(L, w, (), rho=k["rho"]).h if normalised else out.h)


def test_rw_sams_probe_has_samples_whose_loss_falls_among_its_sharpest() -> None:
    """So that a lost absolute value shows: some of the losses fall, and the weights of those are not the smallest."""
    _, L, w, _, _ = start("rwsam")
    moved = [float(loss_of(w + 0.1 / math.sqrt(66) * L.noise[0], x, y) - loss_of(w, x, y)) for x, y in samples(L)]
    falls = [abs(m) for m in moved if m < 0]
    assert falls
    assert max(falls) > sorted(map(abs, moved))[len(moved) // 2]


@pytest.mark.parametrize("scale", ["raw", "standardised"])
def test_rw_sams_exact_mode_weighs_by_the_norms_of_the_samples_gradients(scale) -> None:
    v, L, w, s, k = start("rwsam", norms="exact", scale=scale, lam=0.7)
    grads = [grad_of(w, [one]) for one in samples(L)]
    norms = [norm(g) for g in grads]
    if scale == "standardised":
        mean = sum(norms) / 24
        sd = math.sqrt(sum((n - mean) ** 2 for n in norms) / 24)
        norms = [(n - mean) / sd for n in norms]
    p = softmax([0.7 * n for n in norms])
    u = sum(a * g for a, g in zip(p, grads, strict=True))
    close(v.step(L, w, s, **k).eps, 0.3 * u / norm(u))


# LightSAM and AdaSAM


@pytest.mark.parametrize("light", ["I", "II", "III"])
@pytest.mark.parametrize("per_root_d", [True, False])
def test_lightsam_coordinate_by_coordinate_over_three_steps(light, per_root_d) -> None:
    chosen = {"beta1": 0.8, "beta2": 0.95, "eta_light": 0.5, "per_root_d": per_root_d}
    v, L, w, s, k = start("lightsam", light=light, **chosen)
    d = len(w)
    u, q, m = [1e-16] * d, [1e-16] * d, [0.0] * d
    rho = 0.3 / math.sqrt(d) if per_root_d and light != "I" else 0.3
    for t in (1, 2, 3):

        def grown(before, x, light=light):
            if light == "I":
                return [b + sum(y * y for y in x) for b in before]
            if light == "II":
                return [b + y * y for b, y in zip(before, x, strict=True)]
            return [0.95 * b + 0.05 * y * y for b, y in zip(before, x, strict=True)]

        third = light == "III"
        g = grad_of(w, samples(L)).tolist()
        u = grown(u, g)
        eps = vector([rho * x / math.sqrt(a / (1 - 0.95**t if third else 1)) for x, a in zip(g, u, strict=True)])
        up = grad_of(w + eps, samples(L)).tolist()
        q = grown(q, up)
        m = [0.8 * a + 0.2 * x for a, x in zip(m, up, strict=True)]
        top = [a / (1 - 0.8**t) for a in m] if third else up
        h = [0.5 * a / math.sqrt(b / (1 - 0.95**t if third else 1)) for a, b in zip(top, q, strict=True)]
        out = v.step(replace(L, t=t - 1), w, s, **k)
        close(out.eps, eps, 1e-6)
        close(out.h, vector(h), 1e-5)
        w, s = w - 0.1 * out.h, out.state


def test_adasam_over_three_steps() -> None:
    v, L, w, s, k = start("adasam", beta1=0.8, beta2=0.95, scale_lr=0.5)
    d = len(w)
    m, q, top = [0.0] * d, [0.0] * d, [1e-16] * d
    for t in range(3):
        g = grad_of(w, samples(L))
        up = grad_of(w + 0.3 * g / norm(g), samples(L)).tolist()
        m = [0.8 * a + 0.2 * x for a, x in zip(m, up, strict=True)]
        q = [0.95 * a + 0.05 * x * x for a, x in zip(q, up, strict=True)]
        top = [max(a, b) for a, b in zip(top, q, strict=True)]
        out = v.step(replace(L, t=t), w, s, **k)
        close(out.h, vector([0.5 * a / math.sqrt(b) for a, b in zip(m, top, strict=True)]), 1e-5)
        w, s = w + 0.05 * out.h, out.state  # upwards too, so that the largest square is not always the last


# Eigen-SAM


@pytest.mark.parametrize("sign", [1, -1])
def test_eigen_sam_turns_towards_the_eigenvector_on_the_side_of_the_gradient(sign) -> None:
    v, L, w, s, k = start("eigensam", align=0.7)
    g = grad_of(w, samples(L))
    top = torch.randn(len(w), generator=torch.Generator().manual_seed(2)).double()
    top = sign * top / norm(top)
    inner = sum(a * b for a, b in zip(top.tolist(), g.tolist(), strict=True))
    u = g / norm(g)
    side = 1.0 if inner > 0 else -1.0
    eps = 0.3 * (u + 0.7 * side * (top - inner / norm(g) * u))
    out = v.step(replace(L, t=3), w, s._replace(v=top), **k)  # between refreshes
    close(out.eps, eps)
    close(out.h, grad_of(w + eps, samples(L)))
    close(out.state.v, top)
    assert float(out.eps @ g) > 0


def test_eigen_sam_refreshes_in_the_first_step_and_every_so_many() -> None:
    v, L, w, s, k = start("eigensam", turns=3, powers=2)
    seen = []
    for t in range(7):
        s = v.step(replace(L, t=t), w, s, **k).state
        seen.append(s.v)
        w = w * 0.9
    assert [torch.equal(a, b) for a, b in itertools.pairwise(seen)] == [True, True, False, True, True, False]
    H = torch.autograd.functional.hessian(lambda w: sum(loss_of(w, x, y) for x, y in samples(L)) / 24, w / 0.9)
    x = L.noise[0] / norm(L.noise[0])
    for _ in range(2):
        x = H @ x / norm(H @ x)
    close(seen[6], x, 1e-7)


# SL-SAM


def next_probabilities(p, on, norms, s):
    """The rule of SL-SAM's code, tensor by tensor."""
    P, budget = len(p), s * len(p)
    hats = {i: -((norms[i] / p[i]) ** 2) for i in on}
    least = min(hats.values())
    w = [p[i] * math.exp(-0.001 * (hats[i] - least) / p[i]) if i in on else p[i] for i in range(P)]
    order = sorted(range(P), key=lambda i: -w[i])
    new = [0.0] * P
    for j, i in enumerate(order):
        rest = max(sum(w[k] for k in order[j:]), 1e-5)
        if w[i] * budget <= rest:
            for k in order[j:]:
                new[k] = w[k] * budget / rest
            break
        new[i], budget = 1.0, budget - 1
    return [min(1.0, max(1e-8, x)) for x in new]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_sl_sam_over_steps_perturbs_and_moves_the_tensors_drawn_and_prefers_large_gradients(keep, scale) -> None:
    v, L, w, s, k = start("slsam", keep=keep)
    L = replace(L, losses_fn=lambda w, batch, f=L.losses_fn: scale * f(w, batch))
    p = [keep] * 4
    generator = torch.Generator().manual_seed(1)
    starts = [sum(SIZES[:i]) for i in range(4)]
    for t in range(12):
        z = torch.rand(1, len(w), generator=generator).double()
        out = v.step(replace(L, t=t, noise=z), w, s, **k)
        on = [i for i in range(4) if bool(out.moves[starts[i]])]
        assert on
        mask = torch.cat([torch.full((n,), float(i in on), dtype=torch.float64) for i, n in enumerate(SIZES)])
        g = mask * scale * grad_of(w, samples(L))
        eps = 0.3 * g / norm(g)
        close(out.eps, eps)
        close(out.h, mask * scale * grad_of(w + eps, samples(L)))
        close(out.moves, mask)
        p = next_probabilities(p, on, [norm(part) for part in g.split(SIZES)], keep)
        close(
            out.state.p,
            torch.cat([torch.full((n,), x, dtype=torch.float64) for x, n in zip(p, SIZES, strict=True)]),
            1e-7,
        )
        assert sum(p) <= 4 * keep + 1e-6
        w, s = w - 0.05 * out.h / scale, out.state
        p = [float(s.p[i]) for i in starts]


@pytest.mark.parametrize(
    "p", [[0.5, 0.5, 0.5, 0.5], [0.9, 0.05, 0.3, 0.02], [0.01, 0.02, 0.01, 0.03], [1.0, 0.2, 0.4, 1e-8]]
)
def test_sl_sam_draws_each_set_as_often_as_independent_draws_that_are_repeated_until_one_is_drawn(p) -> None:
    v, L, w, s, k = start("slsam", rho=0.0)
    n = 20_000
    noise = torch.rand(n, len(w), generator=torch.Generator().manual_seed(0)).double()
    s = s._replace(p=torch.cat([torch.full((m,), x, dtype=torch.float64) for x, m in zip(p, SIZES, strict=True)]))
    starts = [sum(SIZES[:i]) for i in range(4)]

    def on(z):
        return v.step(replace(L, t=1, noise=z[None]), w, s, **k).moves[torch.tensor(starts)]

    rows = vmap(on, chunk_size=2000)(noise).int().tolist()
    some = 1 - math.prod(1 - x for x in p)
    for which in itertools.product((0, 1), repeat=4):
        if not any(which):
            assert which not in set(map(tuple, rows))
            continue
        q = math.prod(x if i else 1 - x for x, i in zip(p, which, strict=True)) / some
        seen = sum(tuple(r) == which for r in rows) / n
        assert abs(seen - q) <= 4.5 * math.sqrt(q * (1 - q) / n) + 1e-4, (which, seen, q)


def stepped(make, moves_of):
    """Six steps of a base optimiser on flat w in two tensors; where `moves_of(t)` is 0, a tensor's gradient is None."""
    torch.manual_seed(0)
    parts = [torch.nn.Parameter(torch.randn(n).double()) for n in (3, 2)]
    w0, grads = torch.cat([p.detach() for p in parts]), torch.randn(6, 5).double()
    optimiser = make(parts)
    for t in range(6):
        for p, g, on in zip(parts, grads[t].split([3, 2]), moves_of(t), strict=True):
            p.grad = g.clone() if on else None
        optimiser.step()
    return w0, grads, torch.cat([p.detach() for p in parts])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (base.sgd(0.9, True, 0.1), lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.1)),
        (base.adamw(weight_decay=0.3), lambda p: torch.optim.AdamW(p, lr=0.2, weight_decay=0.3)),
    ],
)
def test_a_tensor_that_does_not_move_is_to_the_base_optimiser_one_without_a_gradient(ours, theirs) -> None:
    def on(t):
        return (t in (1, 2, 5), t in (0, 2, 3))

    w, grads, expected = stepped(theirs, on)
    memory = ours.init(w)
    for t in range(6):
        moves = torch.tensor([float(on(t)[0])] * 3 + [float(on(t)[1])] * 2).double()
        w, memory = ours.descend(w, base.Descent(grads[t], moves=moves), memory, 0.2)
    close(w, expected, 1e-7)


# WSAM


@pytest.mark.parametrize("coupling", ["decoupled", "coupled"])
def test_wsam_in_either_form_under_momentum_and_weight_decay(coupling) -> None:
    v, L, w, s, k = start("wsam", coupling=coupling, gamma=0.8)
    optimiser, v2, buffer = base.sgd(0.9, weight_decay=0.01), w.clone(), torch.zeros_like(w)
    memory = optimiser.init(w)
    for _ in range(4):
        g = grad_of(v2, samples(L))
        sharp = 4 * (grad_of(v2 + 0.3 * g / norm(g), samples(L)) - g)
        h = g if coupling == "decoupled" else g + sharp
        buffer = 0.9 * buffer + h + 0.01 * v2
        v2 = v2 - 0.05 * buffer - (0.05 * sharp if coupling == "decoupled" else 0)
        out = v.step(L, w, s, **k)
        w, memory = optimiser.descend(w, base.Descent.of(out), memory, 0.05)
        close(w, v2)


def test_wsam_is_decoupled_unless_one_says_so_and_its_descent_is_then_the_coupled_gradient() -> None:
    v, L, w, s, k = start("wsam")
    assert k["coupling"] == "decoupled"
    both = [v.step(L, w, s, **k | {"coupling": c}) for c in ("decoupled", "coupled")]
    close(both[0].h, grad_of(w, samples(L)))
    close(both[0].descent, both[1].descent)


# ESAM


def mask_noise(L, values):
    """Noise whose first number of each tensor is that of `values`."""
    return replace(
        L, noise=torch.cat([torch.full((n,), x, dtype=torch.float64) for x, n in zip(values, SIZES, strict=True)])[None]
    )


@pytest.mark.parametrize(("values", "some"), [((0.7,) * 4, False), ((0.7, 0.7, 0.59, 0.7), True), ((0.6,) * 4, False)])
def test_esam_that_keeps_no_tensor_descends_the_whole_batch_and_else_the_worst_half(values, some) -> None:
    v, L, w, s, k = start("esam")
    L = mask_noise(replace(L, t=1), values)
    out = v.step(L, w, s, **k)
    g = grad_of(w, samples(L))
    if not some:
        assert float(out.eps.abs().max()) == 0
        close(out.h, g)
        return
    kept = torch.cat(
        [torch.full((n,), float(x < 0.6), dtype=torch.float64) for x, n in zip(values, SIZES, strict=True)]
    )
    eps = 0.3 / 0.6 * kept * g / norm(kept * g)
    close(out.eps, eps)
    rises = [float(loss_of(w + eps, x, y)) - float(loss_of(w, x, y)) for x, y in samples(L)]
    worst = sorted(range(24), key=lambda i: -rises[i])[:12]
    close(out.h, grad_of(w + eps, [samples(L)[i] for i in worst]))


def test_esam_keeps_all_tensors_in_the_first_step() -> None:
    v, L, w, s, k = start("esam")
    out = v.step(mask_noise(L, (0.9,) * 4), w, s, **k)
    g = grad_of(w, samples(L))
    close(out.eps, 0.3 / 0.6 * g / norm(g))


# F-SAM


@pytest.mark.parametrize(("dtype", "edge"), [(torch.float64, 2.0**-26), (torch.float32, 2.0**-11.5)])
@pytest.mark.parametrize("order", ["code", "paper"])
def test_f_sam_falls_back_to_the_gradient_where_half_the_digits_are_lost(dtype, edge, order) -> None:
    v, L, w, s, k = start("fsam", order=order, memory=0.5)
    L = replace(L, t=1, batch=(L.batch[0].to(dtype), L.batch[1]))
    w = w.to(dtype)
    L = replace(L, losses_fn=lambda w, batch: (w @ torch.arange(1.0, 67).to(w) / 100).expand(len(batch[1])))
    g = L.grad(w)
    other = torch.zeros_like(g)
    other[0] = g.norm()
    share = 1 if order == "code" else 0.5  # of the mean's distance that is left of d
    for times, along in ((0.5, False), (2.0, True)):
        mean = (g - other * (times * edge / share)).to(dtype)
        eps = v.step(L, w, s._replace(mean=mean), **k).eps
        cosine = float(eps @ (other if along else g) / (eps.norm() * g.norm()))
        assert cosine > (0.9 if along else 0.999999), (times, cosine)


def test_f_sam_on_a_constant_gradient_in_single_precision_goes_along_it() -> None:
    v, L, w, s, k = start("fsam")
    w = w.float()
    L = replace(L, batch=(L.batch[0].float(), L.batch[1]))
    s = v.init(w)
    for t in range(30):
        out = v.step(replace(L, t=t), w, s, **k)
        s = out.state
        assert float(out.eps @ out.g / (out.eps.norm() * out.g.norm())) > 0.9999, t


@pytest.mark.parametrize("order", ["code", "paper"])
def test_f_sam_over_three_steps(order) -> None:
    v, L, w, s, k = start("fsam", order=order, sigma=0.7)
    mean = None
    for t in range(3):
        part = replace(L, t=t, batch=tuple(a[8 * t : 8 * t + 8] for a in L.batch))
        g = grad_of(w, samples(part))
        before = g if mean is None else mean
        after = 0.6 * before + 0.4 * g
        d = g - 0.7 * (before if order == "code" else after) if t else g
        mean = after
        out = v.step(part, w, s, **k)
        close(out.eps, 0.3 * d / norm(d))
        close(out.h, grad_of(w + out.eps, samples(part)))
        w, s = w - 0.1 * out.h, out.state


# SSAM-D and SSAM-F


def live_of(mask):
    return {i for i, x in enumerate(mask.tolist()) if x}


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0, 25.0])
@pytest.mark.parametrize("sparsity", [0.5, 0.2, 0.9])
def test_ssam_d_perturbs_with_the_old_mask_and_then_drops_and_grows(rate, sparsity) -> None:
    v, L, w, s, k = start("ssamd", sparsity=sparsity, refresh=2, drop=0.6)
    d = len(w)
    live = round((1 - sparsity) * d)
    generator = torch.Generator().manual_seed(1)
    mask = None
    for t in range(5):
        z = torch.rand(1, d, generator=generator).double()
        g, draws = grad_of(w, samples(L)), z[0].tolist()
        if mask is None:
            mask = set(sorted(range(d), key=lambda i: -draws[i])[:live])
        eps = [0.3 * float(x) / norm(g) if i in mask else 0.0 for i, x in enumerate(g)]
        out = v.step(replace(L, t=t, noise=z, rate=rate), w, s, **k)
        close(out.eps, vector(eps))
        close(out.h, grad_of(w + out.eps, samples(L)))
        if t % 2 == 0:
            moved = min(round(0.6 * min(rate, 1.0) * live), d - live)
            kept = set(sorted(mask, key=lambda i: -abs(float(g[i])))[: live - moved])
            grown = set(sorted(set(range(d)) - mask, key=lambda i: -draws[i])[:moved])
            if float(g.abs().min()) > 0:
                assert live_of(out.state.mask) == kept | grown
            mask = kept | grown
        assert len(live_of(out.state.mask)) == live
        mask = live_of(out.state.mask)  # of dead units' gradients, all 0, any may be dropped
        w, s = w - 0.1 * out.h, out.state


def test_ssam_d_ranks_small_gradients_in_single_precision() -> None:
    v, L, w, s, k = start("ssamd", drop=0.5)
    size = 1e-9 * torch.arange(1, len(w) + 1, dtype=torch.float32)
    L = replace(L, t=16, batch=(L.batch[0].float(), L.batch[1]), noise=L.noise.float())
    L = replace(L, losses_fn=lambda w, batch: (w @ size).expand(len(batch[1])))
    mask = (torch.arange(len(w)) % 2).float()  # 33 of 66 live; 16 of them, the smallest, go
    new = v.step(L, w.float(), s._replace(mask=mask), **k).state.mask
    assert live_of(mask) - live_of(new) == set(sorted(live_of(mask))[:16])


def fisher(w, batch):
    return sum(grad_of(w, [one]) ** 2 for one in batch) / len(batch)


@pytest.mark.parametrize("m", [24, 4])
@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_ssam_f_masks_all_micro_batches_by_the_mean_score_of_the_last_refresh(m, sparsity) -> None:
    v, L, w, s, k = start("ssamf", sparsity=sparsity, refresh=2)
    live, mask = round((1 - sparsity) * len(w)), set()
    if not sparsity:
        mask = set(range(len(w)))
    for t in range(4):
        out = per_micro_batch(v.step, m)(replace(L, t=t), w, s, **k)
        parts = [samples(L)[i : i + m] for i in range(0, 24, m)]
        hs = []
        for part, eps in zip(parts, out.eps, strict=True):
            g = grad_of(w, part)
            on = torch.tensor([float(i in mask) for i in range(len(w))]).double()
            close(eps, 0.3 * on * g / norm(g))
            hs.append(grad_of(w + eps, part))
        close(out.h, sum(hs) / len(hs))
        if t % 2 == 0:
            score = fisher(w, samples(L)).tolist()
            mask = set(sorted(range(len(w)), key=lambda i: (-score[i], i))[:live])
        w, s = w - 0.1 * out.h, out.state


# GSAM


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.2), (0.25, 0.4), (1.0, 1.0)])
def test_gsam_has_rho_min_at_the_smallest_rate_and_rho_at_the_largest(rate, share) -> None:
    v, L, w, s, k = start("gsam", floor=0.2, gap=0.6)
    g = grad_of(w, samples(L))
    eps = share * 0.3 * g / norm(g)
    up = grad_of(w + eps, samples(L))
    inner = sum(a * b for a, b in zip(g.tolist(), up.tolist(), strict=True))
    out = v.step(replace(L, rate=rate), w, s, **k)
    close(out.eps, eps)
    close(out.h, up - 0.6 * (g - inner / norm(up) ** 2 * up))


@pytest.mark.parametrize("down", [0.0, 0.3, 1.0])
def test_saner_shortens_what_sam_has_shortened_and_nothing_else(down) -> None:
    v, L, w, s, k = start("saner", down=down)
    g = grad_of(w, samples(L))
    up = grad_of(w + 0.3 * g / norm(g), samples(L))
    kinds, h = set(), []
    for a, b in zip(g.tolist(), up.tolist(), strict=True):
        kinds.add("longer" if b / a >= 1 else "shorter" if b / a > 0 else "turned")
        h.append((1 - down) * b if 0 < b / a < 1 else b)
    assert kinds == {"longer", "shorter", "turned"}
    close(v.step(L, w, s, **k).h, torch.tensor(h, dtype=torch.float64))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_delta_sam_weighs_samples_by_how_fast_their_gradient_changes_along_one_gaussian(power) -> None:
    v, L, w, s, k = start("deltasam", power=power)
    z, delta = L.noise[0], 0.1 / math.sqrt(len(w))
    assert v.law == "normal"
    assert len(set(z.abs().tolist())) == len(z)
    change = []
    for x, y in samples(L):
        ends = [float(loss_of(w + side * delta * z, x, y)) for side in (1, 0, -1)]
        change.append(abs(ends[0] - 2 * ends[1] + ends[2]))
    assert max(change) > 3 * min(change)
    p = [c**power / sum(c**power for c in change) for c in change]
    u = grad_of(w, samples(L), p)
    out = v.step(L, w, s, **k)
    close(out.eps, 0.3 * u / norm(u))
    close(out.h, grad_of(w + out.eps, samples(L)))
    close(out.info["ess"], vector([1 / sum(q * q for q in p)])[0])


def test_delta_sam_is_sam_where_no_gradient_changes() -> None:
    v, L, w, s, k = start("deltasam", power=2.0)
    still = replace(L, losses_fn=lambda w, batch: batch[0][:, 0].double() * w[3] + w[5])
    out = v.step(still, w, s, **k)
    close(out.info["ess"], torch.tensor(float(L.n), dtype=torch.float64))


@pytest.mark.parametrize("share", [0.25, 0.999, 1.001, 4.0])
def test_le_sams_loss_rises_by_what_it_may_until_the_cap_on_the_length_is_reached(share) -> None:
    v, L, w, s, k = start("lesam")
    g = grad_of(w, samples(L))
    out = v.step(L, w, s, **{**k, "rise": share * 0.3 * norm(g)})
    up = sum(a * b for a, b in zip(out.eps.tolist(), g.tolist(), strict=True))
    close(vector([up]), vector([min(share, 1.0) * 0.3 * norm(g)]))
    close(vector([norm(out.eps)]), vector([min(share, 1.0) * 0.3]))
    close(out.h, grad_of(w + out.eps, samples(L)))


@pytest.mark.parametrize("less", [0.0, 0.5, 1.0, 2.0])
def test_x_sam_takes_out_the_part_along_the_eigenvector_whichever_its_sign(less) -> None:
    v, L, w, s, k = start("xsam", less=less, powers=300)
    g = grad_of(w, samples(L))
    up = grad_of(w + 0.3 * g / norm(g), samples(L))
    H = torch.autograd.functional.hessian(lambda a: sum(loss_of(a, x, y) for x, y in samples(L)) / L.n, w)
    values, vectors = torch.linalg.eigh(H)
    top = vectors[:, values.abs().argmax()]
    along = sum(a * b for a, b in zip(up.tolist(), top.tolist(), strict=True))
    assert abs(along) > 0.05 * norm(up)
    for start_ in (L.noise, -L.noise):
        step = v.step(replace(L, noise=start_), w, s, **k)
        close(step.h, up - less * along * top, 1e-6)
        close(step.eps, 0.3 * g / norm(g))


def test_x_sam_finds_its_eigenvector_every_so_many_steps_and_keeps_it_between() -> None:
    v, L, w, s, k = start("xsam", turns=3, powers=2)
    first = v.step(L, w, s, **k).state
    kept = v.step(replace(L, t=2), w, first, **k).state
    anew = v.step(replace(L, t=3, noise=-L.noise.flip(-1)), w, first, **k).state
    close(kept.v, first.v)
    assert float((anew.v - first.v).abs().max()) > 1e-3


# Those that are told by their formula alone


def naive(key, w, batch, t=0):
    """eps and h of a first step at rho = 0.3 and the other defaults."""
    g = grad_of(w, batch)
    n = norm(g)
    eps = {
        "sam": 0.3 * g / n, "usam": 0.3 * g, "mongesam": 0.3 * g / n / math.sqrt(1 + n * n), "vasso": 0.3 * g / n,
        "unified": 0.3 * (1 - (1 - 1 / (t + 1)) + (1 - 1 / (t + 1)) / n) * g, "looksam": 0.3 * g / n,
    }[key]  # fmt: skip
    return eps, grad_of(w + eps, batch)


@pytest.mark.parametrize("key", ["sam", "usam", "mongesam", "vasso", "unified", "looksam"])
@pytest.mark.parametrize("t", [0, 10, 30])
def test_the_formula_of_a_step_as_it_stands(key, t) -> None:
    v, L, w, s, k = start(key)
    if key == "vasso" and t:
        s = s._replace(mean=grad_of(w, samples(L)))
    out = v.step(replace(L, t=t), w, s, **k)
    eps, h = naive(key, w, samples(L), t)
    close(out.eps, eps)
    close(out.h, h)


@pytest.mark.parametrize("path", ["constant", "1/t"])
def test_unified_sam_on_its_other_paths(path) -> None:
    v, L, w, s, k = start("unified", path=path, l=0.3)
    g = grad_of(w, samples(L))
    for t in (0, 4):
        share = 0.3 if path == "constant" else 1 / (t + 1)
        close(v.step(replace(L, t=t), w, s, **k).eps, 0.3 * (1 - share + share / norm(g)) * g)


@pytest.mark.parametrize("ascents", [1, 3])
def test_multi_step_sam_and_lookbehind_climb_step_by_step(ascents) -> None:
    v, L, w, s, k = start("multisam", ascents=ascents)
    eps = torch.zeros_like(w)
    for _ in range(ascents):
        g = grad_of(w + eps, samples(L))
        eps = eps + 0.3 / ascents * g / norm(g)
    close(v.step(L, w, s, **k).eps, eps)
    v, L, w, s, k = start("lookbehind", behind=ascents, mix=0.7)
    eps, total, g = torch.zeros_like(w), torch.zeros_like(w), grad_of(w, samples(L))
    for _ in range(ascents):
        eps = eps + 0.3 * g / norm(g)
        g = grad_of(w + eps, samples(L))
        total = total + g
    out = v.step(L, w, s, **k)
    close(out.eps, eps)
    close(out.h, 0.7 * total)


def test_looksam_between_refreshes_and_its_projection() -> None:
    v, L, w, s, k = start("looksam", period=3, push=0.6)
    out = v.step(L, w, s, **k)
    g = grad_of(w, samples(L))
    up = grad_of(w + 0.3 * g / norm(g), samples(L))
    inner = sum(a * b for a, b in zip(g.tolist(), up.tolist(), strict=True))
    across = up - inner / norm(g) ** 2 * g
    close(out.state.across, across)
    s = out.state
    for t in (1, 2):
        out = v.step(replace(L, t=t), w, s, **k)
        close(out.h, g + 0.6 * norm(g) * across / norm(across))
        assert float(out.eps.abs().max()) == 0
    close(v.step(replace(L, t=3), w, s, **k).h, up)


@pytest.mark.parametrize("form", ["weights", "all"])
def test_asam_scales_by_the_weights_and_in_the_authors_form_not_the_biases(form) -> None:
    v, L, w, s, k = start("asam", form=form, eta=0.05)
    T = w.abs().clone()
    if form == "weights":
        for i, part in enumerate(T.split(SIZES)):
            part.copy_(torch.ones_like(part) if len(SHAPES[i]) == 1 else part + 0.05)
    g = grad_of(w, samples(L))
    close(v.step(L, w, s, **k).eps, 0.3 * T * T * g / norm(T * g))


def test_focal_sam_weighs_each_sample_by_the_size_of_its_class() -> None:
    v, L, w, s, k = start("focalsam", focus=2.0, penalty=0.4)
    N = [40, 25, 7]
    L = replace(L, counts=torch.tensor(N))
    c = [(1 - N[int(y)] / 72) ** 2 / 24 for _, y in samples(L)]
    g, g_c = grad_of(w, samples(L)), grad_of(w, samples(L), c)
    eps = 0.3 * g_c / norm(g_c)
    out = v.step(L, w, s, **k)
    close(out.eps, eps)
    close(out.h, g - 0.4 * g_c + 0.4 * grad_of(w + eps, samples(L), c))


def test_momentum_sam_and_vasso_over_three_steps() -> None:
    for key, changed in (("msam", {"mu": 0.8}), ("vasso", {"theta": 0.3})):
        v, L, w, s, k = start(key, **changed)
        kept = None
        for t in range(3):
            part = replace(L, t=t, batch=tuple(a[8 * t : 8 * t + 8] for a in L.batch))
            if key == "vasso":
                g = grad_of(w, samples(part))
                kept = g if kept is None else 0.7 * kept + 0.3 * g
                eps = 0.3 * kept / norm(kept)
            else:
                eps = torch.zeros_like(w) if kept is None else -0.3 * kept / norm(kept)
            h = grad_of(w + eps, samples(part))
            if key == "msam":
                kept = h if kept is None else 0.8 * kept + h
            out = v.step(part, w, s, **k)
            close(out.eps, eps)
            close(out.h, h)
            w, s = w - 0.1 * out.h, out.state


@pytest.mark.parametrize("key", ["nsam", "nusam"])
def test_n_sam_and_n_usam_descend_the_batch_up_the_gradient_of_the_full_data(key) -> None:
    v, L, w, s, k = start(key)
    g = grad_of(w, samples(L.full))
    eps = 0.3 * g / (norm(g) if key == "nsam" else 1)
    out = v.step(L, w, s, **k)
    close(out.eps, eps)
    close(out.h, grad_of(w + eps, samples(L)))
