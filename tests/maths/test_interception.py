"""Interception against the loop over micro-batches on the module's own autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sam_dash.maths.fast import intercepted, ways
from sam_dash.maths.fast.factors_embedding import embedding
from sam_dash.maths.fast.intercepted import plan_of
from sam_dash.maths.fast.sites import Embedding, two
from sam_dash.maths.fast.unformed import NotFactoredError, formed
from sam_dash.maths.live import Live
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.variants import get
from tests.helpers import Made

N = 8


class Product(torch.autograd.Function):
    """A product, as a function of autograd that vmap can take."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, W):
        return x @ W

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, d):
        x, W = ctx.saved_tensors
        return d @ W.T, x.T @ d


def sequence(x):
    return x.view(-1, 2, 4)


def turned(x):
    return sequence(x).transpose(0, 1)


def words(x):
    return (x.abs() * 3).long().clamp(max=4)


def encoder(**options):
    return nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, **options)


def frozen():
    net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    net[0].weight.requires_grad_(False)
    net[2].bias.requires_grad_(False)
    return net


def masked(self, x):
    lower = torch.ones(2, 2, dtype=torch.bool).tril()
    padded = x[:, :2] > 1.5
    padded[:, 0] = False
    return self.b(self.a(sequence(x), src_mask=~lower, src_key_padding_mask=padded).mean(1))


def with_class_token(self, x):
    h = torch.cat([self.cls.expand(len(x), -1, -1), sequence(x)], 1) + self.position
    return self.b(self.a(h)[:, 0])


def unseen(self, x):
    with torch._C.DisableTorchFunction():
        return x @ self.W


def own_attention(self, x):
    q, k, v = self.a(sequence(x)).view(-1, 2, 3, 2, 2).permute(2, 0, 3, 1, 4)
    bias = self.table[:, None].expand(-1, 2, -1)
    return self.b(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(1))


NETWORKS = {
    "attention": lambda: Made(
        lambda self, x: self.b(self.a(*[sequence(x)] * 3)[0].mean(1)),
        a=nn.MultiheadAttention(4, 2, batch_first=True), b=nn.Linear(4, 3),
    ),
    "across, with bias_kv": lambda: Made(
        lambda self, x: self.b(self.a(sequence(x), *[sequence(x).tanh()] * 2, need_weights=False)[0].mean(1)),
        a=nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True), b=nn.Linear(4, 3),
    ),
    "keys of another size, batch second": lambda: Made(
        lambda self, x: self.b(self.a(turned(x), *[turned(x)[..., :3]] * 2)[0].mean(0)),
        a=nn.MultiheadAttention(4, 2, kdim=3, vdim=3), b=nn.Linear(4, 3),
    ),
    "encoder": lambda: Made(
        lambda self, x: self.b(self.a(sequence(x)).mean(1)),
        a=nn.TransformerEncoder(encoder(activation="gelu"), 2, enable_nested_tensor=False), b=nn.Linear(4, 3),
    ),
    "masked": lambda: Made(masked, a=encoder(), b=nn.Linear(4, 3)),
    "class token": lambda: Made(
        with_class_token, cls=nn.Parameter(torch.randn(1, 1, 4)), position=nn.Parameter(torch.randn(3, 4)),
        a=encoder(norm_first=True), b=nn.Linear(4, 3),
    ),
    "a bias of attention": lambda: Made(
        own_attention, a=nn.Linear(4, 12), table=nn.Parameter(torch.randn(2, 2)), b=nn.Linear(8, 3)
    ),
    "as many positions as samples": lambda: Made(
        lambda self, x: self.a(x) + self.b(self.e(torch.arange(N)).mean(0)),
        a=nn.Linear(8, 3), e=nn.Embedding(N, 4), b=nn.Linear(4, 3),
    ),
    "tied, embedding and output": lambda: Made(
        lambda self, x: F.linear(self.e(words(x)).mean(1), self.e.weight)[:, :3] + self.a(x),
        e=nn.Embedding(5, 6), a=nn.Linear(8, 3),
    ),
    "embedding twice, with padding": lambda: Made(
        lambda self, x: self.a(self.e(words(x)).mean(1) + self.e(words(x)[:, 0])),
        e=nn.Embedding(5, 6, padding_idx=1), a=nn.Linear(6, 3),
    ),
    "one layer under two names": lambda: Made(
        lambda self, x: self.b(self.a(self.a(x).tanh()).tanh() + self.c(x)), b=nn.Linear(8, 3),
        **dict.fromkeys("ac", nn.Linear(8, 8)),
    ),
    "weights with two biases": lambda: Made(
        lambda self, x: self.b(F.linear(F.linear(x, self.W, self.c).tanh(), self.W, self.d)),
        W=nn.Parameter(torch.randn(8, 8)), c=nn.Parameter(torch.randn(8)), d=nn.Parameter(torch.randn(8)),
        b=nn.Linear(8, 3),
    ),
    "functions and numbers": lambda: Made(
        lambda self, x: (F.relu(x @ self.W, inplace=True) * self.scale).matmul(self.V.t()) + self.unused.shape[0],
        W=nn.Parameter(torch.randn(8, 5)), V=nn.Parameter(torch.randn(3, 5)), scale=nn.Parameter(torch.tensor(0.7)),
        unused=nn.Parameter(torch.randn(2)),
    ),
    "convolutions": lambda: Made(
        lambda self, x: self.b(F.relu(self.g(self.a(x.view(-1, 1, 2, 4))), inplace=True).flatten(1)),
        a=nn.Conv2d(1, 4, 3, padding=1), g=nn.GroupNorm(2, 4), b=nn.Linear(32, 3),
    ),
    "convolutions without a rule": lambda: Made(
        lambda self, x: self.b(self.p(self.c(self.a(x.view(-1, 2, 4)).unsqueeze(2))).flatten(1)),
        a=nn.Conv1d(2, 4, 3), c=nn.Conv2d(4, 4, 1, groups=2), p=nn.PReLU(4), b=nn.Linear(8, 3),
    ),
    "a function of autograd": lambda: Made(lambda self, x: Product.apply(x, self.W), W=nn.Parameter(torch.randn(8, 3))),
    "frozen in part": frozen,
    "one convolution twice": lambda: Made(
        lambda self, x: self.b(self.a(self.a(x.view(-1, 1, 2, 4)).tanh()).flatten(1)),
        a=nn.Conv2d(1, 1, 3, padding=1), b=nn.Linear(8, 3),
    ),
}  # fmt: skip

REFUSED = {
    "a parameter that is not shown": lambda: Made(unseen, W=nn.Parameter(torch.randn(8, 3))),
    "a checkpoint": lambda: Made(
        lambda self, x: self.b(checkpoint(lambda h: self.a(h).tanh(), x, use_reentrant=False)),
        a=nn.Linear(8, 6), b=nn.Linear(6, 3),
    ),
    "vmap within": lambda: Made(
        lambda self, x: torch.func.vmap(self.a)(x), a=nn.Linear(8, 3)
    ),
    "an embedding that shortens its rows": lambda: Made(
        lambda self, x: self.a(self.e(words(x)).mean(1)), e=nn.Embedding(5, 6, max_norm=1.0), a=nn.Linear(6, 3)
    ),
    "a value that is read": lambda: Made(
        lambda self, x: self.a(x) * float(self.s), a=nn.Linear(8, 3), s=nn.Parameter(torch.tensor(0.7))
    ),
}  # fmt: skip


def steps_of(net, m, key="sam", **knobs):
    """The step by the loop, the function that takes it by interception, the oracle's module and its w."""
    net = net.double()
    torch.manual_seed(1)
    batch = torch.randn(N, 8).double(), torch.randint(0, 3, (N,))
    live = Live.of(net, CROSS_ENTROPY, [p for p in net.parameters() if p.requires_grad])
    v, at = get(key), ways.Moment(None, None, None, 0, 1.0)
    knobs = v.check({"rho": 0.3, **knobs})

    def take(way):
        with live.held() as w:
            return way(v, live, m)(batch, w, (), at, knobs)

    return take, live, batch


@pytest.mark.parametrize(("m", "key"), [(1, "sam"), (4, "usam")])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_by_interception_is_that_of_the_loop(name, m, key) -> None:
    torch.manual_seed(0)
    take, live, _ = steps_of(NETWORKS[name](), m, key)
    expected, losses = take(ways.looped), torch.cat(live.losses)
    found = take(ways.intercepted)
    for part in ("h", "g", "eps"):
        one, other = formed(getattr(found, part)), getattr(expected, part)
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.cat(live.losses), losses)


@pytest.mark.parametrize("name", REFUSED)
def test_what_interception_cannot_see_is_refused(name) -> None:
    torch.manual_seed(0)
    take, _, _ = steps_of(REFUSED[name](), 4)
    with pytest.raises(ways.NOT_THIS_WAY):
        take(ways.intercepted)


def test_layers_of_attention_are_factored_and_only_the_rest_is_stacked() -> None:
    torch.manual_seed(0)
    _, live, batch = steps_of(NETWORKS["class token"](), 4)
    with live.held():
        stacked = plan_of(live, batch, 4).stacked
    assert {live.layout.names[i] for i in stacked} == {"cls", "position"}


def test_stacks_take_no_more_memory_than_is_allowed(monkeypatch) -> None:
    _, live, batch = steps_of(Made(lambda self, x: x @ self.W, W=nn.Parameter(torch.randn(8, 3))), 4)
    with live.held():
        monkeypatch.setattr(intercepted, "STACK_FLOATS", 2 * 24)
        plan_of(live, batch, 4)
        monkeypatch.setattr(intercepted, "STACK_FLOATS", 2 * 24 - 1)
        with pytest.raises(NotFactoredError, match="too much memory"):
            plan_of(live, batch, 4)


def test_a_later_batch_on_which_it_fails_is_looped_over() -> None:
    net = Made(lambda self, x: self.a(x), a=nn.Linear(8, 3))
    _, live, batch = steps_of(net, 4)
    v, at, knobs = get("sam"), ways.Moment(None, None, None, 0, 1.0), {"rho": 0.3}
    way, loop = ways.intercepted(v, live, 4), ways.looped(v, live, 4)
    for forward in (net.made, lambda self, x: x @ self.a.weight.t() + self.a.bias):
        net.made = forward
        with live.held() as w:
            expected = loop(batch, w, (), at, knobs)
        with live.held() as w:
            found = way(batch, w, (), at, knobs)
            assert sum(map(len, live.losses)) == N
        torch.testing.assert_close(found.h, expected.h)


def test_a_number_and_a_tuple_of_one_stand_for_both_directions() -> None:
    assert [two(a) for a in (3, (3,), (3, 3), (2, 3))] == [(3, 3), (3, 3), (3, 3), (2, 3)]


def test_an_embedding_factor_is_what_its_dense_gradient_says() -> None:
    torch.manual_seed(0)
    layer = Embedding(torch.randn(5, 3).double(), None, None)
    X, D = torch.randint(0, 5, (12,)), torch.randn(12, 3).double()
    one, three = embedding(layer, X, D, 1), embedding(layer, X, D, 3)
    dense, v, c = three.dense(), torch.randn(15).double(), torch.rand(4).double()
    torch.testing.assert_close(three.squares(), dense.square().sum(1))
    torch.testing.assert_close(three.total(c), c @ dense)
    torch.testing.assert_close(three.along(v), dense @ v)
    torch.testing.assert_close(one.grouped(3).dense(), dense)
    torch.testing.assert_close(one.weighted(torch.ones(12).double()).dense()[0], dense.sum(0))
    shifted = layer.weight + (c[:, None] * dense).view(4, 5, 3)
    expected = torch.cat([F.embedding(x, W) for x, W in zip(X.view(4, 3), shifted, strict=True)])
    torch.testing.assert_close(three.perturbed(layer, X, c), expected)
