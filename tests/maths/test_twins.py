"""Every fast measurement against the definition of its name, in float64: runs alone and stacked, every loss."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

from sam_dash.maths import ascent, curvature, fast, m_sharpness, noise
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast import passes
from sam_dash.maths.fast.measurer import Fast, Plain, measurer
from sam_dash.maths.fast.passes import Perceptron, Tapped, net
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.flat import Layout, flatten, logits, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, LOSSES, Loss
from tests.helpers import labels
from tests.maths import test_chain, test_factored

N = 29
SIZES = (1, 3, 8)  # pieces are of 24 samples: one of these, and one that is shorter than 8 and no multiple of 3
CASES = [f"taps, {name}" for name in test_factored.NETWORKS] + [f"stack, {name}" for name in test_chain.NETWORKS]
LARGE = {
    "taps, resnet",
    "taps, vit",
    "taps, few words",
    "taps, many words",
    "stack, wider than the training set",
}  # one loss is enough for the networks, all for the rest


def problem(case: str, loss: Loss = CROSS_ENTROPY):
    """The module, how it is passed, W (S, d), samples (S, n, ...), (S, n)."""
    kind, name = case.split(", ")
    if kind == "taps":
        module, w, _, _ = test_factored.problem(name)
        return module, Tapped(Taps(module), loss), w[None], (test_factored.inputs(name, 1, N), labels(loss, 1, N))
    module, chain, W, (x, _), _ = test_chain.problem(name)
    return module, Perceptron(chain, loss), W, samples(loss, len(W), x.shape[2:])


def samples(loss: Loss, S: int, shape):
    return torch.randn(S, N, *shape).double(), labels(loss, S, N)


def generators(S: int):
    return [torch.Generator().manual_seed(s) for s in range(S)]


@pytest.fixture(params=[(case, key) for case in CASES for key in LOSSES if key == "cross_entropy" or case not in LARGE],
                ids=lambda p: f"{p[0]}, {p[1]}")  # fmt: skip
def case(request):
    name, key = request.param
    return LOSSES[key], *problem(name, LOSSES[key])


@pytest.fixture(params=[False, True], ids=["one piece", "pieces"])
def _pieces(request, case, monkeypatch) -> None:
    if request.param:
        if case[0].key == "bce":
            pytest.skip("as with the squared error, whose labels have the same shape")
        if len(Layout.of(case[1]).sizes()) > 15:
            pytest.skip("a residual network in one piece: small ones are cut as well")
        monkeypatch.setattr(passes, "ELEMENTS", 1)


def agree(found: Estimate, plain: Estimate, error: float = 1e-7) -> None:
    assert found.value == pytest.approx(plain.value, rel=1e-8, abs=1e-11)
    assert found.stderr == pytest.approx(plain.stderr, rel=error, abs=1e-11, nan_ok=True)
    assert (found.budget, found.method) == (plain.budget, plain.method)


def twins() -> dict[str, tuple[object, object]]:
    """The public functions of every module in `fast` that bears the name of a definitions' module, and their names."""
    found = {}
    for _, name, _ in pkgutil.iter_modules(fast.__path__):
        if name in {m for _, m, _ in pkgutil.iter_modules(importlib.import_module("sam_dash.maths").__path__)}:
            ours, plain = (importlib.import_module(f"sam_dash.maths.{at}{name}") for at in ("fast.", ""))
            for public, value in vars(ours).items():
                if inspect.isroutine(value) and value.__module__ == ours.__name__ and not public.startswith("_"):
                    found[f"{name}.{public}"] = value, getattr(plain, public, None)
    return found


TWINS = twins()
COMPARED = {
    "noise.noise", "curvature.ggn_trace", "curvature.ggn_trace_by_layer", "m_sharpness.m_sharpness", "ascent.by_size",
    "ascent.ascent", "ascent.batch_sharpness",
    "curvature.hvp",  # in test_products
}  # fmt: skip


def test_a_twin_bears_the_name_of_its_definition_takes_its_options_and_is_compared_with_it() -> None:
    assert set(TWINS) == COMPARED
    for name, (twin, definition) in TWINS.items():
        assert definition is not None, f"{name} has no definition"
        asked = [p.name for p in inspect.signature(twin).parameters.values() if p.kind is p.KEYWORD_ONLY]
        known = {"generators", *inspect.signature(definition).parameters}
        assert set(asked) <= known, name


@pytest.mark.usefixtures("_pieces")
def test_the_noise_is_that_of_per_sample_gradients(case) -> None:
    loss, module, way, W, (x, y) = case
    found = TWINS["noise.noise"][0](way, W, (x, y), m=SIZES, generators=generators(len(W)))
    sizes = Layout.of(module).sizes()
    for s, g in enumerate(generators(len(W))):
        plain = noise.noise(losses_fn(module, loss), W[s], (x[s], y[s]), sizes, m=SIZES, generator=g)
        for m in SIZES:
            agree(found[s].by_m[m], plain.by_m[m], 0.05)  # theirs: each m's own mean
        for layer, truth in zip(found[s].by_layer, plain.by_layer, strict=True):
            agree(layer, truth, 1e-6)
        assert sum(e.value for e in found[s].by_layer) == pytest.approx(found[s].by_m[1].value, rel=1e-9)
        agree(found[s].grad_sq, plain.grad_sq)
        torch.testing.assert_close(found[s].deviations.sort()[0], plain.deviations.sort()[0], rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("_pieces")
def test_the_trace_of_the_ggn_is_that_of_per_sample_gradients(case) -> None:
    loss, module, way, W, (x, y) = case
    found = TWINS["curvature.ggn_trace"][0](way, W, (x, y))
    for s in range(len(W)):
        agree(found[s], curvature.ggn_trace(loss, logits(module), W[s], (x[s], y[s])))
    sizes = list(Layout.of(module).sizes().values())
    for s, layers in enumerate(TWINS["curvature.ggn_trace_by_layer"][0](way, W, (x, y))):
        plain = curvature.ggn_trace_by_layer(loss, logits(module), W[s], (x[s], y[s]), sizes)
        for layer, truth in zip(layers, plain, strict=True):
            agree(layer, truth)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize(
    ("name", "definition", "more"),
    [
        ("m_sharpness.m_sharpness", m_sharpness.m_sharpness, {"rho": 0.3}),
        ("ascent.by_size", ascent.by_size, {}),
        ("ascent.batch_sharpness", ascent.batch_sharpness, {}),
    ],
    ids=["rises", "curvatures", "batch sharpness"],
)
def test_what_is_measured_at_moved_weights_is_that_of_copies_of_them(case, name, definition, more) -> None:
    loss, module, way, W, (x, y) = case
    found = TWINS[name][0](way, W, (x, y), m=SIZES, generators=generators(len(W)), **more)
    for s, g in enumerate(generators(len(W))):
        plain = definition(losses_fn(module, loss), W[s], (x[s], y[s]), m=SIZES, generator=g, **more)
        for m in SIZES:
            agree(found[s][m], plain[m])


@pytest.mark.usefixtures("_pieces")
def test_of_all_samples_it_is_the_curvature_along_the_gradient(case) -> None:
    loss, module, way, W, (x, y) = case
    losses = losses_fn(module, loss)
    each = [curvature.hvp(losses, w, batch) for w, batch in zip(W, zip(x, y, strict=True), strict=True)]
    stacked = TWINS["ascent.ascent"][0](
        way, W, (x, y), lambda V: torch.stack([of(v) for of, v in zip(each, V, strict=True)])
    )
    for s, product in enumerate(each):
        agree(stacked[s], ascent.ascent(losses, W[s], (x[s], y[s]), product))


def test_a_network_of_a_single_layer_has_the_noise_of_its_per_sample_gradients() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    x, y = samples(CROSS_ENTROPY, 1, (1, 4, 4))
    w, losses = flatten(module), losses_fn(module)
    found = TWINS["noise.noise"][0](Tapped(Taps(module), CROSS_ENTROPY), w[None], (x, y), m=SIZES, generators=())[0]
    plain = noise.noise(losses, w, (x[0], y[0]), Layout.of(module).sizes(), m=SIZES)
    for m in SIZES:
        agree(found.by_m[m], plain.by_m[m], 0.05)
    agree(found.grad_sq, plain.grad_sq)


def test_a_perceptron_is_passed_as_a_stack_and_other_networks_by_taps() -> None:
    assert isinstance(net(test_chain.NETWORKS["wide"](), CROSS_ENTROPY), Perceptron)
    module, _, _, _ = test_factored.problem("cnn")
    assert isinstance(net(module, CROSS_ENTROPY), Tapped)


@pytest.mark.parametrize("key", LOSSES)
@pytest.mark.parametrize("name", ["stack, narrow", "taps, cnn", "taps, layer norm"])
def test_a_measurer_gives_what_the_definitions_give_run_by_run_whatever_way_it_takes(name, key) -> None:
    loss = LOSSES[key]
    module, way, W, _ = problem(name, loss)
    if len(W) == 1:
        W = torch.cat([W, W + 0.1])
    S = len(W)
    shape = test_factored.NETWORKS[name[6:]][1] if "taps" in name else (2,)
    batch = samples(loss, S, shape)
    fastest = measurer(module, loss, W[0], batch[0][0])
    plain = Plain(module, loss, 3)
    assert isinstance(fastest, Fast)
    assert fastest.stacked == isinstance(way, Perceptron)
    assert fastest.outputs == 3
    products = [each.hvp(W, batch) for each in (fastest, plain)]
    V = torch.randn(S, 2, W.shape[1]).double()
    torch.testing.assert_close(products[0](V), products[1](V))
    torch.testing.assert_close(products[0].take([1])(V[1:2]), products[1].take([1])(V[1:2]))
    for ask in (
        lambda one, p: one.ggn_trace(W, batch),
        lambda one, p: one.trace(W, batch, generators(S), p),
        lambda one, p: [e for layers in one.ggn_trace_by_layer(W, batch) for e in layers],
        lambda one, p: one.ascent(W, batch, p),
        lambda one, p: [e for by in one.m_sharpness(W, batch, m=(1, 5), rho=0.1) for e in by.values()],
        lambda one, p: [
            e for by in one.ascent_by_size(W, batch, m=(2,), generators=generators(S)) for e in by.values()
        ],
        lambda one, p: [n.by_m[1] for n in one.noise(W, batch, m=(1,), generators=generators(S))],
    ):
        for found, truth in zip(ask(fastest, products[0]), ask(plain, products[1]), strict=True):
            agree(found, truth)


def test_an_m_without_two_micro_batches_is_refused() -> None:
    _, way, W, batch = problem("stack, wide")
    for name, more in (("noise.noise", {}), ("m_sharpness.m_sharpness", {"rho": 0.1}), ("ascent.by_size", {})):
        with pytest.raises(ValueError, match=f"m = 26: expected between 1 and n/2 = {N // 2}"):
            TWINS[name][0](way, W, batch, m=(1, 26), **more)
