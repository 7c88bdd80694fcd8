"""Networks, their initialisation, the guard and the flat layout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sam_dash.maths.flat import Layout, flatten, guard, losses_fn
from sam_dash.problems.networks import build, initialise


@pytest.mark.parametrize(
    ("name", "shape"), [("mlp:8", (5,)), ("mlp:8-6", (1, 4, 4)), ("cnn:3", (1, 8, 8)), ("resnet18:8", (3, 8, 8))]
)
def test_a_network_maps_a_batch_to_logits(name, shape) -> None:
    module = build(name, shape, 4)
    assert module(torch.randn(6, *shape)).shape == (6, 4)
    guard(module)


def test_flat_losses_equal_the_modules_own() -> None:
    torch.manual_seed(0)
    module = build("resnet18:8", (1, 8, 8), 4)
    x, y = torch.randn(6, 1, 8, 8), torch.randint(0, 4, (6,))
    expected = nn.functional.cross_entropy(module(x), y, reduction="none")
    torch.testing.assert_close(losses_fn(module)(flatten(module), (x, y)), expected)


def test_the_layout_is_that_of_parameters_to_vector() -> None:
    module = build("cnn:3", (1, 8, 8), 4)
    w, layout = flatten(module), Layout.of(module)
    assert torch.equal(w, nn.utils.parameters_to_vector(module.parameters()))
    assert [s.numel() for s in layout.segments(w)] == [p.numel() for p in module.parameters()]
    for name, p in layout.unflatten(w).items():
        assert torch.equal(p, module.get_parameter(name))


def test_initial_weights_are_he_normal_with_gain_one_at_the_end() -> None:
    module = build("mlp:400-300", (500,), 100)
    initialise(module, torch.Generator().manual_seed(0))
    stds = [float(m.weight.detach().std()) for m in module if isinstance(m, nn.Linear)]
    assert stds == pytest.approx([math.sqrt(2 / 500), math.sqrt(2 / 400), math.sqrt(1 / 300)], rel=0.02)
    assert all(float(m.bias.detach().abs().max()) == 0 for m in module if isinstance(m, nn.Linear))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.BatchNorm1d(4), r"BatchNorm1d '1': batch statistics .* use GroupNorm"),
        (nn.Dropout(0.5), "Dropout '1': .* set its p to 0"),
    ],
)
def test_a_network_whose_samples_are_not_independent_is_refused(part, message) -> None:
    with pytest.raises(ValueError, match=message):
        losses_fn(nn.Sequential(nn.Linear(4, 4), part))


def test_dropout_of_zero_is_allowed() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0))
    losses = losses_fn(module)(flatten(module), (torch.randn(6, 4), torch.zeros(6, dtype=torch.int64)))
    assert losses.shape == (6,)


@pytest.mark.parametrize(("name", "shape"), [("cnn:3", (5,)), ("resnet18:8", (5,)), ("cnn:3", (1, 3, 3))])
def test_a_network_that_does_not_fit_the_data_is_refused(name, shape) -> None:
    with pytest.raises(ValueError, match="needs images"):
        build(name, shape, 4)
