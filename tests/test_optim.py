"""The optimiser for one's own loop."""

from __future__ import annotations

import dataclasses
import functools
import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.user import SAM
from sam_dash import api
from sam_dash.maths.flat import flatten
from sam_dash.optim import SharpnessAware
from sam_dash.variants import REGISTRY
from tests.helpers import mlp

PAGE = Path(__file__).parents[1] / "docs" / "optim.md"


def data(n=32, steps=6):
    torch.manual_seed(1)
    return [(torch.randn(n, 5).double(), torch.randint(0, 3, (n,))) for _ in range(steps)]


def network():
    torch.manual_seed(0)
    return mlp(5, 7, 3)


def make(model, key, m=None, **options):
    x, y = data(48, 1)[0]
    v, given = REGISTRY[key], {}
    if v.cost(**v.defaults()).full:
        given["full"] = x, y
    if v.counts:
        given["counts"] = y.bincount(minlength=3)
    return SharpnessAware(model, key, m=m, **({"lr": 0.05} | given | options))


def test_the_example_of_the_page_trains_in_ten_lines() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    space: dict = {}
    exec(code, space)
    assert float(space["accuracy"]) > 0.9
    lines = code.strip().splitlines()
    assert len(lines[lines.index("torch.manual_seed(0)") + 1 :]) <= 10


@pytest.mark.parametrize("key", REGISTRY)
@pytest.mark.parametrize("m", [None, 8])
def test_every_variant_goes_on_from_its_state_as_if_it_had_not_stopped(key, m) -> None:
    if m and not REGISTRY[key].uses_m:
        with pytest.raises(ValueError, match="no m-version"):
            make(network(), key, m)
        return
    model, batches = network(), data()
    optimiser = make(model, key, m)
    for batch in batches[:3]:
        optimiser.step(lambda batch=batch: batch)
    saved = {k: v.clone() for k, v in model.state_dict().items()}
    state = optimiser.state_dict()
    for batch in batches[3:]:
        optimiser.step(lambda batch=batch: batch)
    again = network()
    again.load_state_dict(saved)
    resumed = make(again, key, m)
    resumed.load_state_dict(state)
    for batch in batches[3:]:
        resumed.step(lambda batch=batch: batch)
    assert torch.equal(flatten(again), flatten(model))
    assert resumed.t == 6
    assert bool(flatten(model).isfinite().all())


def test_a_step_of_m_sam_is_the_base_optimiser_on_the_librarys_gradient() -> None:
    model, (x, y) = network(), data()[0]
    g = api.gradient("sam", model, x, y, m=4, rho=0.3)
    before = flatten(model)
    inner = functools.partial(torch.optim.SGD, weight_decay=0.1)
    loss = SharpnessAware(model, "sam", inner, m=4, lr=0.2, rho=0.3).step(lambda: (x, y))
    torch.testing.assert_close(flatten(model), before - 0.2 * (g.h + 0.1 * before))
    torch.testing.assert_close(loss, F.cross_entropy(_with(before)(x), y))


def _with(w):
    model = network()
    nn.utils.vector_to_parameters(w, model.parameters())
    return model


def test_sgd_in_it_is_torchs_sgd_with_momentum_and_schedule() -> None:
    a, b = network(), network()
    inner = functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True)
    ours, theirs = make(a, "sgd", base=inner), inner(b.parameters(), lr=0.05)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, 6) for o in (ours, theirs)]
    for x, y in data():
        ours.step(lambda x=x, y=y: (x, y))
        theirs.zero_grad()
        F.cross_entropy(b(x), y).backward()
        theirs.step()
        for s in schedules:
            s.step()
    torch.testing.assert_close(flatten(a), flatten(b))
    assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"] < 1e-9


def lengths(optimiser, model, steps, after=lambda: None):
    """||eps|| of each step: what the variant is given and makes of it, seen through its own step."""
    seen, step = [], optimiser.variant.step

    def watched(*args, **kwargs):
        out = step(*args, **kwargs)
        seen.append(float(out.eps.norm()))
        return out

    optimiser.variant = dataclasses.replace(optimiser.variant, step=watched)
    optimiser.chosen.clear()
    for _ in range(steps):
        optimiser.step(lambda: data()[0])
        after()
    return seen


def test_gsams_radius_goes_with_a_one_cycle_schedule_between_its_ends() -> None:
    model = network()
    optimiser = make(model, "gsam", floor=0.2, rho=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=9, final_div_factor=10)
    rates = []

    def after():
        rates.append(optimiser.param_groups[0]["lr"])
        schedule.step()

    lr_min = 0.1 / 25 / 10
    seen = lengths(optimiser, model, 9, after)
    expected = [0.1 + 0.4 * (lr - lr_min) / (0.1 - lr_min) for lr in rates]
    assert seen == pytest.approx(expected, rel=1e-9)
    assert max(seen) == pytest.approx(0.5, rel=0.01)
    assert min(seen) == pytest.approx(0.1)


def test_gsams_radius_falls_to_its_floor_at_rate_0_and_knows_a_warm_up_by_the_rate_it_starts_from() -> None:
    model = network()
    optimiser = make(model, "gsam", floor=0.2, rho=0.5)
    seen = []
    for lr in (0.05, 0.025, 0.0):
        optimiser.param_groups[0]["lr"] = lr
        seen += lengths(optimiser, model, 1)
    assert seen == pytest.approx([0.5, 0.3, 0.1])
    model = network()
    optimiser = make(model, "gsam", floor=0.2, rho=0.5)
    torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.5, total_iters=4)
    assert lengths(optimiser, model, 1) == pytest.approx([0.3])


@pytest.mark.parametrize("key", ["gsam", "ssamd"])
def test_a_schedule_that_rises_above_its_first_rate_and_a_rate_of_0_at_the_start_work(key) -> None:
    model = network()
    optimiser = make(model, key)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=18)
    lengths(optimiser, model, 18, schedule.step)
    assert bool(flatten(model).isfinite().all())
    before = flatten(still := network())
    lengths(make(still, key, lr=0.0), still, 1)
    assert torch.equal(flatten(still), before)


def grouped(model, lr):
    """Two groups, the second at a tenth of the rate."""
    first, second = list(model.parameters())[:2], list(model.parameters())[2:]
    return torch.optim.SGD([{"params": first}, {"params": second, "lr": lr / 10}], lr=lr, momentum=0.9)


def test_every_group_has_the_share_of_its_own_first_rate() -> None:
    model = network()
    optimiser = make(model, "gsam", base=lambda p, lr: grouped(model, lr), floor=0.0, rho=0.5)
    assert lengths(optimiser, model, 1) == pytest.approx([0.5])
    optimiser.param_groups[1]["lr"] *= 0.5  # of 24 of the 66 weights
    assert lengths(optimiser, model, 1) == pytest.approx([0.5 * (42 + 12) / 66])


def test_wsams_sharpness_passes_the_base_by_at_the_rate_of_each_group() -> None:
    model, (x, y) = network(), data()[0]
    optimiser = make(model, "wsam", base=lambda p, lr: grouped(model, lr), rho=0.3)
    w, buffer = flatten(model), 0.0
    lr = torch.cat([torch.full((42,), 0.05), torch.full((24,), 0.005)]).double()
    for _ in range(3):
        nn.utils.vector_to_parameters(w, (twin := network()).parameters())
        out = api.gradient("wsam", twin, x, y, rho=0.3)
        buffer = 0.9 * buffer + out.h
        w = w - lr * (buffer + out.aside)
        optimiser.step(lambda: (x, y))
        torch.testing.assert_close(flatten(model), w)


def test_sl_sam_leaves_tensors_that_are_not_drawn_to_the_bit_and_their_momentum_too() -> None:
    model = network()
    optimiser = make(model, "slsam", base=functools.partial(torch.optim.AdamW, weight_decay=0.1), lr=0.01)
    stayed = moved = 0
    for batch in data():
        before = [p.detach().clone() for p in model.parameters()]
        counts = [int(optimiser.base.state[p]["step"]) if p in optimiser.base.state else 0 for p in model.parameters()]
        optimiser.step(lambda batch=batch: batch)
        for p, old, count in zip(model.parameters(), before, counts, strict=True):
            now = int(optimiser.base.state[p]["step"]) if p in optimiser.base.state else 0
            assert torch.equal(p, old) == (now == count)
            stayed, moved = stayed + (now == count), moved + (now > count)
    assert stayed
    assert moved


def batchnorm():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("m", [None, 8])
def test_batch_norm_moves_its_statistics_once_in_the_clean_pass(m) -> None:
    model, plain, (x, y) = batchnorm(), batchnorm(), data()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimiser = make(model, "sam", m, rho=0.5)
    optimiser.step(lambda: (x, y))
    plain(x)
    for mine, once in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, once)
    assert model[1].track_running_stats
    assert int(model[1].num_batches_tracked) == 1


def test_batch_norm_with_micro_batches_warns_and_without_does_not() -> None:
    with pytest.warns(UserWarning, match="statistics of a micro-batch change the loss"):
        make(batchnorm(), "sam", 8)
    make(batchnorm(), "sam")


def test_gradients_normalise_by_their_batch_as_a_plain_backward_does() -> None:
    model, plain, (x, y) = batchnorm(), batchnorm(), data()[0]
    before = flatten(model)
    make(model, "sam", rho=0.0).step(lambda: (x, y))
    F.cross_entropy(plain(x), y).backward()
    g = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
    torch.testing.assert_close(flatten(model), before - 0.05 * g)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "sma"}, "unknown variant"), ({"rhoo": 1}, "no knob 'rhoo'"), ({"m": 0}, "m = 0"),
        ({"variant": "nsam"}, r"pass full=\(x_all, y_all\)"), ({"variant": "focalsam"}, "pass counts"),
        ({"variant": "adasam", "base": torch.optim.AdamW}, "brings its own descent"),
        ({"variant": "ssamd", "m": 4}, "no m-version"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_words(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        SharpnessAware(network(), **({"lr": 0.1} | options))


def test_a_bad_batch_a_missing_closure_and_another_variants_state_are_refused() -> None:
    model = network()
    optimiser = make(model, "sam", 5)
    with pytest.raises(ValueError, match="does not divide this batch of 32"):
        optimiser.step(lambda: data()[0])
    with pytest.raises(ValueError, match="needs a closure"):
        optimiser.step()
    with pytest.raises(ValueError, match="state is of 'sam'"):
        make(network(), "usam").load_state_dict(optimiser.state_dict())


@pytest.mark.parametrize("key", ["rwsam", "esam", "focalsam", "ssamf", "sam"])
def test_a_loss_that_is_not_one_number_a_sample_is_refused_saying_what_to_pass(key) -> None:
    """Before anything has changed."""
    model = network()
    before = flatten(model)
    for whole in (F.cross_entropy, nn.CrossEntropyLoss()):
        optimiser = make(model, key, loss=whole)
        with pytest.raises(ValueError, match=r"expected one number a sample, \(32,\): pass .*\(reduction='none'\)"):
            optimiser.step(lambda: data()[0])
        assert torch.equal(flatten(model), before)
        assert optimiser.t == 0
    make(model, key, loss=nn.CrossEntropyLoss(reduction="none")).step(lambda: data()[0])
    assert not torch.equal(flatten(model), before)


def test_a_loss_by_name_is_that_function() -> None:
    steps = []
    x, _ = data()[0]
    y = torch.randn(32, 3).double()
    for loss in ("mse", lambda out, y: (out - y).square().mean(1)):
        model = network()
        make(model, "sam", 8, loss=loss, rho=0.3).step(lambda: (x, y))
        steps.append(flatten(model))
    torch.testing.assert_close(*steps)
    with pytest.raises(ValueError, match="unknown loss 'hinge'"):
        make(network(), "sam", loss="hinge")


@pytest.mark.parametrize(
    ("where", "said"), [("x", "the inputs x"), ("weights", r"the model's '0\.weight'"), ("loss", "though the weights")]
)
def test_a_step_on_numbers_that_are_not_finite_names_the_tensor_and_changes_nothing(where, said) -> None:
    model, (x, y) = network(), data()[0]
    given = {"loss": lambda out, y: F.cross_entropy(out, y, reduction="none") / 0} if where == "loss" else {}
    optimiser = make(model, "sam", **given)
    if where == "x":
        x[4, 2] = float("nan")
    if where == "weights":
        model[0].weight.data[1, 1] = float("inf")
    before = flatten(model)
    with pytest.raises(ValueError, match=said):
        optimiser.step(lambda: (x, y))
    assert torch.equal(flatten(model), before)


def test_the_diff_of_the_readme_makes_m_sam_of_a_loop_by_hand() -> None:
    page = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"```diff\n(.*?)```", page, re.DOTALL)[1].splitlines()
    before, after = ("\n".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
    torch.manual_seed(0)
    models, loader = (
        [nn.Linear(5, 3), nn.Linear(5, 3)],
        [(torch.randn(8, 5), torch.randint(0, 3, (8,))) for _ in range(3)],
    )
    models[1].load_state_dict(models[0].state_dict())
    space = {
        "torch": torch, "functools": functools, "SAM": SAM, "SharpnessAware": SharpnessAware, "loader": loader,
        "criterion": nn.CrossEntropyLoss(),
    }  # fmt: skip
    for model, code in zip(models, (before, after), strict=True):
        exec(code, space | {"model": model})
    torch.testing.assert_close(flatten(models[1]), flatten(models[0]))  # batches of 8: one perturbation at m = 8
