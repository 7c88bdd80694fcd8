"""Both sides of a benchmark compute the same; times are never asserted."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn.utils import parameters_to_vector
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import own_loop, profile_measures, profiles, user
from benchmarks.measures import way_of
from benchmarks.problems import mlp, module_at, problem, spec, trained, training
from benchmarks.report import Curve, Row, at_least, at_most, page
from benchmarks.timing import Ratio, side_by_side
from sam_dash.runs import train

B = 8


@pytest.fixture
def P():
    torch.manual_seed(0)
    return problem(mlp(5, 7, 10), (5,), B)


@pytest.mark.parametrize("m", [1, 4, 8])
def test_the_users_loop_and_our_step_are_the_same_step(P, m) -> None:
    W, _ = next(training(P, spec("sam", m, B, lr=0.1)))
    module = module_at(P, P.w0[0])
    optimiser = user.SAM(module.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    order = P.order(0, 0, B)[0]
    user.m_sam_step(module, optimiser, P.x[order], P.y[0][order], m)
    torch.testing.assert_close(parameters_to_vector(module.parameters()), W[0], rtol=1e-4, atol=1e-6)
    if m == B:
        module = module_at(P, P.w0[0])
        optimiser = user.SAM(module.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
        user.sam_step(module, optimiser, P.x, P.y[0])
        torch.testing.assert_close(parameters_to_vector(module.parameters()), W[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("m", [1, 4, 8])
def test_a_step_of_ones_own_loop_is_the_users(m) -> None:
    torch.manual_seed(0)
    module, x, y = own_loop.Transformer(), torch.randint(0, own_loop.WORDS, (B, own_loop.TOKENS)), torch.arange(B)
    theirs, before = copy.deepcopy(module), parameters_to_vector(module.parameters()).detach().clone()
    optimiser, step = own_loop.ours(module, x, y, m)
    step()
    own_loop.eager(theirs, x, y, None if m == B else m)()
    assert optimiser.way == ("plain" if m == B else "intercepted")
    moved, by_hand = (parameters_to_vector(net.parameters()) - before for net in (module, theirs))
    assert torch.linalg.norm(moved - by_hand) < 1e-3 * torch.linalg.norm(by_hand)


def test_the_users_n_sam_and_sgd_are_ours(P) -> None:
    for variant in ("nsam", "sgd"):
        W, _ = next(training(P, spec(variant, None, B, lr=0.1)))
        module = module_at(P, P.w0[0])
        optimiser = user.SAM(module.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
        if variant == "nsam":
            user.n_sam_step(module, optimiser, P.x, P.y[0], P.train(0))
        else:
            user.sgd_step(module, optimiser.base_optimizer, P.x, P.y[0])
        torch.testing.assert_close(parameters_to_vector(module.parameters()), W[0], rtol=1e-4, atol=1e-6)


def test_the_users_measurements_are_ours(P) -> None:
    w = trained(P, 3)
    assert not torch.equal(w, P.w0[0])
    module, way, one = module_at(P, w), way_of(P), (w[None], P.batch(torch.arange(P.n)[None]))
    assert user.trace_V(module, P.train(0)) == pytest.approx(way.noise(*one, m=(1,))[0].by_m[1].value, rel=1e-4)
    samples = user.pyhessian(module, P.train(0)).trace(maxIter=300, tol=-math.inf)
    mean = float(torch.tensor(samples).mean())
    assert mean == pytest.approx(way.ggn_trace(*one)[0].value, rel=0.15)


def test_times_are_paired_and_a_ratio_is_their_median() -> None:
    times = side_by_side({"a": lambda: None, "b": lambda: sum(range(1000))}, budget=0.1, rounds=5)
    assert len(times.seconds["a"]) == len(times.seconds["b"]) >= 3
    times.seconds.update(a=[2.0, 3.0, 10.0], b=[1.0, 1.0, 2.0])
    assert times.ratio("a", "b") == Ratio(3.0, 2.0, 5.0)
    assert str(times.ratio("a", "b").times(10)) == "30.0 (20.0 - 50.0)"


def test_the_page_says_which_targets_are_met() -> None:
    ratio = Ratio(1.1, 1.0, 1.2)
    rows = [at_most("x", ratio, 1.0), at_least("y", ratio, 1.0), Row("z", ratio)]
    text = page(rows, [Curve("m", (1, 2), {"us": [0.001, 0.002]})], 60.0, "PROFILE")
    assert "| x | 1.10 (1.00 - 1.20) | ≤ 1 | **no** |  |" in text
    assert "1 of 2 targets are met." in text
    assert "PROFILE" in text
    assert "| us | 1 | 2 |" in text


def test_auto_is_cuda_where_there_is_one_and_float32_is_float32(monkeypatch) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    assert train.pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert train.pick("auto").type == "cuda"
    assert train.pick("cpu").type == "cpu"


def test_the_arithmetic_of_sam_is_what_torch_counts(P) -> None:
    module = module_at(P, P.w0[0])
    optimiser = user.SAM(module.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    with FlopCounterMode(display=False) as counted:
        user.sam_step(module, optimiser, P.x, P.y[0])
    own, sam, formed = profiles.multiplications(P, B, B)
    assert own == sam == counted.get_total_flops() / 2
    assert formed == 5 * 7 + 7 * 10
    own, _, formed = profiles.multiplications(P, 1, B)
    assert own - sam == 3 * B * (12 + 17)
    assert formed == 0


def test_a_profile_has_the_steps_that_miss_and_no_others() -> None:
    missed = ["CNN: m-SAM, m = 8, against eager SAM", "CNN: RW-SAM, one probe, against eager SAM", "MLP: λ_max"]
    assert [profiles.label(what) for what in missed] == ["m = 8", "one probe", ""]
    assert profiles.kind("aten::mkldnn_convolution") == "convolutions forward"
    assert profiles.kind("aten::convolution_backward") == "convolutions backward"
    assert profiles.kind("aten::view") == profiles.OTHER
    assert profiles.text(["another: m = 8"]) == ""


def test_a_profile_of_measurements_has_those_that_miss_and_no_others(monkeypatch) -> None:
    monkeypatch.setattr(profile_measures, "section", lambda name, quantity: f"{name}/{quantity} ")
    missed = ["CNN: tr(V), BackPACK's time against ours", "CNN: tr(V) with its error", "another: tr(H)", "CNN: m = 8"]
    assert profile_measures.text(missed) == "CNN/tr(V) "


def test_shares_are_of_the_base(P) -> None:
    lines, base = profiles.table({"a": {"matrix products": 3.0, profiles.OTHER: 1.0}, "b": {"pooling": 2.0}}, "a")
    assert base == 4
    assert "| matrix products | 75 | 0 |" in lines
    assert "| all | 100 | 50 |" in lines


def test_the_error_of_the_noise_takes_a_third_more_multiplications_than_a_gradient() -> None:
    """A perceptron i-o-C: a gradient takes 2 i o + 3 o C, the error i o + o C."""
    P = problem(mlp(4, 5, 3), (4,), 8)
    assert f"{1 + (20 + 15) / (40 + 45):.2f} times the multiplications" in profile_measures.arithmetic(P)
