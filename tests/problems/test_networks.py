"""Networks, their initialisation, the guard and the flat layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from sam_dash.maths.flat import Layout, flatten, guard, losses_fn
from sam_dash.problems.architecture import inputs
from sam_dash.problems.arrays import arranged
from sam_dash.problems.networks import Attention, Patches, build, initialise


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp:8", (5,)), ("mlp:8-6", (1, 4, 4)), ("cnn:3", (1, 8, 8)), ("cnn:3-4-2", (2, 22, 23)), ("cnn:3", (9, 9)),
        ("resnet18:8", (3, 8, 8)), ("resnet18:8", (8, 9, 3)), ("vit:4", (1, 4, 4)), ("vit:8", (11, 12, 3)),
        ("vit:4", (1, 41, 70)), ("transformer:4", (7,)), ("transformer:4", (7, 2)), ("transformer:4", (1,)),
    ],
)  # fmt: skip
def test_a_network_maps_a_batch_to_logits_whose_samples_do_not_meet(name, shape) -> None:
    module = build(name, shape, 4).double()
    x = arranged(np.random.default_rng(0).normal(size=(6, *shape)), inputs(name, shape))
    out = module(torch.from_numpy(x))
    assert out.shape == (6, 4)
    torch.testing.assert_close(module(torch.from_numpy(x[2:3])), out[2:3])
    guard(module)


def test_a_transformer_of_tokens_sees_every_position_and_its_place() -> None:
    module = build("transformer:8", (5,), 4, vocabulary=9)
    initialise(module, torch.Generator().manual_seed(0))
    x = torch.tensor([[1, 2, 3, 4, 5]])
    assert module(x).shape == (1, 4)
    for at in range(5):
        other = x.clone()
        other[0, at] = 8
        assert float((module(other) - module(x)).detach().abs().max()) > 1e-3
    assert float((module(x[:, [1, 0, 2, 3, 4]]) - module(x)).detach().abs().max()) > 1e-3


def test_images_with_their_channels_last_or_none_are_those_with_them_first() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 8)).astype(np.float32)
    last = np.moveaxis(x, 1, -1)
    for name in ("cnn:2", "vit:4", "resnet18:8"):
        np.testing.assert_array_equal(arranged(last, inputs(name, last.shape[1:])), x)
        np.testing.assert_array_equal(arranged(x[:, 0], inputs(name, (6, 8))), x[:, :1])
        assert inputs(name, (3, 6, 8)) == ((3, 6, 8), False)
    assert inputs("cnn:2", (5, 9, 4)) == ((4, 5, 9), True)
    assert inputs("cnn:2", (4, 9, 4)) == ((4, 9, 4), False), "more than four rows tell an image from its channels"
    np.testing.assert_array_equal(arranged(last, inputs("mlp:4", (6, 8, 3))), last)


def test_patches_are_pieces_of_the_image_row_by_row_with_zeros_at_its_edges() -> None:
    x = torch.arange(2 * 5 * 3.0).view(1, 2, 5, 3) + 1
    found = Patches(3, 2)(x)
    padded = torch.zeros(1, 2, 6, 4)
    padded[:, :, :5, :3] = x
    pieces = [padded[0, :, i : i + 3, j : j + 2].flatten() for i in (0, 3) for j in (0, 2)]
    assert torch.equal(found[0], torch.stack(pieces))


def test_attention_is_torchs_own() -> None:
    torch.manual_seed(0)
    ours, torchs = Attention(8).double(), nn.MultiheadAttention(8, 4, batch_first=True).double()
    with torch.no_grad():
        torchs.in_proj_weight.copy_(ours.inputs.weight)
        torchs.in_proj_bias.copy_(ours.inputs.bias)
        torchs.out_proj.load_state_dict(ours.output.state_dict())
    x = torch.randn(3, 5, 8).double()
    torch.testing.assert_close(ours(x), torchs(x, x, x)[0])


def test_a_cnn_of_one_width_is_what_it_was_bit_for_bit() -> None:
    """The layers, their names and the numbers that are drawn for them, as runs from before deeper ones have them."""
    module, g = build("cnn:3", (2, 8, 9), 4), torch.Generator().manual_seed(7)
    assert [name for name, _ in module.named_children()] == ["conv", "relu", "flatten", "output"]
    initialise(module, g)
    g.manual_seed(7)
    conv = torch.empty(3, 2, 4, 4).normal_(0, math.sqrt(2 / 32), generator=g)
    dense = torch.empty(4, 27).normal_(0, math.sqrt(1 / 27), generator=g)
    zeros = torch.zeros(3), torch.zeros(4)
    assert torch.equal(flatten(module), torch.cat([conv.flatten(), zeros[0], dense.flatten(), zeros[1]]))


def test_what_a_transformer_draws_has_gain_one() -> None:
    module = build("transformer:64", (40,), 10, vocabulary=200)
    initialise(module, torch.Generator().manual_seed(0))
    assert float(module.tokens.weight.detach().std()) == pytest.approx(1, rel=0.03)
    assert float(module.positions.weight.detach().std()) == pytest.approx(0.1, rel=0.05)
    for layer in (m for m in module.modules() if isinstance(m, nn.Linear)):
        assert float(layer.weight.detach().std()) == pytest.approx(layer.in_features**-0.5, rel=0.1)


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


@pytest.mark.parametrize(
    ("name", "shape", "vocabulary", "message"),
    [
        ("cnn:3", (5,), 0, "needs images"), ("resnet18:8", (5,), 0, "needs images"), ("vit:4", (5,), 0, "needs images"),
        ("cnn:3", (1, 3, 3), 0, "needs images of at least 4x4"), ("vit:4", (3, 9), 0, "needs images of at least 4x4"),
        ("cnn:3-4", (1, 9, 9), 0, r"at every stage, got \(1, 9, 9\), of which stage 2 sees \(3, 3\)"),
        ("transformer:4", (1, 4, 4), 0, "needs sequences .* take a vit"), ("transformer:4", (4, 4), 9, "needs tokens"),
        ("mlp:4", (4,), 9, "these inputs are tokens: use a transformer"), ("vit:4", (4,), 9, "are tokens"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_the_data_is_refused(name, shape, vocabulary, message) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, shape, 4, vocabulary)
