"""`api.measure` on what is no classifier of vectors: language models, images, regressions, loaders."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from sam_dash import api
from tests.test_api import dense


class Language(nn.Module):
    """One block of torch's own transformer, whose attention is fused, with dropout; called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.out = nn.Embedding(5, 4), nn.Linear(4, 5)
        self.block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, batch_first=True)

    def forward(self, ids, scale):
        return self.out(self.block(self.tokens(ids)) * scale)


class Table(nn.Module):
    """What a test gives as the outputs, linear in a weight."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.linear = shape, nn.Linear(4, int(np.prod(shape)) if shape else 1)

    def forward(self, x):
        return torch.tanh(self.linear(x)).view(len(x), *self.shape)


def same(found, H, g=None) -> None:
    assert found["lam_max"].value == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-3)
    assert found["tr_H"].stderr > 0
    assert abs(found["tr_H"].value - float(H.trace())) < 4 * found["tr_H"].stderr
    if g is not None:
        assert found["asc_H"].value == pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-9)


def test_a_transformer_language_model_has_the_curvature_of_its_dense_hessian() -> None:
    torch.manual_seed(0)
    model, ids = Language().double().eval(), torch.randint(0, 5, (8, 3))
    asked = ("tr_H", "lam_max", "asc_H", "eigenvalues", "layer_trace", "tr_V", "layer_noise")
    x = {"ids": ids, "scale": 1.0}
    found = api.measure(model, x, ids, asked, loss="token_cross_entropy", top=2)

    def loss(named):
        out = torch.func.functional_call(model, named, (ids, 1.0))
        return cross_entropy(out.flatten(0, 1), ids.flatten())

    with sdpa_kernel(SDPBackend.MATH):
        g, H = dense(loss, dict(model.named_parameters()))
    same(found, H, g)
    top = torch.linalg.eigvalsh(H).flip(0)
    assert [found[f"eigenvalue@{i}"].value for i in (1, 2)] == pytest.approx(top[:2].tolist(), rel=2e-3)
    for kind, whole in (("layer_trace", "tr_H"), ("layer_noise", "tr_V")):
        parts = [e.value for key, e in found.items() if key.startswith(kind)]
        assert len(parts) == 8
        assert sum(parts) == pytest.approx(found[whole].value, rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "loss", "y", "theirs"),
    [
        ((3, 2, 2), "cross_entropy", torch.randint(0, 3, (10, 2, 2)), cross_entropy),
        ((), "bce", torch.rand(10).double().round(), binary_cross_entropy_with_logits),
        ((2, 3), "mse", torch.randn(10, 2, 3).double(), mse_loss),
        ((2,), lambda o, y: (o - y).abs().pow(3).sum(1), torch.randn(10, 2).double(),
         lambda o, y: (o - y).abs().pow(3).sum(1).mean()),
    ],
    ids=["segmentation", "one logit", "regression", "a function"],
)  # fmt: skip
def test_a_loss_of_any_outputs_has_the_curvature_of_torchs_own(shape, loss, y, theirs) -> None:
    torch.manual_seed(0)
    model, x = Table(*shape).double(), torch.randn(10, 4).double()
    found = api.measure(model, x, y, ("tr_H", "lam_max", "asc_H"), loss=loss)
    named = dict(model.named_parameters())
    g, H = dense(lambda n: theirs(torch.func.functional_call(model, n, (x,)), y), named)
    same(found, H, g)
    torch.testing.assert_close(api.gradient("sgd", model, x, y, loss=loss).h, g)


def test_a_loss_that_is_not_one_number_a_sample_is_refused() -> None:
    model, x = Table(2).double(), torch.randn(10, 4).double()
    with pytest.raises(ValueError, match=r"shape \(\); expected one number a sample"):
        api.measure(model, x, x[:, :2], loss=nn.MSELoss())
    with pytest.raises(ValueError, match="m_sharp is measured at every m"):
        api.measure(model, x, x[:, :2], ("m_sharp",), loss="mse")


def test_critical_sharpness_of_a_quadratic_is_its_curvature_along_the_gradient() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 4).double(), torch.randn(20, 2).double()
    found = api.measure(nn.Linear(4, 2).double(), x, y, ("critical_sharp", "asc_H"), loss="mse")
    critical = found["critical_sharp"]
    assert critical.converged
    assert 0 < critical.stderr < 1e-3 * critical.value
    assert abs(critical.value - found["asc_H"].value) <= critical.stderr * (1 + 1e-6)


def test_a_shuffled_loader_gives_the_numbers_of_all_samples_in_memory_and_takes_no_random_number() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)).double()
    data, own = TensorDataset(torch.randn(20, 4).double(), torch.randn(20).double()), torch.Generator().manual_seed(1)
    before = torch.get_rng_state(), own.get_state()
    asked = ("tr_H", "lam_max", "tr_V", "asc_H")
    for loader in (DataLoader(data, 8, shuffle=True), DataLoader(data, 8, shuffle=True, generator=own)):
        streamed = api.measure(model, loader, quantities=asked, loss="mse")
        for key, e in api.measure(model, *data.tensors, asked, loss="mse").items():
            assert (streamed[key].value, streamed[key].stderr) == pytest.approx((e.value, e.stderr), rel=1e-6)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(own.get_state(), before[1])


def test_a_loader_that_cannot_be_gone_through_twice_or_changes_is_refused() -> None:
    model, batch = Table(2).double(), (torch.randn(6, 4).double(), torch.randn(6, 2).double())

    class Changing:
        calls = 0

        def __iter__(self):
            self.calls += 1
            return iter([(batch[0] * self.calls, batch[1])])

    with pytest.raises(ValueError, match="only once"):
        api.measure(model, iter([batch]), loss="mse")
    with pytest.raises(ValueError, match="two passes over the loader give different losses"):
        api.measure(model, Changing(), loss="mse")
    with pytest.raises(ValueError, match="the loader gives Tensor"):
        api.measure(model, [batch[0]], loss="mse")


class Mixed(nn.Module):
    """With buffers, a frozen parameter, a hook, dropout in eval mode and a part in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Tanh(), nn.Linear(5, 3))
        self.body[0].bias.requires_grad_(False)
        self.hook = self.body[3].register_forward_hook(lambda *_: None)
        self.eval()
        self.body[3].train()

    def forward(self, x):
        return self.body(x)


def state(model) -> list:
    """All that a call could change, by value and by identity."""
    flags = [(name, part.training, list(part._forward_hooks)) for name, part in model.named_modules()]
    own = [(name, id(p), p.requires_grad, p.grad is None) for name, p in model.named_parameters()]
    values = [a.clone() for a in (*model.parameters(), *model.buffers())]
    drawn = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
    return [flags, own, [v.tolist() for v in values], drawn, torch.is_grad_enabled()]


def test_after_any_call_the_model_and_the_generators_are_what_they_were() -> None:
    torch.manual_seed(0)
    model, x, y = Mixed().double(), torch.randn(12, 4).double(), torch.randint(0, 3, (12,))
    before = state(model)
    calls = {
        "gradient": lambda: api.gradient("rwsam", model, x, y, m=4, lam=1.0),
        "measure": lambda: api.measure(model, x, y, api.QUANTITIES, m=(2,), probes=2, iterations=3),
        "loader": lambda: api.measure(model, DataLoader(TensorDataset(x, y), 5, shuffle=True), probes=2, iterations=3),
    }
    for name, call in calls.items():
        call()
        assert state(model) == before, name
    broken = copy.deepcopy(model).train()
    before = state(broken)
    with pytest.raises(ValueError, match="BatchNorm"):
        api.measure(broken, x, y)
    assert state(broken) == before


def test_a_large_network_is_measured_in_few_vectors_and_gives_the_same_numbers(monkeypatch) -> None:
    torch.manual_seed(0)
    model, x, y = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double(), torch.randn(30, 4).double(), None
    y = torch.randint(0, 3, (30,))
    asked = ("tr_H", "lam_max", "layer_trace", "eigenvalues", "asc_H")
    usual = api.measure(model, x, y, asked, probes=64, top=2)
    monkeypatch.setattr(api, "LARGE", 10)
    for given in ((x, y), (DataLoader(TensorDataset(x, y), 8, shuffle=True),)):
        found = api.measure(model, *given, quantities=asked, probes=64, top=2)
        assert found.keys() == usual.keys()
        assert "two vectors" in found["lam_max"].method
        for key, e in usual.items():
            apart = abs(found[key].value - e.value)
            assert apart <= 4 * (found[key].stderr + e.stderr) + 1e-6, key
    relu = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    exact = api.measure(relu, x, y, ("tr_H", "layer_trace"))
    assert exact["tr_H"].stderr == 0, "where layers have factors, its trace is exact in little memory"


def _append(told: list):
    return lambda *at: told.append(at)


def test_progress_tells_every_product_and_what_it_raises_ends_the_call(monkeypatch) -> None:
    torch.manual_seed(0)
    model, x, y = Mixed().double(), torch.randn(12, 4).double(), torch.randint(0, 3, (12,))
    for large in (api.LARGE, 10):
        monkeypatch.setattr(api, "LARGE", large)
        told: list = []
        found = api.measure(model, x, y, ("tr_H", "lam_max"), probes=5, progress=_append(told))
        assert [at for at in told if at[0] == "tr_H"] == [("tr_H", i, 5) for i in range(6)]
        done = [at[1] for at in told if at[0] == "lam_max"]
        assert done == [*range(found["lam_max"].budget + 1)]
        assert found["lam_max"].value == api.measure(model, x, y, ("lam_max",))["lam_max"].value

        def stop(quantity, done, most) -> None:
            if done == 2:
                raise KeyboardInterrupt

        before = state(model)
        with pytest.raises(KeyboardInterrupt):
            api.measure(model, x, y, ("tr_H",), probes=5, progress=stop)
        assert state(model) == before
