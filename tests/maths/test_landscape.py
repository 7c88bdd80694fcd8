"""Slices, rounding and noise, against networks whose parameters are written one by one."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from sam_dash.maths import curvature, lanczos, landscape
from sam_dash.maths.flat import Layout, flatten, logits, losses_fn
from sam_dash.maths.landscape import Around, filter_normalised, rounded
from sam_dash.maths.loss import CROSS_ENTROPY, get
from sam_dash.maths.samples import Stream, cut


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def convolved() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 9, 4)).double()
    return model, torch.randn(30, 2, 5, 5).double(), torch.randint(0, 4, (30,))


def by_hand(model: nn.Module, v: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """The loss of every sample, one at a time, of a copy that has the weights v."""
    other = copy.deepcopy(model)
    nn.utils.vector_to_parameters(v, other.parameters())
    with torch.no_grad():
        outs = [other(x[i : i + 1]) for i in range(len(x))]
        losses = torch.stack([-out.log_softmax(1)[0, int(c)] for out, c in zip(outs, y, strict=True)])
        right = sum(int(out.argmax() == c) for out, c in zip(outs, y, strict=True)) / len(y)
    return losses, right


def test_the_values_of_a_slice_are_direct_evaluations_with_their_errors_over_samples(convolved) -> None:
    model, x, y = convolved
    w = flatten(model)
    around = Around(logits(model), CROSS_ENTROPY, w, (x, y), CROSS_ENTROPY.shown)
    U = torch.randn(2, len(w)).double()
    at = torch.tensor([[0.0, 0.0], [0.3, -0.2], [-1.0, 0.5]]).double()
    here = by_hand(model, w, x, y)[0]
    for (a, b), found in zip(at.tolist(), around.slice(U, at), strict=True):
        losses, right = by_hand(model, w + a * U[0] + b * U[1], x, y)
        rises = losses - here
        expected = (losses.mean(), losses.std() / 30**0.5, rises.mean(), rises.std() / 30**0.5)
        assert found[:4] == pytest.approx([float(v) for v in expected], abs=1e-12)
        assert found.score == pytest.approx(right)
    assert torch.equal(flatten(model), w)


def test_a_slice_is_that_of_all_samples_in_pieces_and_streams(convolved, monkeypatch) -> None:
    model, x, y = convolved
    w = flatten(model)
    v = w + 0.1 * torch.randn(len(w)).double()
    score = CROSS_ENTROPY.shown
    whole = Around(logits(model), CROSS_ENTROPY, w, (x, y), score).at(v)
    monkeypatch.setattr(landscape, "CHUNK", 7)
    for batch in ((x, y), Stream(lambda: iter(cut((x, y), 11)), [11, 11, 8])):
        assert Around(logits(model), CROSS_ENTROPY, w, batch, score).at(v) == pytest.approx(whole)


def test_a_loss_of_any_kind_has_a_slice_and_no_score_where_it_has_none(convolved) -> None:
    model, x, y = convolved
    w = flatten(model)
    own = Around(logits(model), lambda o, y: o.square().sum(1) * (y + 1), w, (x, y)).at(w)
    assert own.rise == 0
    assert own.rise_stderr == 0
    assert math.isnan(own.score)
    assert own.loss == pytest.approx(float((model(x).detach().square().sum(1) * (y + 1)).mean()))
    one = Around(logits(model), CROSS_ENTROPY, w, (x[:1], y[:1])).at(w + 0.1)
    assert math.isnan(one.stderr)


def test_along_an_eigenvector_a_quadratic_loss_rises_by_half_of_its_eigenvalue() -> None:
    torch.manual_seed(1)
    model = nn.Linear(4, 2).double()
    x, y = torch.randn(40, 4).double(), torch.randn(40, 2).double()
    with torch.no_grad():  # at the least squares solution, where there is no slope
        solved = torch.linalg.lstsq(torch.cat([x, torch.ones(40, 1)], 1), y).solution
        model.weight.copy_(solved[:4].T)
        model.bias.copy_(solved[4])
    loss, w = get("mse"), flatten(model)
    product = curvature.hvp(losses_fn(model, loss), w, (x, y))
    values, U = lanczos.top_pairs(product, w, generator(), k=3, tol=1e-10)
    torch.testing.assert_close(U @ U.T, torch.eye(3).double())
    around = Around(logits(model), loss, w, (x, y))
    for value, u in zip(values, U, strict=True):
        rises = [p.rise for p in around.slice(u[None], torch.tensor([[-0.7], [0.7]]))]
        assert rises == pytest.approx([value.value * 0.49 / 2] * 2, rel=1e-6)


def test_eigenvectors_of_several_runs_and_after_restarts_are_those_of_the_dense_matrix(monkeypatch) -> None:
    torch.manual_seed(0)
    d = 60
    matrices = [q @ torch.diag(torch.linspace(-1, 1, d).double() ** 3 * c) @ q.T
                for c in (1.0, 5.0) for q in [torch.linalg.qr(torch.randn(d, d).double())[0]]]  # fmt: skip
    monkeypatch.setattr(lanczos, "ELEMENTS", 0)  # 2k + 20 vectors, then a restart
    into = torch.empty(2, 2, d).double()
    lanczos.each_top(lanczos.OneByOne([lambda V, A=A: V @ A for A in matrices]), torch.randn(2, d).double(),
                     k=2, tol=1e-8, iterations=500, into=into)  # fmt: skip
    for A, U in zip(matrices, into, strict=True):
        dense = torch.linalg.eigh(A)[1].T.flip(0)[:2]
        assert (U * dense).sum(1).abs().tolist() == pytest.approx([1, 1], abs=1e-6)


def test_a_random_direction_has_the_norm_of_every_filter_and_leaves_biases_and_norm_layers_alone(convolved) -> None:
    model, _, _ = convolved
    w = flatten(model)
    u = filter_normalised(Layout.of(model), w, generator(3))
    other = copy.deepcopy(model)
    nn.utils.vector_to_parameters(u, other.parameters())
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        a, b = p.detach(), q.detach()
        if a.ndim < 2:
            assert not b.any(), name
            continue
        for f in range(len(a)):
            assert float(b[f].norm()) == pytest.approx(float(a[f].norm())), name
            cosine = float((a[f] * b[f]).sum() / a[f].norm() / b[f].norm())
            assert abs(cosine) < 0.9, name
    assert torch.equal(u, filter_normalised(Layout.of(model), w, generator(3)))
    assert not torch.equal(u, filter_normalised(Layout.of(model), w, generator(4)))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rounding_is_torchs_own_quantisation_of_each_tensor(bits, convolved) -> None:
    model = convolved[0].float()
    with torch.no_grad():
        model[1].bias.zero_()
    found = Layout.of(model).unflatten(rounded(Layout.of(model), flatten(model), bits))
    top = 2 ** (bits - 1) - 1
    for name, p in model.named_parameters():
        scale = float(p.detach().abs().max()) / top or 1.0
        theirs = torch.fake_quantize_per_tensor_affine(p.detach(), scale, 0, -top, top)
        torch.testing.assert_close(found[name], theirs)
        assert found[name].unique().numel() <= 2 * top + 1


def test_the_rise_after_noise_is_half_of_the_trace_times_its_variance_and_the_error_is_that_of_the_draws() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    x, y = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    loss, w = get("mse"), flatten(model)
    H = torch.func.hessian(lambda v: losses_fn(model, loss)(v, (x, y)).mean())(w)
    around = Around(logits(model), loss, w, (x, y))
    found = around.noise(0.1, generator(), pairs=400)
    expected = 0.1**2 / 2 * float(H.trace())
    assert abs(found.value - expected) < 3 * found.stderr
    assert found.stderr == pytest.approx(0.1**2 / 2 * float(2 * (H**2).sum()) ** 0.5 / 20, rel=0.2)  # var z'Hz
    assert found.dof == 399
