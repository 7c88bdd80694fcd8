"""The library face."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sam_dash import api
from sam_dash.maths.fast.measurer import Fast
from tests.helpers import mlp

OURS_AND_THEIRS = ("tr_H", "lam_max", "tr_V", "tr_H_pyhessian", "lam_max_pyhessian", "asc_H")


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
    api.measure(model, x, y, api.QUANTITIES, m=(2,), probes=4, iterations=4)
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
    found = api.measure(model, x, y, OURS_AND_THEIRS, probes=300)
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
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of the model requires a gradient"):
        api.gradient("sam", model, x, y)


def test_measurements_of_float32_use_float32_and_leave_the_users_setting(problem, monkeypatch) -> None:
    seen = []

    def noise(*_, **__):
        seen.extend((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        raise RuntimeError

    monkeypatch.setattr(Fast, "noise", noise)
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
    found = api.measure(model, x, y, OURS_AND_THEIRS, probes=300, loss=key)
    assert found["tr_H"].value == pytest.approx(float(H.trace()), rel=1e-9)
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-4)
    assert found["asc_H"].value == pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-9)
    assert abs(found["tr_H_pyhessian"].value - found["tr_H"].value) < 4 * found["tr_H_pyhessian"].stderr
    assert found["lam_max_pyhessian"].value == pytest.approx(found["lam_max"].value, rel=1e-3)


def dense(loss, named):
    """The gradient and Hessian of a function of named parameters, flat, by autograd's double backward."""
    parts = [p.detach().clone().requires_grad_() for p in named.values()]
    value = loss(dict(zip(named, parts, strict=True)))
    g = torch.cat([a.flatten() for a in torch.autograd.grad(value, parts, create_graph=True)])
    rows = [torch.autograd.grad(a, parts, retain_graph=True) for a in g]
    return g.detach(), torch.stack([torch.cat([a.flatten() for a in row]) for row in rows])


def test_a_module_under_two_names_is_left_as_it_is_and_its_gradient_is_that_of_plain_autograd() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(8, 8)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 3)).double()
    tied = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    tied.load_state_dict(model.state_dict())
    tied[2].weight = tied[0].weight  # one parameter of two modules
    x, y = torch.randn(12, 8).double(), torch.randint(0, 3, (12,))
    for net in (model, tied):
        before, kept = copy.deepcopy(net.state_dict()), [id(p) for p in net.parameters()]
        h, _ = naive_m_sam(net, x, y, 4, 0.2)
        found = api.measure(net, x, y, ("tr_H", "lam_max", "tr_V"), probes=200)
        torch.testing.assert_close(api.gradient("sam", net, x, y, m=4, rho=0.2).h, h)
        assert [id(p) for p in net.parameters()] == kept
        assert all(isinstance(p, nn.Parameter) for p in (net[0].weight, net[2].weight, net[2].bias))
        assert all(torch.equal(a, before[k]) for k, a in net.state_dict().items())

        def loss(named, net=net):
            return nn.functional.cross_entropy(torch.func.functional_call(copy.deepcopy(net), named, (x,)), y)

        if net is model:  # written out: torch's own call is what is wrong for it

            def loss(named):
                w, b, v, c = named.values()
                one = torch.relu(x @ w.T + b)
                return nn.functional.cross_entropy(torch.relu(one @ w.T + b) @ v.T + c, y)

        _, H = dense(loss, dict(net.named_parameters()))
        assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-3)
        assert abs(found["tr_H"].value - float(H.trace())) < 4 * found["tr_H"].stderr


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning", "ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_second_derivatives_that_torch_has_wrong_are_refused(norm) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(4, 6)), nn.ReLU(), norm(nn.Linear(6, 3))).double()
    x, y = torch.randn(10, 4).double(), torch.randint(0, 3, (10,))
    for quantity in ("tr_H", "lam_max", "asc_H", "tr_H_pyhessian"):
        with pytest.raises(ValueError, match=r"not symmetric .*weight_norm"):
            api.measure(model, x, y, (quantity,))
    assert api.measure(model, x, y, ("tr_V",))["tr_V"].value > 0
    api.gradient("sam", model, x, y, m=2)


def test_a_layer_with_a_hook_is_not_taken_for_what_its_class_says(problem) -> None:
    model, x, y = problem
    model[1].register_forward_hook(lambda _m, _a, out: torch.tanh(out))
    found = api.measure(model, x, y, ("tr_H", "lam_max"), probes=300)

    def loss(named):
        w, b, v, c = named.values()
        return nn.functional.cross_entropy(torch.tanh(torch.relu(x @ w.T + b)) @ v.T + c, y)

    _, H = dense(loss, dict(model.named_parameters()))
    assert not found["tr_H"].method.startswith("exact: ")
    assert abs(found["tr_H"].value - float(H.trace())) < 4 * found["tr_H"].stderr
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-3)


def test_of_frozen_parameters_nothing_is_measured_and_nothing_is_moved(problem) -> None:
    model, x, y = problem
    model[0].weight.requires_grad_(False)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    g, H = dense(lambda named: nn.functional.cross_entropy(torch.func.functional_call(model, named, (x,)), y), trained)
    found = api.measure(model, x, y, OURS_AND_THEIRS, probes=300)
    assert found["tr_H"].value == pytest.approx(float(H.trace()), rel=1e-9)
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-3)
    assert found["lam_max_pyhessian"].value == pytest.approx(found["lam_max"].value, rel=1e-3)
    assert found["asc_H"].value == pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-9)
    torch.testing.assert_close(api.gradient("sgd", model, x, y).h, g)


def test_batch_norm_and_dropout_in_eval_mode_are_measured_like_any_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(20, 4).double(), torch.randint(0, 3, (20,))
    model(x)  # moves the statistics
    model.eval()
    before = copy.deepcopy(model.state_dict())
    named = dict(model.named_parameters())
    loss = lambda v: nn.functional.cross_entropy(torch.func.functional_call(model, v, (x,)), y)  # noqa: E731
    g, H = dense(loss, named)
    found = api.measure(model, x, y, ("tr_H", "lam_max", "tr_V"), probes=300)
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-3)
    assert abs(found["tr_H"].value - float(H.trace())) < 4 * found["tr_H"].stderr
    torch.testing.assert_close(api.gradient("sgd", model, x, y).h, g)
    assert all(torch.equal(a, before[k]) for k, a in model.state_dict().items())


class Functional(nn.Module):
    """What `guard` cannot see: dropout or batch statistics in `forward`."""

    def __init__(self, what) -> None:
        super().__init__()
        self.what, self.linear = what, nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(self.what(x))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (lambda x: nn.functional.dropout(x, 0.5), "two forwards of the same samples at the same weights differ"),
        (lambda x: x - x.mean(0), "a sample's outputs depend on those beside it"),
    ],
)
def test_outputs_that_are_no_function_of_the_weights_and_one_sample_are_refused(problem, what, why) -> None:
    _, x, y = problem
    model = Functional(what).double()
    for call in (api.measure, lambda *a: api.gradient("sam", *a)):
        with pytest.raises(ValueError, match=why):
            call(model, x, y)
