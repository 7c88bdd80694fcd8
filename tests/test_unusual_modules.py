"""What modules do in a forward beside their outputs, and what is done to them between steps; each was once wrong."""

from __future__ import annotations

import copy
import random
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sam_dash.maths.attention import no_fast_path
from sam_dash.optim import SharpnessAware
from tests.helpers import Made


def data(n=8):
    torch.manual_seed(1)
    return torch.randn(n, 8).double(), torch.randint(0, 3, (n,))


def sam(net, m=None, variant="sam", **options):
    return SharpnessAware(net, variant, m=m, **({"lr": 0.1, "rho": 0.3} | options))


def two(forward, **parts):
    torch.manual_seed(0)
    return Made(forward, **({"a": nn.Linear(8, 6), "b": nn.Linear(6, 3)} | parts)).double()


def stepped(net, m=None, variant="sam", batch=None, **options):
    optimiser = sam(net, m, variant, **options)
    torch.manual_seed(2)
    optimiser.step(lambda: batch or data())
    return optimiser


def same(net, twin) -> None:
    for (name, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("m", [2, None])
def test_a_buffer_that_a_forward_replaces_moves_once_and_is_the_same_in_all_passes(m) -> None:
    def forward(self, x):
        h = self.a(x)
        if self.training:
            self.mean = self.mean.lerp(h.detach().mean(0), 0.5)
        return self.b(h - 0.5 * self.mean.detach())

    net = two(forward)
    net.register_buffer("mean", torch.zeros(6).double())
    moved = net.a(data()[0]).mean(0).detach() / 2
    stepped(net, m)
    torch.testing.assert_close(net.mean, moved)


@pytest.mark.parametrize("m", [2, None])
def test_what_is_frozen_between_steps_stays_and_the_rest_is_trained_as_if_it_had_always_been(m) -> None:
    net = two(lambda self, x: self.b(self.a(x).tanh()))
    optimiser = sam(net, m, base=lambda p, lr: torch.optim.SGD(p, lr=lr, weight_decay=0.1))
    optimiser.step(data)
    net.a.weight.requires_grad_(False)
    twin, before = copy.deepcopy(net), net.a.weight.clone()
    optimiser.step(data)
    assert torch.equal(net.a.weight, before)
    sam(twin, m, base=lambda p, lr: torch.optim.SGD(p, lr=lr, weight_decay=0.1)).step(data)
    same(net, twin)
    net.a.weight.requires_grad_(True)
    optimiser.step(data)
    assert not torch.equal(net.a.weight, before)
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter that is given requires a gradient"):
        optimiser.step(data)


def test_of_a_perturbed_part_what_is_frozen_is_perturbed_no_longer() -> None:
    net = two(lambda self, x: self.b(self.a(x).tanh()))
    optimiser = sam(net, perturb=list(net.a.parameters()))
    optimiser.step(data)
    net.a.bias.requires_grad_(False)
    twin = copy.deepcopy(net)
    optimiser.step(data)
    sam(twin, perturb=[twin.a.weight]).step(data)
    same(net, twin)


@pytest.mark.parametrize("variant", ["sam", "gsam"])
def test_a_parameter_that_is_not_used_is_not_decayed_at_any_step_on_any_way(variant) -> None:
    net = two(lambda self, x: self.b(self.a(x).tanh()), c=nn.Linear(2, 2))
    before = copy.deepcopy(net.c)
    optimiser = sam(net, 2, variant, base=torch.optim.AdamW)
    for _ in range(2):
        optimiser.step(data)
        assert net.c.weight.grad is None
    same(net.c, before)


@pytest.mark.parametrize(("m", "variant"), [(2, "sam"), (2, "gsam"), (2, "msam"), (None, "msam")])
def test_the_loss_is_that_of_the_micro_batches_with_their_masks_and_each_is_drawn_once(m, variant) -> None:
    net = two(lambda self, x: self.b(F.dropout(self.a(x) - self.a(x).mean(0), 0.5, self.training)))
    for training in (True, False):
        net.train(training)
        (x, y), twin = data(), copy.deepcopy(net)
        torch.manual_seed(2)
        parts = zip(x.split(m or 8), y.split(m or 8), strict=True)
        expected = torch.stack([F.cross_entropy(twin(a), b) for a, b in parts]).mean()
        state = torch.get_rng_state()
        optimiser = sam(net, m, variant)
        torch.manual_seed(2)
        torch.testing.assert_close(optimiser.step(lambda x=x, y=y: (x, y)), expected.detach())
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("variant", ["sam", "gsam"])
def test_the_loss_is_the_mean_over_all_of_a_list_of_batches_of_several_sizes(variant) -> None:
    net = two(lambda self, x: self.b(self.a(x).tanh()))
    (x, y), expected = data(), F.cross_entropy(net(data()[0]), data()[1])
    optimiser = sam(net, 2, variant)
    loss = optimiser.step(lambda: [(x[:4], y[:4]), (x[4:6], y[4:6]), (x[6:], y[6:])])
    torch.testing.assert_close(loss, expected.detach())


def test_an_embedding_that_changes_its_rows_in_the_forward_is_refused_and_left_as_it_was() -> None:
    net = two(lambda self, x: self.b(self.a(x) + self.e(x[:, 0].abs().long())), e=nn.Embedding(9, 6, max_norm=0.5))
    before = net.e.weight.clone()
    with pytest.raises(ValueError, match=r"changes its own parameters as it runs, 'e.weight' for one"):
        stepped(net)
    assert torch.equal(net.e.weight, before)
    stepped(net, perturb=list(net.a.parameters()))
    assert not torch.equal(net.e.weight, before)


def test_what_comes_from_elsewhere_than_torchs_generators_is_refused_in_a_list_of_batches_too() -> None:
    x, y = data()
    net = two(lambda self, x: self.b(self.a(x)) * random.random())
    with pytest.raises(ValueError, match="two forwards of the same batch"):
        stepped(net, batch=[(x[:4], y[:4]), (x[4:], y[4:])])


def test_a_step_that_is_refused_moves_neither_statistics_nor_generators() -> None:
    for spoilt in (False, True):
        net = two(lambda self, x: self.b(self.d(self.n(self.a(x)))), n=nn.BatchNorm1d(6), d=nn.Dropout(0.5))
        if spoilt:
            net.b.forward = lambda h, b=net.b: F.linear(h, b.weight) * random.random()
        before, (x, y) = {n: a.clone() for n, a in net.state_dict().items()}, data()
        x = x if spoilt else x / 0
        torch.manual_seed(2)
        state = torch.get_rng_state()
        with pytest.raises(ValueError, match="two forwards" if spoilt else "inputs x are NaN or infinite"):
            sam(net).step(lambda x=x, y=y: (x, y))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(a, before[n]) for n, a in net.state_dict().items())


@pytest.mark.parametrize("m", [1, 2, 8])
def test_what_a_forward_leaves_in_a_module_can_be_used_after_the_step(m) -> None:
    def forward(self, x):
        self.seen = self.a(x).tanh()
        return self.b(self.seen)

    net = two(forward)
    stepped(net, m).step(data)
    assert net.seen.shape == (m, 6)
    assert bool(net.seen.isfinite().all())


@pytest.mark.parametrize("m", [2, None])
def test_a_sparse_gradient_is_as_good_as_a_dense_one(m) -> None:
    net = two(lambda self, x: self.b(self.e(x[:, 0].abs().long())), e=nn.Embedding(9, 6))
    twin = copy.deepcopy(net)
    net.e.sparse = True
    for one in (net, twin):
        stepped(one, m)
    same(net, twin)


def test_statistics_move_where_the_part_that_has_them_trains_and_elsewhere_no_mask_is_drawn_for_them() -> None:
    net = two(lambda self, x: self.b(F.dropout(self.n(self.a(x)), 0.5)), n=nn.BatchNorm1d(6))
    net.n.eval()
    stepped(net)
    assert int(net.n.num_batches_tracked) == 0
    ended = torch.get_rng_state()
    torch.manual_seed(2)
    net(data()[0])
    assert torch.equal(torch.get_rng_state(), ended)
    net.eval().n.train()
    stepped(net)
    assert int(net.n.num_batches_tracked) == 1


def test_rw_sam_with_exact_norms_perturbs_a_part_and_the_rest_descends_at_the_perturbed_weights() -> None:
    net = two(lambda self, x: self.b(self.a(x).tanh()))
    (x, y), twin = data(), copy.deepcopy(net)
    rows = [
        torch.autograd.grad(F.cross_entropy(twin(a[None]), b[None]), twin.a.bias)[0] for a, b in zip(x, y, strict=True)
    ]
    g = torch.stack([r.norm() for r in rows]).mul(0.5).softmax(0) @ torch.stack(rows)
    with torch.no_grad():
        twin.a.bias += 0.3 * g / g.norm()
    h = torch.autograd.grad(F.cross_entropy(twin(x), y), list(twin.parameters()))
    optimiser = stepped(net, None, "rwsam", perturb=[net.a.bias], norms="exact")
    for p, a in zip(net.parameters(), h, strict=True):
        torch.testing.assert_close(p.grad, a)
    assert optimiser.last.g == pytest.approx(float(g.norm()))


def test_a_warning_of_the_users_own_ends_no_step() -> None:
    def forward(self, x):
        warnings.warn("of the user's own", stacklevel=2)
        return self.b(self.a(x).tanh())

    with pytest.warns(UserWarning, match="of the user's own"):
        optimiser = stepped(two(forward), 2)
    assert optimiser.way == "looped"


def test_padding_has_no_gradient_in_any_micro_batch_where_its_embedding_is_tied_to_the_output() -> None:
    def forward(self, x):
        return F.linear(self.e(x).mean(1) + self.a.bias, self.e.weight)[:, :3]

    first, later = (torch.tensor(words) for words in ([[2, 3], [4, 5]], [[0, 3], [1, 1]]))
    net = two(forward, e=nn.Embedding(6, 6, padding_idx=-5))
    twin, ways = copy.deepcopy(net), []
    for one, m in ((net, 1), (twin, 2)):
        optimiser = sam(one, m, rho=0.0)
        for words in (first, later):
            optimiser.step(lambda words=words: (words, torch.tensor([0, 2])))
        ways.append(optimiser.way)
    assert ways == ["intercepted", "plain"]
    same(net, twin)


def test_passes_with_and_without_a_graph_draw_alike() -> None:
    """Attention in eval mode, without a graph, has a way of its own, whose outputs lie otherwise in memory."""

    def forward(self, x):
        h = self.t(*[x.view(-1, 2, 4)] * 3, need_weights=False)[0]
        noise.append(torch.randn_like(h))
        return self.b((h + noise[-1]).flatten(1))

    noise = []
    net = two(forward, t=nn.MultiheadAttention(4, 2, batch_first=True), b=nn.Linear(8, 3)).eval()
    stepped(net, None, "rwsam")
    assert len(noise) > 4
    assert all(torch.equal(a, noise[0]) for a in noise[2:])
    assert torch.backends.mha.get_fastpath_enabled()


def test_steps_side_by_side_leave_the_fast_path_as_it_was() -> None:
    first, second = no_fast_path(), no_fast_path()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.mha.get_fastpath_enabled()
    second.__exit__(None, None, None)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("m", [2, None])
def test_a_reentrant_checkpoint_trains_and_gradients_that_were_there_are_left(m) -> None:
    nets = [
        two(lambda self, x, kept=kept: self.b(kept(self.a(x)))) for kept in (
            lambda h: h.sigmoid().tanh(),
            lambda h: checkpoint(lambda a: a.sigmoid().tanh(), h, use_reentrant=True) if h.requires_grad else h,
        )
    ]  # fmt: skip
    for net in nets:
        net.a.bias.requires_grad_(False)
        net.a.bias.grad = torch.ones(6).double()
        stepped(net, m)
        assert torch.equal(net.a.bias.grad, torch.ones(6).double())
    same(*nets)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def tempered():
    return Made(lambda self, x: x * self.heat + self.shift, heat=2.0, shift=torch.zeros(6).double())


def normalised():
    net = perceptron().insert(0, Made(lambda self, x: x * self.c))
    net[0].register_buffer("c", torch.ones(8).double())
    return net.eval()


@pytest.mark.parametrize(
    ("net", "way", "change"),
    [
        (perceptron(), "chain", lambda net: net[1].register_forward_hook(lambda _module, _given, out: 0.5 * out)),
        (perceptron(), "chain", lambda net: net.__setitem__(1, nn.Tanh())),
        (perceptron().insert(1, nn.Dropout(0.5).eval()), "factored", lambda net: net[1].train()),
        (perceptron().insert(1, tempered()), "factored", lambda net: setattr(net[1], "heat", 0.5)),
        (perceptron().insert(1, tempered()), "factored", lambda net: net[1].shift.add_(1)),
        (normalised(), "factored", lambda net: net.load_state_dict({n: a / 2 for n, a in net.state_dict().items()})),
    ],
)
def test_a_module_that_is_changed_between_steps_is_trained_as_it_then_is(net, way, change) -> None:
    twin, batch = copy.deepcopy(net), data()
    first, second = sam(net, 4), sam(twin, 4)
    first.step(data)
    assert first.way == way
    twin.load_state_dict(net.state_dict())
    for one, optimiser in ((net, first), (twin, second)):
        change(one)
        torch.manual_seed(3)
        optimiser.step(lambda: batch)
    same(net, twin)


def test_masks_that_are_of_no_account_at_the_first_step_are_drawn_as_the_loop_draws_them() -> None:
    """No way but the loop draws them one micro-batch after another."""
    net = two(lambda self, x: self.b(self.a(x) + self.c * F.dropout(x[:, :6], 0.5)), c=nn.Parameter(torch.zeros(6)))
    net.c.requires_grad_(False)
    assert stepped(net, 2).way == "looped"


@pytest.mark.parametrize("m", [2, None])
def test_a_module_that_takes_derivatives_by_its_inputs_is_trained(m) -> None:
    def derived(self, x):
        x = x.detach().requires_grad_()
        slope = torch.autograd.grad(self.a(x).tanh().sum(), x, create_graph=True)[0]
        return self.b(F.dropout(slope[:, :6], 0.5))

    (x, y), net = data(), two(derived)
    twin = copy.deepcopy(net)
    torch.manual_seed(2)
    parts = zip(x.split(m or 8), y.split(m or 8), strict=True)
    expected = [torch.autograd.grad(F.cross_entropy(twin(a), b), [twin.a.weight, twin.b.weight]) for a, b in parts]
    state = torch.get_rng_state()
    stepped(net, m, batch=(x, y), rho=0.0)
    assert torch.equal(torch.get_rng_state(), state)
    for p, *each in zip((net.a.weight, net.b.weight), *expected, strict=True):
        torch.testing.assert_close(p.grad, torch.stack(each).mean(0))


def test_a_batch_without_samples_is_refused() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="the batch has no samples"):
        stepped(perceptron(), batch=(x[:0], y[:0]))
