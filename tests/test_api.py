"""The library face."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sam_dash import api
from tests.helpers import mlp


@pytest.fixture
def problem():
    torch.manual_seed(0)
    return mlp(4, 6, 3), torch.randn(12, 4).double(), torch.randint(0, 3, (12,))


def naive_m_sam(model, x, y, m, rho):
    """Ten naive lines: perturb a copy for each micro-batch, average the gradients."""
    out, eps = [], []
    for i in range(0, len(y), m):
        twin = copy.deepcopy(model)
        nn.functional.cross_entropy(twin(x[i : i + m]), y[i : i + m]).backward()
        g = torch.cat([p.grad.flatten() for p in twin.parameters()])
        w = nn.utils.parameters_to_vector(twin.parameters()).detach()
        nn.utils.vector_to_parameters(w + rho * g / g.norm(), twin.parameters())
        twin.zero_grad()
        nn.functional.cross_entropy(twin(x[i : i + m]), y[i : i + m]).backward()
        out.append(torch.cat([p.grad.flatten() for p in twin.parameters()]))
        eps.append(rho * g / g.norm())
    return torch.stack(out).mean(0), torch.stack(eps)


@pytest.mark.parametrize("m", [1, 3, 4, 12, None])
def test_the_gradient_of_m_sam_equals_ten_naive_lines(problem, m) -> None:
    model, x, y = problem
    step = api.gradient("sam", model, x, y, m=m, rho=0.2)
    h, eps = naive_m_sam(model, x, y, m or 12, 0.2)
    torch.testing.assert_close(step.h, h)
    torch.testing.assert_close(step.eps, eps)


def test_the_model_is_left_as_it_was(problem) -> None:
    model, x, y = problem
    before = copy.deepcopy(model.state_dict())
    api.gradient("rwsam", model, x, y, lam=1.0)
    api.measure(model, x, y, api.QUANTITIES, probes=4, iterations=4)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_n_sam_needs_the_full_data(problem) -> None:
    model, x, y = problem
    with pytest.raises(ValueError, match=r"pass full=\(x_all, y_all\)"):
        api.gradient("nsam", model, x[:4], y[:4], rho=0.1)
    step = api.gradient("nsam", model, x[:4], y[:4], rho=0.1, full=(x, y))
    _, eps = naive_m_sam(model, x, y, 12, 0.1)
    torch.testing.assert_close(step.eps, eps)


def test_measurements_agree_with_the_dense_hessian_and_pyhessian(problem) -> None:
    model, x, y = problem
    found = api.measure(model, x, y, api.QUANTITIES, probes=300)
    params = nn.utils.parameters_to_vector(model.parameters()).detach()

    def loss(w):
        w1, b1, w2, b2 = w.split([24, 6, 18, 3])
        out = nn.functional.linear(torch.relu(nn.functional.linear(x, w1.view(6, 4), b1)), w2.view(3, 6), b2)
        return nn.functional.cross_entropy(out, y)

    H = torch.func.hessian(loss)(params)
    assert found["tr_H"].value == pytest.approx(float(H.trace()), rel=1e-9)
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-4)
    assert abs(found["tr_H_pyhessian"].value - found["tr_H"].value) < 4 * found["tr_H_pyhessian"].stderr
    assert found["lam_max_pyhessian"].value == pytest.approx(found["lam_max"].value, rel=1e-3)
    assert found["tr_V"].budget == 12
    g = torch.func.grad(loss)(params)
    assert found["asc_H"].value == pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-9)
    assert (found["asc_H"].stderr, found["asc_H"].budget) == (0, 12)


def test_a_quantity_does_not_depend_on_which_others_are_asked_for(problem) -> None:
    _, x, y = problem
    model = mlp(4, 6, 3, activation=nn.Tanh)
    together = api.measure(model, x, y, ("lam_max", "tr_H"), probes=8)
    assert api.measure(model, x, y, ("tr_H",), probes=8)["tr_H"] == together["tr_H"]


@pytest.mark.parametrize(
    ("args", "knobs", "message"),
    [
        (("sma",), {}, "unknown variant 'sma'"),
        (("sam",), {"m": 5}, "m = 5 does not divide the batch size B = 12"),
        (("sam",), {"m": 0}, "m = 0"),
        (("sam",), {"rho": -1}, "rho = -1: expected"),
        (("sam",), {"lam": 1}, "SAM has no knob 'lam'"),
        (("rwsam",), {"norms": "exactly"}, "expected one of one-probe, exact"),
    ],
)
def test_bad_arguments_raise_value_errors(problem, args, knobs, message) -> None:
    with pytest.raises(ValueError, match=message):
        api.gradient(*args, *problem, **knobs)


@pytest.mark.parametrize(("part", "word"), [(nn.BatchNorm1d(4), "GroupNorm"), (nn.Dropout(), "set its p to 0")])
def test_a_model_whose_samples_are_not_independent_is_refused(problem, part, word) -> None:
    _, x, y = problem
    model = nn.Sequential(part, nn.Linear(4, 3)).double()
    with pytest.raises(ValueError, match=word):
        api.gradient("sam", model, x, y)
    with pytest.raises(ValueError, match=word):
        api.measure(model, x, y)


def test_bad_data_is_refused_with_what_was_expected(problem) -> None:
    model, x, y = problem
    with pytest.raises(ValueError, match="class labels y"):
        api.gradient("sam", model, x, y.double())
    with pytest.raises(ValueError, match="expected as many labels as inputs"):
        api.measure(model, x, y[:5])
    with pytest.raises(ValueError, match="unknown loss 'hinge'"):
        api.measure(model, x, y, loss="hinge")
    with pytest.raises(ValueError, match="every label < C"):
        api.measure(model, x, y + 5)
    with pytest.raises(ValueError, match="unknown quantity 'trace'"):
        api.measure(model, x, y, ("trace",))
    model[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"'0\.weight' does not require a gradient"):
        api.gradient("sam", model, x, y)


def test_measurements_of_float32_use_float32_and_leave_the_users_setting(problem, monkeypatch) -> None:
    seen = []

    def tr_V(*_):
        seen.extend((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        raise RuntimeError

    monkeypatch.setattr(api.noise, "tr_V", tr_V)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for setting in (True, False):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = setting
        try:
            with pytest.raises(RuntimeError):
                api.measure(*problem, ["tr_V"])
            assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == setting
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    assert seen == [False] * 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["x", "y", "0.bias", "2.weight"])
def test_a_number_that_is_not_finite_is_refused_by_the_name_of_its_tensor(problem, where, bad) -> None:
    model, x, _ = problem
    y = torch.randn(12, 3).double()
    tensor, index = {"x": (x, (3, 1)), "y": (y, (7, 2))}.get(where) or (model.get_parameter(where).data, None)
    tensor[index or (0,) * tensor.ndim] = bad
    said = {"x": r"the inputs x .* index \(3, 1\)", "y": r"the labels y .* index \(7, 2\)"}.get(
        where, f"model's '{where}'"
    )
    for call in (api.measure, lambda *a, **k: api.gradient("sam", *a, **k)):
        with pytest.raises(ValueError, match=f"1 of the .* values of .*{said}"):
            call(model, x, y, loss="mse")


@pytest.mark.parametrize(("key", "theirs"), [("mse", nn.MSELoss()), ("bce", nn.BCEWithLogitsLoss())])
def test_another_loss_is_one_word(problem, key, theirs) -> None:
    """The gradient and every measurement, against autograd and the dense Hessian of torch's own loss."""
    model, x, _ = problem
    y = torch.rand(12, 3).double().round()
    params = list(model.parameters())
    w = nn.utils.parameters_to_vector(params).detach()
    names = [n for n, _ in model.named_parameters()]

    def loss(v):
        parts = v.split([p.numel() for p in params])
        named = {n: a.view(p.shape) for n, a, p in zip(names, parts, params, strict=True)}
        return theirs(torch.func.functional_call(model, named, (x,)), y)

    g, H = torch.func.grad(loss)(w), torch.func.hessian(loss)(w)
    step = api.gradient("sam", model, x, y, rho=0.1, loss=key)
    torch.testing.assert_close(step.h, torch.func.grad(loss)(w + 0.1 * g / g.norm()))
    found = api.measure(model, x, y, api.QUANTITIES, probes=300, loss=key)
    assert found["tr_H"].value == pytest.approx(float(H.trace()), rel=1e-9)
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-4)
    assert found["asc_H"].value == pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-9)
    assert abs(found["tr_H_pyhessian"].value - found["tr_H"].value) < 4 * found["tr_H_pyhessian"].stderr
    assert found["lam_max_pyhessian"].value == pytest.approx(found["lam_max"].value, rel=1e-3)
