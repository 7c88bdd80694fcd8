"""The optimiser on parts: of the parameters, by `perturb=` and groups, and of the batch, by lists of batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_dash.maths.live_oracle import LiveOracle
from sam_dash.optim import SharpnessAware
from sam_dash.variants import REGISTRY


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)).double()


def data(n=16):
    torch.manual_seed(1)
    return torch.randn(n, 5).double(), torch.randint(0, 3, (n,))


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def by_hand(model, batch, m, radii, counted):
    """The weights (d,) after a step of m-SAM at rate 0.1: eps_p = radius_p g_p / ||g||, the norm of those `counted`."""
    parameters, total = list(model.parameters()), 0
    for x, y in zip(*(a.split(m) for a in batch), strict=True):
        g = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        norm = sum(a.square().sum() for a, has in zip(g, counted, strict=True) if has).sqrt()
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, a, radius in zip(parameters, g, radii, strict=True):
                p.add_(radius * a / norm)
        h = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        with torch.no_grad():
            for p, value in zip(parameters, before, strict=True):
                p.copy_(value)
        total = total + torch.cat([a.flatten() for a in h]) * (m / len(batch[0]))
    return flat(model) - 0.1 * total


@pytest.mark.parametrize(("m", "way"), [(4, "looped"), (16, "plain")])
def test_only_the_norm_layers_are_perturbed_and_all_is_trained(m, way) -> None:
    """The norm is theirs alone, as in arXiv:2306.04226."""
    model, batch = network(), data()
    optimiser = SharpnessAware(model, "sam", m=m, lr=0.1, rho=0.5, perturb=model[1].parameters())
    expected = by_hand(network(), batch, m, [0, 0, 0.5, 0.5, 0, 0], [0, 0, 1, 1, 0, 0])
    optimiser.step(lambda: batch)
    torch.testing.assert_close(flat(model), expected, rtol=1e-12, atol=1e-12)
    assert optimiser.way == way
    assert optimiser.last.eps == pytest.approx(0.5)
    assert float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()) == pytest.approx(optimiser.last.h)


def test_variants_that_combine_gradients_refuse_to_leave_parameters_unperturbed_and_others_take_it() -> None:
    refused = set()
    for key, v in REGISTRY.items():
        model, (x, y) = network(), data()
        full = {"full": (x, y)} if v.cost(**v.defaults()).full else {}
        full |= {"counts": y.bincount(minlength=3)} if v.counts else {}
        before = flat(model)
        optimiser = SharpnessAware(model, key, lr=0.1, perturb=[model[0].weight], **full)
        try:
            optimiser.step(lambda batch=(x, y): batch)
        except ValueError as error:
            refused.add((key, "choose one that descends the gradient at the perturbed weights" in str(error)))
            assert torch.equal(flat(model), before)
    assert {("gsam", True), ("wsam", True)} <= refused
    assert all(said for _, said in refused)
    assert {key for key, _ in refused}.isdisjoint({"sam", "usam", "asam", "rwsam", "vasso", "nsam", "rwp", "sgd"})


def test_all_parameters_in_perturb_is_as_without_it_and_others_are_refused() -> None:
    found = []
    for given in ({}, {"perturb": True}):
        model = network()
        given = {"perturb": model.parameters()} if given else given
        SharpnessAware(model, "gsam", m=4, lr=0.1, **given).step(data)
        found.append(flat(model))
    assert torch.equal(*found)
    with pytest.raises(ValueError, match="expected some of the 6 parameters that are trained"):
        SharpnessAware(network(), lr=0.1, perturb=network().parameters())
    with pytest.raises(ValueError, match="expected some of the 6 parameters that are trained"):
        SharpnessAware(network(), lr=0.1, perturb=[])


@pytest.mark.parametrize(("m", "way"), [(4, "vmapped"), (16, "plain")])
def test_groups_have_a_radius_a_rate_and_a_weight_decay_of_their_own(m, way) -> None:
    model, batch = network(), data()
    groups = [
        {"params": model[0].parameters(), "rho": 0.9}, {"params": model[1].parameters(), "rho": 0.0},
        {"params": model[3].parameters(), "lr": 0.02, "weight_decay": 0.5},
    ]  # fmt: skip
    optimiser = SharpnessAware(model, "sam", m=m, lr=0.1, rho=0.3, params=groups)
    w = flat(network())
    expected = by_hand(network(), batch, m, [0.9, 0.9, 0, 0, 0.3, 0.3], [1] * 6)
    expected[-21:] = w[-21:] + 0.2 * (expected - w)[-21:] - 0.02 * 0.5 * w[-21:]
    optimiser.step(lambda: batch)
    torch.testing.assert_close(flat(model), expected, rtol=1e-12, atol=1e-12)
    assert optimiser.way == way
    assert 0.3 < optimiser.last.eps < 0.9


def test_a_groups_radius_may_change_between_steps() -> None:
    model, batch = network(), data()
    optimiser = SharpnessAware(model, "sam", m=4, lr=0.1, rho=0.3)
    optimiser.step(lambda: batch)
    assert optimiser.way == "factored"
    twin = network()
    twin.load_state_dict(model.state_dict())
    optimiser.param_groups[0]["rho"] = 0.6
    optimiser.step(lambda: batch)
    torch.testing.assert_close(flat(model), by_hand(twin, batch, 4, [0.6] * 6, [1] * 6), rtol=1e-12, atol=1e-12)


def test_a_groups_radius_is_refused_where_it_means_nothing() -> None:
    for key, knobs, rho, said in (
        ("sgd", {}, 0.1, "has no such knob"), ("sam", {"rho": 0.0}, 0.1, "itself has rho = 0"), ("sam", {}, -1.0, "in"),
    ):  # fmt: skip
        model = network()
        with pytest.raises(ValueError, match=said):
            SharpnessAware(model, key, lr=0.1, params=[{"params": model.parameters(), "rho": rho}], **knobs)


def parts(batch, sizes):
    return list(zip(*(a.split(sizes) for a in batch), strict=True))


@pytest.mark.parametrize(
    ("key", "m", "sizes"),
    [
        ("sam", 2, [4] * 4), ("sam", 4, [4] * 4), ("rwsam", 8, [4] * 4), ("esam", 8, [4] * 4), ("sam", 8, [8, 5, 3]),
        ("rwsam", None, [9, 7]), ("esam", None, [9, 7]), ("eigensam", None, [9, 7]),
    ],
)  # fmt: skip
def test_a_list_of_batches_is_one_batch_of_which_m_counts_the_samples(key, m, sizes) -> None:
    batch, found = data(), []
    for closure in (lambda: batch, lambda: parts(batch, sizes)):
        model = network()
        optimiser = SharpnessAware(model, key, m=m, lr=0.1, rho=0.3)
        losses = [float(optimiser.step(closure)) for _ in range(2)]
        found.append((flat(model), torch.tensor([*losses, optimiser.last.eps, optimiser.last.cosine])))
    for one, many in zip(*found, strict=True):
        torch.testing.assert_close(many, one, rtol=1e-9, atol=1e-11)


def test_an_m_that_crosses_batches_and_batch_norm_over_several_are_refused_before_anything_changes() -> None:
    batch, model = data(), network()
    before = flat(model)
    for m, sizes in ((6, [4, 4, 8]), (16, [4, 12, 4]), (8, [4, 8, 4])):
        with pytest.raises(ValueError, match="divide"):
            SharpnessAware(model, lr=0.1, m=m).step(lambda sizes=sizes: parts(data(sum(sizes)), sizes))
    assert torch.equal(flat(model), before)
    norm = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).double()
    with pytest.raises(ValueError, match="BatchNorm normalises each batch's 8 samples by themselves"):
        SharpnessAware(norm, lr=0.1).step(lambda: parts(batch, [8, 8]))
    assert int(norm[1].num_batches_tracked) == 0


def test_dropout_has_one_mask_in_both_passes_of_each_batch_of_a_list() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.5), nn.Linear(40, 3)).double()
    optimiser = SharpnessAware(model, "sam", lr=0.0, rho=0.0)
    optimiser.step(lambda: parts(data(), [8, 8]))
    assert optimiser.last.cosine == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("m", [None, 8])
def test_focal_sam_weighs_the_classes_of_a_list_of_batches_as_those_of_the_one(m) -> None:
    counts, (x, y) = torch.tensor([9, 5, 2]), data()
    found = []
    for batch in ((x, y), [(x[:6], y[:6]), (x[6:8], y[6:8]), (x[8:], y[8:])]):
        model = network()
        optimiser = SharpnessAware(model, "focalsam", lr=0.1, m=m, counts=counts)
        optimiser.step(lambda batch=batch: batch)
        found.append(flat(model))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_the_full_data_are_whole_for_every_way_and_cut_only_for_their_gradient() -> None:
    model, (x, y) = network(), data(50)
    optimiser = SharpnessAware(model, "nsam", lr=0.1, full=(x, y))
    live = optimiser.live
    with live.held() as w:
        full = LiveOracle.on(live, (x, y), chunk=16)
        assert (full.n, full.sizes, len(full.batch[1])) == (50, [16, 16, 16, 2], 50)
        torch.testing.assert_close(full.grad(w), LiveOracle.on(live, (x, y)).grad(w), rtol=1e-12, atol=1e-12)
