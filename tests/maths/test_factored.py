"""Factored gradients against their definition, the vmapped step, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sam_dash.maths.contract import Step
from sam_dash.maths.fast import (
    factors,
    factors_added,
    factors_conv,
    factors_embedding,
    factors_kernels,
    factors_norm,
)  # fmt: skip
from sam_dash.maths.fast.convolution import Convolution
from sam_dash.maths.fast.factored import Factored, FactoredOracle, factored_step
from sam_dash.maths.fast.taps import Taps
from sam_dash.maths.fast.unformed import NotFactoredError, formed
from sam_dash.maths.flat import flatten, losses_fn
from sam_dash.maths.loss import CROSS_ENTROPY, LOSSES, Loss
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Oracle
from sam_dash.problems.networks import ResNet18, build
from sam_dash.variants import get
from tests.helpers import labels

B = 12
FEW, MANY = 5, 40  # words: so few that rows of the table are formed, or so many that they are not


class PerToken(nn.Module):
    """A linear layer shared by the positions of a sequence, with layer norms over features and over all."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(8, 7), nn.LayerNorm(7), nn.Linear(21, 3, bias=False)
        self.whole = nn.LayerNorm((3, 7))

    def forward(self, x):
        return self.b(torch.tanh(self.whole(self.norm(self.a(x)))).flatten(1))


NETWORKS = {
    "wide mlp": (lambda: nn.Sequential(nn.Linear(9, 20), nn.ReLU(), nn.Linear(20, 3)), (9,)),
    "narrow mlp": (lambda: nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 3)), (2,)),
    "cnn": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)), (2, 5, 6)),
    "pooled cnn": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)),
        (1, 6, 6),
    ),
    "few positions": (
        lambda: nn.Sequential(nn.Conv2d(16, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)),
        (16, 3, 3),
    ),
    "group norm": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
        (1, 4, 4),
    ),
    "layer norm": (PerToken, (3, 8)),
    "resnet": (lambda: ResNet18(1, 8, 3), (1, 8, 8)),
    "deep cnn": (lambda: build("cnn:3-4", (1, 11, 10), 3), (1, 11, 10)),
    "vit": (lambda: build("vit:8", (2, 6, 8), 3), (2, 6, 8)),
    "few words": (lambda: build("transformer:4", (5,), 3, FEW), (5,)),
    "many words": (lambda: build("transformer:4", (2,), 3, MANY), (2,)),
}
WORDS = {"few words": FEW, "many words": MANY}


@pytest.fixture(params=LOSSES)
def loss(request) -> Loss:
    return LOSSES[request.param]


def inputs(name: str, *n: int) -> torch.Tensor:
    """Random inputs (*n, ...) of that network."""
    words, shape = WORDS.get(name), NETWORKS[name][1]
    return torch.randint(words, (*n, *shape)) if words else torch.randn(*n, *shape, dtype=torch.float64)


def problem(name: str, loss: Loss = CROSS_ENTROPY):
    make, _ = NETWORKS[name]
    torch.manual_seed(0)
    module = make().double()
    w = flatten(module)
    w = w + 0.1 * torch.randn_like(w)  # norm layers away from their start
    batch = inputs(name, B), labels(loss, B)
    return module, w, batch, 2.0 * torch.randint(0, 2, (1, len(w))).double() - 1


def both(loss: Loss, name: str, key: str, m: int, **knobs) -> tuple[Step, Step]:
    module, w, batch, noise = problem(name, loss)
    knobs = {"rho": 0.05, **knobs}
    L = Oracle(losses_fn(module, loss), batch, noise)
    plain = per_micro_batch(get(key).step, m)(L, w, (), **knobs)
    return plain, factored_step(get(key).step, m, Taps(module), loss)(L, w, (), **knobs)


def agree(plain: Step, fast: Step) -> None:
    for name, found, expected in (
        ("h", fast.h, plain.h), ("g", formed(fast.g), plain.g), ("eps", fast.eps.dense(), plain.eps),
        ("norms", fast.eps.norm(dim=-1), plain.eps.norm(dim=-1)),
    ):  # fmt: skip
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11 * scale, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("m", [1, 2, 4, 12])
@pytest.mark.parametrize("key", ["sam", "usam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_m_sam_on_factored_gradients_is_m_sam(loss, name, key, m) -> None:
    agree(*both(loss, name, key, m))


@pytest.mark.parametrize("name", ["cnn", "pooled cnn", "few positions", "group norm", "resnet"])
def test_images_in_channels_last_format_give_the_same(name) -> None:
    module, w, (x, y), _ = problem(name)
    step = factored_step(get("sam").step, 2, Taps(module), CROSS_ENTROPY)
    last = x.contiguous(memory_format=torch.channels_last)
    first, second = (step(Oracle(losses_fn(module), (a, y)), w, (), rho=0.05) for a in (x, last))
    torch.testing.assert_close(second.h, first.h)
    torch.testing.assert_close(second.eps.norm(dim=-1), first.eps.norm(dim=-1))


@pytest.mark.parametrize("norms", ["exact", "one-probe"])
@pytest.mark.parametrize("scale", ["raw", "standardised"])
@pytest.mark.parametrize("name", NETWORKS)
def test_rw_sam_on_factored_gradients_is_rw_sam(loss, name, norms, scale) -> None:
    plain, fast = both(loss, name, "rwsam", B, norms=norms, scale=scale, lam=0.7, normalised=scale == "raw")
    agree(plain, fast)
    torch.testing.assert_close(fast.info["ess"], plain.info["ess"])


def test_both_forms_of_a_layer_occur_in_these_tests() -> None:
    kinds = set()
    for name in NETWORKS:
        module, w, batch, _ = problem(name)
        for m in (1, 12):
            kinds |= {type(f) for f in FactoredOracle(CROSS_ENTROPY, batch, m, taps=Taps(module)).grad(w).factors}
    assert kinds == {
        factors.LowRank,
        factors.Dense,
        factors_conv.Overlapping,
        factors_kernels.Kernels,
        factors_norm.Affine,
        factors_norm.GroupAffine,
        factors_embedding.Looked,
        factors_embedding.Rows,
        factors_added.Sums,
    }


@pytest.mark.parametrize(("inputs", "form"), [(4, factors.Dense), (5, factors.LowRank)])
def test_a_linear_layer_has_the_form_of_fewer_multiplications(inputs, form) -> None:
    """2 (i + o) of a pair of samples against i o: as many at i = o = 4."""
    X, D = torch.randn(6, inputs), torch.randn(6, 4)
    assert isinstance(factors.linear(nn.Linear(inputs, 4), X, D, 2), form)
    assert isinstance(factors.linear(nn.Linear(4, inputs), D, X, 2), form)


@pytest.mark.parametrize(("positions", "form"), [(23, factors.LowRank), (24, factors.Dense)])
def test_a_linear_layer_on_sequences_has_the_form_that_is_cheaper_to_the_end(positions, form) -> None:
    """Three products of r rows, 3 r^2 (i + o), against forming and some passes, (r + 48) i o; alone 47 r (i + o)."""
    X, D = torch.randn(2, positions, 48), torch.randn(2, positions, 48)
    assert isinstance(factors.linear(nn.Linear(48, 48), X, D, 1), form)


@pytest.mark.parametrize(("words", "form"), [(8, factors_embedding.Rows), (9, factors_embedding.Looked)])
def test_the_rows_of_a_table_are_formed_where_they_are_fewer_than_the_products_of_what_is_looked_up(words, form):
    """4 x 4 products of each micro-batch's words against two passes over the table."""
    X, D = torch.randint(words, (6, 4)), torch.randn(6, 4, 3)
    assert isinstance(factors_embedding.tokens(nn.Embedding(words, 3), X, D, 1), form)


def test_a_padding_word_has_no_gradient_and_an_embedding_that_changes_itself_no_factors() -> None:
    module = nn.Sequential(nn.Embedding(5, 4, padding_idx=2), nn.Flatten(), nn.Linear(12, 3)).double()
    x = torch.tensor([[0, 2, 2], [2, 4, 2], [1, 2, 2], [2, 2, 3]])
    batch, w = (x, torch.tensor([0, 1, 2, 0])), flatten(module)
    found = factored_step(get("sam").step, 2, Taps(module), CROSS_ENTROPY)(
        Oracle(losses_fn(module), batch), w, (), rho=1
    )
    agree(per_micro_batch(get("sam").step, 2)(Oracle(losses_fn(module), batch), w, (), rho=1), found)
    for how in ({"max_norm": 1.0}, {"scale_grad_by_freq": True}):
        with pytest.raises(NotFactoredError, match="Embedding"):
            Taps(nn.Sequential(nn.Embedding(5, 4, **how), nn.Flatten(), nn.Linear(12, 3)))


@pytest.mark.parametrize(
    ("channels", "side", "kernel", "m", "fewer"),
    [
        ((4, 4), 1, 1, 1, False), ((5, 4), 1, 1, 1, True), ((4, 5), 1, 1, 1, True), ((8, 8), 1, 1, 2, False),
        ((9, 8), 1, 1, 2, True), ((16, 16), 2, 1, 1, False), ((17, 16), 2, 1, 1, True), ((16, 17), 2, 1, 1, True),
        ((4, 19), 3, 3, 1, False), ((5, 19), 3, 3, 1, True), ((4, 1), 1, 1, 1, False),
    ],
)  # fmt: skip
def test_overlaps_are_taken_where_they_cost_less_than_half_of_the_kernels(channels, side, kernel, m, fewer) -> None:
    """Of c channels of s pixels and o of p: m (c s^2 + o p^2) against o p for each of a kernel's numbers."""
    layer, X = nn.Conv2d(*channels, kernel), torch.randn(m, channels[0], side, side)
    found = factors_conv.conv(layer, X, layer(X), m)
    assert isinstance(found, factors_conv.Overlapping if fewer else factors_kernels.Kernels)


def test_of_the_two_gradients_of_a_convolution_only_the_one_that_is_read_is_computed(monkeypatch) -> None:
    layer, X, asked = nn.Conv2d(2, 3, 3), torch.randn(4, 2, 5, 5), []
    back = Convolution.back
    monkeypatch.setattr(Convolution, "back", lambda *args: (asked.append(args[4]), back(*args))[1])
    how, D = Convolution.of(layer), torch.randn(4, 3, 3, 3)
    weight = factors_kernels.each_kernel(how, D, X, layer.weight, 2)
    assert factors_kernels.each_back(how, D, X, weight).shape == X.shape
    assert asked == [(False, True), (True, False)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_factor_knows_its_norm_and_its_sum(name) -> None:
    module, w, batch, _ = problem(name)
    for m in (1, 3):
        g = FactoredOracle(CROSS_ENTROPY, batch, m, taps=Taps(module)).grad(w)
        torch.testing.assert_close(g.norm(), g.dense().norm(dim=1))
        torch.testing.assert_close((0.3 * g).mean(), 0.3 * g.dense().mean(0))


def test_the_module_given_is_left_alone() -> None:
    module, w, batch, _ = problem("cnn")
    before, expected = flatten(module), module(batch[0])
    FactoredOracle(CROSS_ENTROPY, batch, 3, taps=Taps(module)).grad(w)
    assert torch.equal(flatten(module), before)
    assert torch.equal(module(batch[0]), expected)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 3)), "PReLU"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(4, 3)), "Conv2d"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.Flatten(), nn.Linear(4, 3)), "Conv2d"),
    ],
)
def test_an_unknown_layer_has_no_factors(module, why) -> None:
    with pytest.raises(NotFactoredError, match=why):
        Taps(module)


def test_a_layer_that_runs_twice_has_no_factors() -> None:
    layer = nn.Linear(4, 4)
    taps = Taps(nn.Sequential(layer, nn.ReLU(), layer))
    w = torch.randn(20)
    with pytest.raises(NotFactoredError, match="does not run exactly once"):
        FactoredOracle(CROSS_ENTROPY, (torch.randn(6, 4), torch.zeros(6, dtype=torch.int64)), 2, taps=taps).grad(w)


def test_shared_parameters_have_no_factors() -> None:
    one, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.weight = one.weight
    with pytest.raises(NotFactoredError, match="shared parameters"):
        Taps(nn.Sequential(one, other))


@pytest.mark.parametrize(
    "ask",
    [
        lambda g, w: g.sign(), lambda g, w: g - w, lambda g, w: w - g, lambda g, w: w * g.scale.sum() @ g,
        lambda g, w: torch.where(w > 0, w, g), lambda g, w: g[0], lambda g, w: g.abs(),
    ],
)  # fmt: skip
def test_what_factors_cannot_do_is_refused_and_not_done_wrongly(ask) -> None:
    module, w, batch, _ = problem("wide mlp")
    g = FactoredOracle(CROSS_ENTROPY, batch, 3, taps=Taps(module)).grad(w)
    assert isinstance(g, Factored)
    with pytest.raises((NotFactoredError, TypeError)):
        ask(g, w)


def test_weights_within_several_micro_batches_are_refused() -> None:
    with pytest.raises(NotFactoredError, match="more than one micro-batch"):
        both(CROSS_ENTROPY, "wide mlp", "rwsam", 3)
