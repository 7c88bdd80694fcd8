"""Every loss against torch's own, autograd and dense Hessians in float64, and what is measured with it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_dash.maths import curvature, flat, lanczos, loss, noise, second_opinion
from tests.helpers import labels, mlp

ROOT = Path(__file__).parents[2]
THEIRS = {
    "cross_entropy": nn.CrossEntropyLoss(),
    "mse": nn.MSELoss(),
    "bce": nn.BCEWithLogitsLoss(),
}


@pytest.fixture(params=loss.LOSSES)
def of(request) -> loss.Loss:
    return loss.LOSSES[request.param]


def pair(of: loss.Loss, n: int = 6, C: int = 3):
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    return 2 * torch.randn(n, C, generator=g, dtype=torch.float64), labels(of, n, C=C)


def test_the_mean_of_the_values_is_torchs_loss_also_where_runs_are_stacked(of) -> None:
    out, y = pair(of)
    torch.testing.assert_close(of(out, y).mean(), THEIRS[of.key](out, y))
    stacked = of.values(torch.stack([out, out.flip(0)]), torch.stack([y, y.flip(0)]))
    torch.testing.assert_close(stacked, torch.stack([of(out, y), of(out, y).flip(0)]))


def test_the_error_and_the_second_derivative_are_those_of_autograd(of) -> None:
    out, y = pair(of)
    total = lambda o: of(o, y).sum()  # noqa: E731
    torch.testing.assert_close(of.error(out, of.targets(y, out)), torch.func.grad(total)(out))
    H = torch.stack([torch.func.hessian(lambda o, i=i: of(o[None], y[i : i + 1])[0])(out[i]) for i in range(len(out))])
    u = torch.randn_like(out)
    torch.testing.assert_close(of.curved(of.mean(out), u), (H @ u[:, :, None])[:, :, 0])
    found = sum(c[:, None, None] * r[:, :, None] * r[:, None] for c, r in of.factors(of.mean(out)))
    torch.testing.assert_close(found, H)


def test_what_is_asked_of_a_loss_changes_neither_outputs_nor_labels(of) -> None:
    out, y = pair(of)
    before = out.clone(), y.clone()
    of.error(out, of.targets(y, out)).zero_()
    of.curved(of.mean(out), out).zero_()
    for c, r in of.factors(of.mean(out)):
        c + r.zero_().sum()
    assert torch.equal(out, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize("key", ["mse", "bce"])
def test_one_output_takes_labels_without_a_last_dimension(key) -> None:
    of = loss.get(key)
    out, y = pair(of, C=1)
    torch.testing.assert_close(of(out, y[:, 0]), of(out, y))
    torch.testing.assert_close(of.targets(y[:, 0], out), y)
    of.check(out, y[:, 0])


def test_the_scores_are_accuracy_root_mean_square_and_the_share_of_right_outputs() -> None:
    out = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0], [-1.0, -2.0]])
    ce, mse, bce = (loss.get(key) for key in ("cross_entropy", "mse", "bce"))
    assert ce.score_of(float(ce.score(out, torch.tensor([0, 0, 0, 1])).double().mean())) == 0.5
    y = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert bce.score_of(float(bce.score(out, y).mean())) == 6 / 8
    far = torch.tensor([[3.0, 1.0], [0.0, 1.0], [3.0, -1.0], [-1.0, 1.0]])  # off by 1 and by 3, of 8 numbers
    assert mse.score_of(float(mse.score(out, far).mean())) == pytest.approx((10 / 8) ** 0.5)
    assert [each.shown.key for each in (ce, mse, bce)] == ["acc", "error_RMSE", "acc"]
    assert (mse.shown.of(4.0), ce.shown.of(0.5)) == (2, 0.5)


@pytest.mark.parametrize(
    ("key", "y", "why"),
    [
        ("cross_entropy", torch.zeros(6), "takes class labels y .*y is .6,. float32: expected whole numbers"),
        ("cross_entropy", torch.zeros(6, 3, dtype=torch.int64), "expected whole numbers, one for each sample"),
        ("cross_entropy", torch.tensor([0, 1, 2, 3, 0, 0]), "from 0 to 3; expected every label < C"),
        ("cross_entropy", torch.tensor([0, 1, 2, -1, 0, 0]), "from -1 to 2"),
        ("mse", torch.zeros(6, dtype=torch.int64), r"y.float\(\) makes them"),
        ("mse", torch.zeros(6), r"expected the shape \(6, 3\)$"),
        ("bce", torch.full((6, 3), 1.01), r"numbers y in \[0, 1\].*from 1.01 to 1.01"),
        ("bce", torch.full((6, 3), -0.01), "from -0.01 to -0.01"),
        ("bce", torch.zeros(6, 2), r"expected the shape \(6, 3\)"),
    ],
)
def test_labels_that_a_loss_does_not_take_are_refused_saying_what_it_takes(key, y, why) -> None:
    with pytest.raises(ValueError, match=why):
        loss.get(key).check(torch.zeros(6, 3), y)


def test_labels_that_a_loss_takes_pass_also_at_the_edge(of) -> None:
    out, y = pair(of)
    of.check(out, y)
    with pytest.raises(ValueError, match="unknown loss 'hinge'; known: cross_entropy, mse, bce"):
        loss.get("hinge")


@pytest.fixture
def small(of):
    """A tanh network of 43 parameters, 30 samples, its dense Hessian and per-sample gradients, by autograd alone."""
    torch.manual_seed(0)
    module, x, y = mlp(4, 5, 3, activation=nn.Tanh), torch.randn(30, 4).double(), labels(of, 30)
    w = flat.flatten(module)

    def mean(v):
        a, b, c, d = v.split([20, 5, 15, 3])
        return THEIRS[of.key](F.linear(torch.tanh(F.linear(x, a.view(5, 4), b)), c.view(3, 5), d), y)

    def gradient(i):
        module.zero_grad()
        THEIRS[of.key](module(x[i : i + 1]), y[i : i + 1]).backward()
        return torch.cat([p.grad.flatten() for p in module.parameters()])

    grads = torch.stack([gradient(i) for i in range(30)])
    module.zero_grad()
    return module, w, (x, y), torch.func.hessian(mean)(w), grads


def test_products_eigenvalue_trace_and_noise_equal_the_dense_ones(of, small) -> None:
    module, w, batch, H, grads = small
    losses = flat.losses_fn(module, of)
    product = curvature.hvp(losses, w, batch)
    V = torch.randn(3, len(w)).double()
    torch.testing.assert_close(product(V), V @ H)
    top = lanczos.top_eigenvalues(product, w, torch.Generator().manual_seed(0), tol=1e-8)[0]
    assert top.value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-8)
    outputs = flat.logits(module)
    J = torch.func.jacrev(lambda v: outputs(v, batch[0]))(w)
    A = sum(c[:, None, None] * r[:, :, None] * r[:, None] for c, r in of.factors(of.mean(outputs(w, batch[0]))))
    G = torch.einsum("ncd,nce,nef->df", J, A, J) / 30
    ggn = curvature.ggn_trace(of, outputs, w, batch)
    assert ggn.value == pytest.approx(float(G.trace()), rel=1e-10)
    split = curvature.split_trace(of, outputs, w, batch, ggn, torch.Generator().manual_seed(0), probes=400)
    assert abs(split.value - float(H.trace())) < 4 * split.stderr
    covariance = torch.cov(grads.T)
    assert noise.tr_V(losses, w, batch)[1].value == pytest.approx(float(covariance.trace()), rel=1e-10)


def test_a_second_opinion_is_of_the_same_loss(of, small) -> None:
    module, w, batch, H, _ = small
    found = second_opinion.trace(module, of, w, batch, probes=200)
    assert abs(found.value - float(H.trace())) < 4 * found.stderr


def test_the_trace_of_a_relu_network_is_exact(of) -> None:
    torch.manual_seed(1)
    module, x, y = mlp(4, 6, 5, 3), torch.randn(30, 4).double(), labels(of, 30)
    w, losses = flat.flatten(module), flat.losses_fn(module, of)
    H = torch.func.hessian(lambda v: losses(v, (x, y)).mean())(w)
    assert flat.piecewise_linear(module)
    assert curvature.ggn_trace(of, flat.logits(module), w, (x, y)).value == pytest.approx(float(H.trace()), rel=1e-10)


@pytest.mark.parametrize(
    ("key", "out", "y", "expected"),
    [
        ("mse", [1.0, 3.0], [2.0, 3.0], [1.0, 0.0]),
        ("mse", [[[1.0, 3.0], [0.0, 0.0]]], [[[2.0, 3.0], [0.0, 1.0]]], [0.5]),
        ("bce", [-1.0, 2.0, 0.5], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]),
        ("cross_entropy", [[[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]]], [[1, 1, -100]], [0.5]),
        ("token_cross_entropy", [[[0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]], [[1, 1, -100]], [0.5]),
    ],
)
def test_the_score_of_outputs_that_are_not_one_row_a_sample_is_a_mean_over_them(key, out, y, expected) -> None:
    out, y = torch.tensor(out), torch.tensor(y)
    of = loss.SEQUENCES[key] if key in loss.SEQUENCES else loss.per_sample(loss.get(key), out)
    assert of.shown.values(out, y).tolist() == expected
    assert (of.shown.key, of.shown.of(0.25)) == (("error_RMSE", 0.5) if key == "mse" else ("acc", 0.25))


def test_which_loss_it_is_stands_in_one_file() -> None:
    """But for the softmax of a variant's weights over samples or layers, and of attention, which is another thing."""
    told = {"softmax", "log_softmax", "cross_entropy", "binary_cross_entropy_with_logits", "one_hot", "mse_loss"}
    told |= {"CrossEntropyLoss", "MSELoss", "BCEWithLogitsLoss"}

    def names(path: Path) -> set[str]:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        return {n.attr for n in nodes if isinstance(n, ast.Attribute)} | {
            n.id for n in nodes if isinstance(n, ast.Name)
        }

    found = {p.relative_to(ROOT / "sam_dash").as_posix(): told & names(p) for p in (ROOT / "sam_dash").rglob("*.py")}
    assert found.pop("problems/networks.py") == {"softmax"}
    assert {path for path, used in found.items() if used and not path.startswith("variants/")} == {"maths/loss.py"}
