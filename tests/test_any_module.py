"""The optimiser on networks as people have them: equal to SAM written out by hand, and nothing else has changed."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from sam_dash.maths.fast.unformed import formed
from sam_dash.maths.flat import flatten
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.optim import SharpnessAware
from sam_dash.variants import REGISTRY
from tests.helpers import Made


class Through(torch.autograd.Function):
    """A sign whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.sign() + 0.1 * x

    @staticmethod
    def backward(ctx, grad):
        return grad


def repeated():
    layer = nn.Linear(8, 8)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.ReLU(), nn.Linear(8, 3))


def tied():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    net[2].weight = net[0].weight
    return net


def hooked():
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    net[0].register_forward_hook(lambda _module, _inputs, out: 2 * out)
    return net


def frozen():
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    net[0].weight.requires_grad_(False)
    return net


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.utils.weight_norm(nn.Linear(6, 3)))


def unused():
    return Made(lambda self, x: self.a(x), a=nn.Linear(8, 3), b=nn.Linear(8, 3))


def images(x):
    return x.view(-1, 1, 2, 4)


def sequences(x):
    return x.view(-1, 2, 4)


def recurrent(self, x):
    return self.b(self.a(sequences(x))[0][:, -1])


def two_layers(forward):
    return Made(forward, a=nn.Linear(8, 6), b=nn.Linear(6, 3))


NETWORKS = {
    "perceptron": lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)),
    "one layer": lambda: nn.Linear(8, 3),
    "tanh": lambda: nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)),
    "the same layer twice": repeated, "tied weights": tied, "a hook that changes": hooked, "a frozen weight": frozen,
    "a layer that is not used": unused, "weight_norm, old": old_weight_norm,
    "weight_norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)),
    "convolution": lambda: Made(
        lambda self, x: self.b(self.a(images(x)).relu().flatten(1)), a=nn.Conv2d(1, 2, 3, padding=1), b=nn.Linear(16, 3)
    ),
    "layer norm": lambda: nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)),
    "group norm": lambda: nn.Sequential(nn.Linear(8, 6), nn.GroupNorm(2, 6), nn.ReLU(), nn.Linear(6, 3)),
    "residual": lambda: Made(lambda self, x: self.b(x + self.a(x).tanh()), a=nn.Linear(8, 8), b=nn.Linear(8, 3)),
    "LSTM": lambda: Made(recurrent, a=nn.LSTM(4, 5, batch_first=True), b=nn.Linear(5, 3)),
    "GRU": lambda: Made(recurrent, a=nn.GRU(4, 5, batch_first=True), b=nn.Linear(5, 3)),
    "transformer": lambda: Made(
        lambda self, x: self.b(self.a(sequences(x)).mean(1)),
        a=nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), b=nn.Linear(4, 3),
    ),
    "straight-through": lambda: two_layers(lambda self, x: self.b(Through.apply(self.a(x)))),
    "checkpointed": lambda: two_layers(
        lambda self, x: self.b(checkpoint(lambda h: self.a(h).tanh(), x, use_reentrant=False))
    ),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)),
    "dropout": lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)),
    "dropout in forward": lambda: two_layers(lambda self, x: self.b(F.dropout(self.a(x), 0.5, self.training))),
    "LSTM with dropout": lambda: Made(recurrent, a=nn.LSTM(4, 5, 2, dropout=0.5, batch_first=True), b=nn.Linear(5, 3)),
    "RReLU": lambda: nn.Sequential(nn.Linear(8, 6), nn.RReLU(), nn.Linear(6, 3)),
}  # fmt: skip


def network(name):
    torch.manual_seed(0)
    return NETWORKS[name]().double()


def data(n=16):
    torch.manual_seed(1)
    return torch.randn(n, 8).double(), torch.randint(0, 3, (n,))


def by_hand(model, batch, m, rho=0.3, lr=0.1):
    """m-SAM as one would write it: climb, differentiate, go back, for each micro-batch; masks and buffers repeated."""
    x, y = batch
    trained = [p for p in model.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in trained]
    moved = [b.clone() for b in model.buffers()]
    if moved:  # one clean pass moves the statistics
        model(x)
        moved = [b.clone() for b in model.buffers()]
    for part, labels in zip(x.split(m), y.split(m), strict=True):
        state, buffers = torch.get_rng_state(), [b.clone() for b in model.buffers()]
        g = torch.autograd.grad(F.cross_entropy(model(part), labels), trained, allow_unused=True)
        after = torch.get_rng_state()
        g = [torch.zeros_like(p) if a is None else a for a, p in zip(g, trained, strict=True)]
        norm = torch.cat([a.flatten() for a in g]).norm()
        with torch.no_grad():
            before = [p.clone() for p in trained]
            for p, a in zip(trained, g, strict=True):
                p.add_(rho * a / norm)
            for b, value in zip(model.buffers(), buffers, strict=True):
                b.copy_(value)
        torch.set_rng_state(state)
        h = torch.autograd.grad(F.cross_entropy(model(part), labels), trained, allow_unused=True)
        torch.set_rng_state(after)
        with torch.no_grad():
            for p, value, t, a in zip(trained, before, total, h, strict=True):
                p.copy_(value)
                t += 0 if a is None else a * (m / len(x))
            for b, value in zip(model.buffers(), buffers, strict=True):
                b.copy_(value)
    with torch.no_grad():
        for p, t in zip(trained, total, strict=True):
            p.sub_(lr * t)
        for b, value in zip(model.buffers(), moved, strict=True):
            b.copy_(value)


def sam(model, m=None, **options):
    return SharpnessAware(model, "sam", m=m, **({"lr": 0.1, "rho": 0.3} | options))


@pytest.mark.parametrize("m", [1, 4, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_three_steps_equal_sam_written_out_by_hand(name, m) -> None:
    model, twin, (x, y) = network(name), network(name), data()
    optimiser = sam(model, m)
    for _ in range(3):
        torch.manual_seed(7)
        optimiser.step(lambda: (x, y))
        ended = torch.get_rng_state()
        torch.manual_seed(7)
        by_hand(twin, (x, y), m)
        if not list(model.buffers()):
            assert torch.equal(torch.get_rng_state(), ended)
    for p, q in zip([*model.parameters(), *model.buffers()], [*twin.parameters(), *twin.buffers()], strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("m", [1, 4, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_of_size_nothing_leaves_the_module_bit_for_bit_as_it_was(name, m) -> None:
    model, batch = network(name), data()
    if any(True for _ in model.buffers()):
        model.eval()
    before = {n: (id(p), p.requires_grad, p.clone()) for n, p in model.named_parameters(remove_duplicate=False)}
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    facts = [(part.training, len(part._forward_hooks), set(vars(part))) for part in model.modules()]
    sam(model, m, lr=0.0).step(lambda: batch)
    after = dict(model.named_parameters(remove_duplicate=False))
    assert {n: (id(p), p.requires_grad) for n, p in after.items()} == {n: known[:2] for n, known in before.items()}
    assert all(torch.equal(after[n], known[2]) for n, known in before.items())
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())
    assert [(part.training, len(part._forward_hooks), set(vars(part))) for part in model.modules()] == facts


@pytest.mark.parametrize(
    ("name", "m", "way"),
    [
        ("perceptron", 4, "chain"), ("perceptron", 16, "chain"), ("tanh", 16, "plain"), ("layer norm", 4, "factored"),
        ("convolution", 1, "factored"), ("tanh", 1, "factored"), 
        ("GRU", 4, "looped"), ("LSTM with dropout", 4, "looped"), ("dropout", 1, "looped"),
        ("a hook that changes", 4, "intercepted"), ("transformer", 1, "intercepted"),
        ("tied weights", 4, "intercepted"), ("a frozen weight", 4, "intercepted"),
        ("weight_norm, old", 4, "looped"), ("the same layer twice", 4, "intercepted"),
    ],
)  # fmt: skip
def test_the_way_is_the_fastest_that_is_right(name, m, way) -> None:
    optimiser = sam(network(name), m)
    assert optimiser.way == ""
    optimiser.step(lambda: data())
    assert optimiser.way == way


def test_a_way_that_is_wrong_is_not_taken(monkeypatch) -> None:
    from sam_dash.maths.fast import ways

    right = ways.chain

    def wrong(v, live, m):
        take = right(v, live, m)

        def twice(*args):
            out = take(*args)
            return out._replace(h=1.1 * out.h)

        return twice

    monkeypatch.setattr(ways, "chain", wrong)
    optimiser = sam(network("perceptron"), 4)
    optimiser.step(lambda: data())
    assert optimiser.way == "factored"


def test_randomness_that_torch_does_not_know_is_refused() -> None:
    count = itertools.count(1)
    model = Made(lambda self, x: self.a(x * next(count)), a=nn.Linear(8, 3)).double()
    with pytest.raises(ValueError, match="two forwards of the same batch at the same weights differ"):
        sam(model).step(lambda: data())


def test_batches_are_dicts_and_tuples_and_targets_of_any_structure() -> None:
    (x, y), other = data(), data()[1].flip(0)

    def mixed(out, targets):
        return 0.7 * CROSS_ENTROPY(out, targets["a"]) + 0.3 * CROSS_ENTROPY(out, targets["b"])

    results = []
    for inputs in ((x, x), {"left": x, "right": x}, [x, x]):
        model = Made(
            lambda self, left, right: self.a(left) + self.b(right), a=nn.Linear(8, 3), b=nn.Linear(8, 3)
        ).double()
        torch.manual_seed(0)
        for p in model.parameters():
            nn.init.normal_(p)
        optimiser = sam(model, 4, loss=mixed)
        optimiser.step(lambda inputs=inputs: (inputs, {"a": y, "b": other}))
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    with pytest.raises(ValueError, match="all lead with the same number of samples; found 3, 16"):
        optimiser.step(lambda: ((x, x[:3]), {"a": y, "b": other}))


def test_a_loss_that_is_not_one_number_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one number a sample, \(16,\): pass per-sample losses"):
        sam(network("tanh"), loss=nn.CrossEntropyLoss()).step(lambda: data())


def test_a_closure_that_returns_a_loss_is_told_what_to_return() -> None:
    model, (x, y) = network("tanh"), data()
    with pytest.raises(ValueError, match=r"needs a closure that returns the batch \(x, y\), not a loss"):
        sam(model).step(lambda: F.cross_entropy(model(x), y))


def test_only_what_is_given_is_perturbed_and_trained_and_groups_keep_their_rates() -> None:
    model, twin, batch = network("tanh"), network("tanh"), data()
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": [model[2].weight]}]
    optimiser = sam(model, 4, params=groups)
    optimiser.step(lambda: batch)
    twin[2].bias.requires_grad_(False)
    by_hand(twin, batch, 4)
    assert torch.equal(model[2].bias, twin[2].bias)
    torch.testing.assert_close(model[2].weight, twin[2].weight)
    assert torch.equal(model[0].weight, network("tanh")[0].weight)
    with pytest.raises(ValueError, match=r"shape \(2, 2\) is not one of the model's"):
        sam(model, params=[nn.Parameter(torch.zeros(2, 2))])


def test_parameters_that_are_all_frozen_are_refused_however_they_are_given() -> None:
    model = network("perceptron").requires_grad_(False)
    for given in (None, model.parameters(), [{"params": model.parameters(), "lr": 0.1}]):
        with pytest.raises(ValueError, match="requires a gradient: there is nothing to train"):
            sam(model, params=given)


def test_a_group_that_is_added_is_trained_from_then_on() -> None:
    model, batch = network("tanh"), data()
    optimiser = sam(model, 4, params=model[2].parameters())
    optimiser.step(lambda: batch)
    assert torch.equal(model[0].weight, network("tanh")[0].weight)
    optimiser.add_param_group({"params": list(model[0].parameters())})
    twin = copy.deepcopy(model)
    optimiser.step(lambda: batch)
    by_hand(twin, batch, 4)
    torch.testing.assert_close(model[0].weight, twin[0].weight)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_goes_on_as_the_original_does(copied) -> None:
    model, batch = network("tanh"), data()
    optimiser = SharpnessAware(model, "vasso", m=4, lr=0.1, rho=0.3)
    optimiser.step(lambda: batch)
    twin_model, twin = copied((model, optimiser))
    for o in (optimiser, twin):
        o.step(lambda: batch)
    assert twin_model is twin.model
    for p, q in zip(model.parameters(), twin_model.parameters(), strict=True):
        assert p is not q
        assert torch.equal(p, q)


def test_a_checkpoint_is_read_with_weights_only() -> None:
    optimiser = SharpnessAware(network("tanh"), "vasso", m=4, lr=0.1, rho=0.3)
    optimiser.step(lambda: data())
    file = io.BytesIO()
    torch.save(optimiser.state_dict(), file)
    file.seek(0)
    again = SharpnessAware(network("tanh"), "vasso", m=4, lr=0.1, rho=0.3)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.t == 1


@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.AdamW])
def test_one_cycle_moves_the_rate_and_momentum_of_the_base(base) -> None:
    model = network("tanh")
    optimiser = sam(
        model, 4, base=lambda p, lr: base(p, lr=lr, **({"momentum": 0.9} if base is torch.optim.SGD else {}))
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.5, total_steps=10)
    rates = []
    for _ in range(5):
        optimiser.step(lambda: data())
        schedule.step()
        rates.append(optimiser.base.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(0.5, rel=0.1)
    assert rates[0] < max(rates) > rates[-1]


def test_clip_bounds_what_is_descended() -> None:
    model, batch = network("tanh"), data()
    before = [p.clone() for p in model.parameters()]
    optimiser = sam(model, 4, clip=1e-3)
    optimiser.step(lambda: batch)
    moved = torch.cat([(p - q).detach().flatten() for p, q in zip(model.parameters(), before, strict=True)])
    assert float(moved.norm()) == pytest.approx(0.1 * 1e-3, rel=1e-4)
    assert float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()) == pytest.approx(1e-3, rel=1e-4)
    assert optimiser.last.h > 1e-3


@pytest.mark.parametrize(
    ("between", "m", "parts", "way"),
    [
        (nn.ReLU, None, 1, "chain"), (nn.ReLU, 4, 1, "chain"), (nn.ReLU, 4, 2, "chain"), (nn.ReLU, 8, 2, "chain"),
        (nn.Tanh, None, 1, "plain"), (nn.Tanh, 8, 2, "plain"), (nn.ReLU, 1, 1, "chain"), (nn.Tanh, 1, 1, "factored"),
        (lambda: Made(lambda self, h: F.linear(h, self.by.weight), by=nn.Linear(6, 6, False)), 1, 1, "intercepted"),
    ],
)  # fmt: skip
def test_last_says_what_the_step_was(between, m, parts, way) -> None:
    """The gradient at w is formed only when it is asked for where micro-batches are taken at once.

    A batch that has been overwritten since, as a loader's that is used again, does not change it.
    """
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(nn.Linear(8, 6), between(), nn.Linear(6, 3)).double(), data()
    expected = F.cross_entropy(model(x), y).item()
    g = torch.cat([a.flatten() for a in torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))])
    optimiser = sam(model, m)
    assert optimiser.last is None
    batches = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
    loss = optimiser.step(lambda: batches if parts > 1 else (x, y))
    x.zero_()
    last = optimiser.last
    h = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert optimiser.way == way
    assert float(loss) == pytest.approx(expected)
    assert last.loss == pytest.approx(expected)
    assert last.eps == pytest.approx(0.3)
    assert (last.g, last.h) == (pytest.approx(float(g.norm())), pytest.approx(float(h.norm())))
    assert last.cosine == pytest.approx(float(F.cosine_similarity(g, h, dim=0)))
    assert copy.deepcopy(optimiser).last == last


def test_a_scaler_changes_nothing_where_all_is_finite_and_skips_where_it_is_not() -> None:
    model, twin, (x, y) = network("tanh").float(), network("tanh").float(), data()
    x = x.float()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled, plain = SharpnessAware(model, "vasso", lr=0.1, scaler=scaler), SharpnessAware(twin, "vasso", lr=0.1)
    for optimiser in (scaled, plain):
        optimiser.step(lambda: (x, y))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    before = [p.clone() for p in model.parameters()]
    memory = [a.clone() for a in scaled.memory]
    bad = x.clone()
    bad[0] = float("inf")
    scaled.step(lambda: (bad, y))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(scaled.memory, memory, strict=True))
    assert scaled.t == 1
    assert scaler.get_scale() == 512.0


def autocast(self, x):
    """Each forward in a context of its own: within one, torch keeps what weights were cast to when they have moved."""
    with torch.autocast("cpu", torch.bfloat16):
        return self.net(x).float()


@pytest.mark.parametrize("name", ["tanh", "transformer", "GRU", "dropout"])
@pytest.mark.parametrize("m", [4, None])
def test_under_autocast_a_step_is_that_of_the_loop_by_hand(name, m) -> None:
    model, (x, y) = network(name).float(), data()
    twin = Made(autocast, net=copy.deepcopy(model))
    before, generator = flatten(model), torch.get_rng_state()
    by_hand(twin, (x.float(), y), m or len(y))
    expected = (before - flatten(twin)) / 0.1
    torch.set_rng_state(generator)
    optimiser = sam(model, m)
    with torch.autocast("cpu", torch.bfloat16):
        optimiser.step(lambda: (x.float(), y))
    assert torch.is_autocast_cache_enabled()
    found = (before - flatten(model)) / 0.1
    assert (found - expected).norm() < 0.03 * expected.norm()
    assert (
        formed(optimiser._last[1].g) - expected
    ).norm() > 0.06 * expected.norm()  # SGD's, which a stale cast would give
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_mixed_dtypes_train() -> None:
    model = Made(
        lambda self, x: self.b(self.a(x.bfloat16()).float().relu()), a=nn.Linear(8, 6).bfloat16(), b=nn.Linear(6, 3)
    )
    x, y = data()
    before = CROSS_ENTROPY(model(x), y).mean().item()
    optimiser = sam(model, 4)
    for _ in range(20):
        loss = optimiser.step(lambda: (x, y))
    assert model.a.weight.dtype == torch.bfloat16
    assert float(loss) < 0.9 * before


@pytest.mark.parametrize("variant", REGISTRY)
@pytest.mark.parametrize("name", ["perceptron", "layer norm", "tanh", "GRU"])
@pytest.mark.parametrize("m", [4, None])
def test_the_loss_that_a_step_returns_is_the_mean_at_the_weights_before_it(variant, name, m) -> None:
    model, (x, y) = network(name), data()
    v = REGISTRY[variant]
    if m and not v.uses_m:
        pytest.skip(f"{v.title} has no m-version")
    torch.manual_seed(2)
    full = torch.randn(24, 8).double(), torch.randint(0, 3, (24,))
    given = {"full": full} if v.cost(**v.defaults()).full else {}
    given |= {"counts": full[1].bincount(minlength=3)} if v.counts else {}
    optimiser = SharpnessAware(model, variant, m=m, lr=0.1, **given)
    for _ in range(2):
        expected = F.cross_entropy(model(x), y).item()
        assert float(optimiser.step(lambda: (x, y))) == pytest.approx(expected, rel=1e-12)
