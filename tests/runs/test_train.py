"""Training against a naive loop, and what it reports."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sam_dash import variants
from sam_dash.maths import curvature, tail
from sam_dash.maths.draws import draws
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.maths.flat import Layout, flatten
from sam_dash.problems.datasets import Data, load
from sam_dash.problems.problem import SpecError
from sam_dash.problems.stack import stack, torch_stream
from sam_dash.runs import presets, steppers
from sam_dash.runs import train as training
from sam_dash.runs.loop import steps
from sam_dash.runs.measures.density import WIDTH
from sam_dash.runs.pretrain import pretrain
from sam_dash.runs.probes import measure
from sam_dash.runs.report import Report
from sam_dash.runs.scores import evaluate
from sam_dash.runs.spec import Measures, Problem, RunSpec, Training
from sam_dash.runs.steppers import Stepper, vmapped
from sam_dash.runs.train import train
from tests.maths.test_shares import lorenz

TINY = RunSpec(
    variant="sam", m=8, knobs={"rho": 0.1},
    problem=Problem(network="mlp:8", n_train=200, label_noise=0.2), training=Training(epochs=2),
    measures=Measures(what=()),
)  # fmt: skip


class Recorder:
    """A listener that keeps everything."""

    def __init__(self, stop_at: int | None = None, who: tuple[int, ...] = ()) -> None:
        self.reports: list[Report] = []
        self.stop_at, self.who = stop_at, who

    def __call__(self, report: Report) -> set[int]:
        self.reports.append(report)
        return set(self.who) if self.stop_at is not None and report.step >= self.stop_at else set()

    def rows(self, i: int = 0):
        return [m for r in self.reports for m in r.measurements[i]]

    def last(self, quantity: str, i: int = 0) -> float:
        return [m.value for m in self.rows(i) if m.quantity == quantity][-1]

    def series(self, quantity: str) -> np.ndarray:
        return np.concatenate([r.series[quantity] for r in self.reports if quantity in r.series], 1)


def seeds(spec: RunSpec, *numbers: int) -> list[RunSpec]:
    return [replace(spec, seed=s) for s in numbers]


def naive(spec: RunSpec) -> np.ndarray:
    """The same run as a user would write it: an eager loop over micro-batches, perturb, restore, torch.optim.SGD."""
    P, T = stack(spec.problem, [spec.seed], torch.device("cpu")), spec.training
    model = P.module
    nn.utils.vector_to_parameters(P.w0[0].clone(), model.parameters())
    optimiser = torch.optim.SGD(model.parameters(), lr=T.lr, momentum=T.momentum, weight_decay=T.weight_decay)
    total = P.n // T.batch * T.epochs
    rho, m, t = spec.knobs.get("rho", 0.0), spec.m or T.batch, 0
    for epoch in range(T.epochs):
        for index in P.order(0, epoch, T.batch):
            x, y = P.x[index], P.y[0, index]
            total_grad = [torch.zeros_like(p) for p in model.parameters()]
            for i in range(0, T.batch, m):
                a, b = (P.x, P.y[0]) if spec.variant == "nsam" else (x[i : i + m], y[i : i + m])
                model.zero_grad()
                nn.functional.cross_entropy(model(a), b).backward()
                grads = [p.grad.clone() for p in model.parameters()]
                norm = torch.cat([g.flatten() for g in grads]).norm()
                saved = [p.detach().clone() for p in model.parameters()]
                with torch.no_grad():
                    for p, g in zip(model.parameters(), grads, strict=True):
                        p += rho * g / norm
                model.zero_grad()
                nn.functional.cross_entropy(model(x[i : i + m]), y[i : i + m]).backward()
                with torch.no_grad():
                    for p, s, h in zip(model.parameters(), saved, total_grad, strict=True):
                        p.copy_(s)
                        h += p.grad * m / T.batch
            for p, h in zip(model.parameters(), total_grad, strict=True):
                p.grad = h
            optimiser.param_groups[0]["lr"] = T.lr / 2 * (1 + np.cos(np.pi * t / total))
            optimiser.step()
            t += 1
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy()


@pytest.mark.parametrize(("variant", "m"), [("sgd", None), ("sam", 64), ("sam", 8), ("sam", 1), ("nsam", None)])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_training_equals_the_naive_loop(variant, m, decay) -> None:
    knobs = {} if variant == "sgd" else {"rho": 0.1}
    spec = RunSpec(
        variant=variant, m=m, knobs=knobs, seed=1, problem=TINY.problem, training=Training(epochs=2, weight_decay=decay)
    )
    spec = replace(spec, measures=Measures(what=()))
    found = train([spec], Recorder())[0]
    assert found.status == "done"
    np.testing.assert_allclose(found.weights, naive(spec), rtol=2e-3, atol=2e-5)


def test_training_is_deterministic_bit_for_bit() -> None:
    for variant in ("sam", "rwsam"):
        spec = RunSpec(variant=variant, problem=TINY.problem, training=TINY.training, measures=Measures(what=()))
        one, other = (train(seeds(spec, 0, 1), Recorder()) for _ in range(2))
        assert all(np.array_equal(a.weights, b.weights) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("variant", ["sgd", "sam", "nsam", "rwsam"])
def test_a_seed_does_not_depend_on_the_seeds_stacked_with_it(variant) -> None:
    spec = RunSpec(variant=variant, problem=TINY.problem, training=TINY.training, measures=Measures(what=()))
    together = train(seeds(spec, 0, 1, 2), Recorder())
    alone = train(seeds(spec, 1), Recorder())[0]
    np.testing.assert_allclose(together[1].weights, alone.weights, rtol=2e-3, atol=2e-5)


def test_every_step_and_every_epoch_is_reported() -> None:
    record = Recorder()
    train(seeds(TINY, 0, 1), record)
    for quantity in ("eps_norm", "g_norm", "h_norm", "cos_gh"):
        assert record.series(quantity).shape == (2, 6)
        assert np.isfinite(record.series(quantity)).all()
    np.testing.assert_allclose(record.series("eps_norm"), 0.1, rtol=1e-4)
    curve = [(m.step, m.epoch) for m in record.rows() if m.quantity == "train_loss"]
    assert curve == [(0, 0.0), (3, 1.0), (6, 2.0)]
    firsts = [r.first for r in record.reports if r.series]
    assert firsts == sorted(firsts)
    assert record.reports[-1].step == record.reports[-1].steps == 6


def test_the_norm_of_the_weights_is_recorded_before_every_step_and_its_tail_at_the_end() -> None:
    spec = replace(TINY, measures=Measures(what=("weight_tail",)), training=Training(epochs=600))
    P = stack(spec.problem, [0, 1], torch.device("cpu"))
    path = [P.w0, *(W for W, _ in itertools.islice(steps(P, seeds(spec, 0, 1)), 9))]
    norms = torch.stack(path[:-1]).norm(dim=2).T
    record = Recorder()
    train(seeds(spec, 0, 1), record)
    np.testing.assert_allclose(record.series("w_norm")[:, :9], norms[:, :9], rtol=1e-4)
    found = tail.fluctuation(torch.from_numpy(record.series("w_norm")[1]))
    row = next(m for m in record.rows(1) if m.quantity == "w_tail")
    assert (row.value, row.stderr, row.step) == pytest.approx((found.value, found.stderr, 1800), rel=1e-4)
    short = Recorder()
    train([replace(spec, training=TINY.training)], short)
    assert "w_tail" not in {m.quantity for m in short.rows()}, "six steps have no tail"


def test_rw_sam_reports_its_effective_sample_size() -> None:
    record = Recorder()
    spec = replace(TINY, variant="rwsam", m=None, knobs={"lam": 1.0, "scale": "standardised"})
    train([spec], record)
    ess = record.series("ess")
    assert ess.shape == (1, 6)
    assert ((ess > 1) & (ess < 64)).all()


def weights_by_hand(P, s: int, spec: RunSpec, index: torch.Tensor) -> np.ndarray:
    """RW-SAM's weights in one (micro-)batch at the start, one sample and one loss at a time."""
    w, lam, sharp = P.w0[s], spec.knobs["lam"], []
    z = draws(variants.get("rwsam"), P.w0, [torch_stream(seed, "noise") for seed in P.seeds])[s, 0]

    def loss(v: torch.Tensor, i: int) -> torch.Tensor:
        nn.utils.vector_to_parameters(v, P.module.parameters())
        return nn.functional.cross_entropy(P.module(P.x[i : i + 1]), P.y[s, i : i + 1])

    for i in index.tolist():
        if spec.knobs["norms"] == "exact":
            grads = torch.autograd.grad(loss(w.clone(), i), list(P.module.parameters()))
            sharp.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))
        else:
            delta = 0.1 / math.sqrt(len(w))
            sharp.append(abs(float((loss(w + delta * z, i) - loss(w.clone(), i)).detach())) / delta)
    e = np.exp(lam * (np.array(sharp) - max(sharp)))
    return e / e.sum()


@pytest.mark.parametrize(
    ("network", "path", "norms", "m"),
    [
        ("mlp", "chain", "one-probe", 64), ("mlp", "chain", "exact", 64), ("cnn", "eager", "one-probe", 64),
        ("cnn", "factored", "exact", 64), ("mlp", "vmapped", "one-probe", 64), ("mlp", "vmapped", "one-probe", 8),
        ("cnn", "vmapped", "exact", 32),
    ],
)  # fmt: skip
def test_every_path_records_the_tenths_of_the_weights(network, path, norms, m, monkeypatch) -> None:
    base = replace(CNN if network == "cnn" else TINY, variant="rwsam", m=m, training=Training(epochs=1))
    specs = [replace(base, seed=s, knobs={"lam": lam, "norms": norms}) for s, lam in ((0, 0.2), (0, 0.5), (1, 0.0))]
    if path == "vmapped":
        monkeypatch.setattr("sam_dash.runs.train.fastest", lambda P, s: Stepper("vmapped", vmapped(P, s)))
    record = Recorder()
    assert {o.path for o in train(specs, record)} == {path}
    P = stack(base.problem, [s.seed for s in specs], torch.device("cpu"))
    P = replace(P, w0=P.w0.double(), x=P.x.double(), module=P.module.double())
    found = np.stack([record.series(f"p_tenth@{j}")[:, 0] for j in range(1, 11)], 1)
    for s, spec in enumerate(specs):
        micro = [weights_by_hand(P, s, spec, part) for part in P.order(s, 0, 64)[0].split(m)]
        np.testing.assert_allclose(found[s], np.mean([lorenz(p) for p in micro], 0), rtol=0, atol=1e-4)
        assert record.series("p_max")[s, 0] == pytest.approx(np.mean([p.max() for p in micro]), rel=2e-3)
        top = [np.sort(p)[-max(1, round(m / 10)) :].sum() for p in micro]
        assert record.series("p_top")[s, 0] == pytest.approx(np.mean(top), rel=2e-3)
        assert record.series("ess")[s, 0] == pytest.approx(np.mean([1 / (p**2).sum() for p in micro]), rel=2e-3)


def test_losses_and_accuracies_are_those_of_the_final_weights() -> None:
    record = Recorder()
    found = train([TINY], record)[0]
    P = stack(TINY.problem, [0], torch.device("cpu"))
    nn.utils.vector_to_parameters(torch.from_numpy(found.weights), P.module.parameters())
    with torch.no_grad():
        out, test = P.module(P.x), P.module(P.test[0])
    right = out.argmax(1)
    assert record.last("train_loss") == pytest.approx(float(nn.functional.cross_entropy(out, P.y[0])), rel=1e-5)
    assert record.last("train_acc") == pytest.approx(float((right == P.y[0]).double().mean()))
    assert record.last("clean_train_acc") == pytest.approx(float((right == P.y_clean[0]).double().mean()))
    assert record.last("test_acc") == pytest.approx(float((test.argmax(1) == P.test[1]).double().mean()))
    assert (P.y[0] != P.y_clean[0]).sum() == 40


def test_a_run_that_diverges_says_when_and_keeps_its_curve_and_the_others_go_on() -> None:
    problem = Problem(network="mlp:8", n_train=200)
    training = Training(lr=100.0, weight_decay=10.0, epochs=30)
    spec = RunSpec(variant="usam", knobs={"rho": 0.1}, problem=problem, training=training)
    record = Recorder()
    ended = train(seeds(spec, 0, 1), record)
    assert {o.status for o in ended} == {"diverged"}
    for i, outcome in enumerate(ended):
        step = int(outcome.message.split("step ")[1].split(":")[0])
        h = record.series("h_norm")[i]
        assert not np.isfinite(h[step - 1])
        assert np.isfinite(h[: step - 1]).all()
        assert all(m.step < step for m in record.rows(i))
        assert record.rows(i)[0].quantity == "train_loss"


def test_a_stopped_run_ends_and_the_others_finish(monkeypatch) -> None:
    monkeypatch.setattr("sam_dash.runs.train.FLUSH_SECONDS", 0.0)
    one, two = train(seeds(TINY, 0, 1), Recorder(stop_at=2, who=(0,)))
    assert one.status == "stopped"
    assert one.message == "stopped at step 2"
    assert two.status == "done"
    np.testing.assert_allclose(two.weights, train(seeds(TINY, 1), Recorder())[0].weights, rtol=2e-3, atol=2e-5)


def test_when_all_are_stopped_training_ends_at_once(monkeypatch) -> None:
    monkeypatch.setattr("sam_dash.runs.train.FLUSH_SECONDS", 0.0)
    record = Recorder(stop_at=2, who=(0, 1))
    assert {o.status for o in train(seeds(TINY, 0, 1), record)} == {"stopped"}
    assert record.reports[-1].step < 6


def test_measurements_come_at_the_end_or_every_k_epochs() -> None:
    at_end, often = Recorder(), Recorder()
    train([replace(TINY, measures=Measures(what=("lam_max",)))], at_end)
    train([replace(TINY, measures=Measures(what=("lam_max",), every=1))], often)
    assert [m.step for m in at_end.rows() if m.quantity == "lam_max"] == [6]
    assert [m.step for m in often.rows() if m.quantity == "lam_max"] == [0, 3, 6]
    assert often.last("lam_max") == pytest.approx(at_end.last("lam_max"), rel=1e-6)


def test_the_second_opinion_and_the_density_are_measured_at_the_end_only() -> None:
    record = Recorder()
    train([replace(TINY, measures=Measures(what=("trace", "pyhessian", "density"), every=1))], record)
    steps_of = {q: {m.step for m in record.rows() if m.quantity.startswith(q)} for q in ("density@", "lam_max_pyh")}
    assert steps_of == {"density@": {6}, "lam_max_pyh": {6}}
    assert {m.step for m in record.rows() if m.quantity == "tr_H"} == {0, 3, 6}


def test_the_seconds_of_training_leave_out_looks_and_measurements(monkeypatch) -> None:
    stepping = 0.0

    iterate = training.Loop.__iter__

    def timed(loop):
        nonlocal stepping
        inner = iterate(loop)
        while True:
            since = time.perf_counter()
            try:
                one = next(inner)
            except StopIteration:
                return
            stepping += time.perf_counter() - since
            yield one

    def slow(*args):
        time.sleep(0.2)
        return evaluate(*args)

    monkeypatch.setattr(training.Loop, "__iter__", timed)
    monkeypatch.setattr(training, "evaluate", slow)
    record, since = Recorder(), time.perf_counter()
    train(seeds(TINY, 0, 1), record)
    whole = time.perf_counter() - since
    found = [record.last("train_seconds", i) for i in range(2)]
    assert found[0] == found[1]
    assert stepping <= sum(found) <= whole - 3 * 0.2


def test_every_measurement_has_its_error_budget_and_method() -> None:
    record = Recorder()
    what = ("trace", "lam_max", "noise", "pyhessian", "m_sharpness", "ascent")
    train([replace(TINY, measures=Measures(what=what))], record)
    rows = {m.quantity: m for m in record.rows() if m.step == 6}
    assert {
        "tr_H",
        "lam_max",
        "tr_V",
        "tr_V@8",
        "tr_V@64",
        "layer_noise@hidden1",
        "layer_noise@output",
        "grad_sq",
        "tail",
        "m_sharp@1",
        "m_sharp@64",
        "asc_H",
        "asc_H@1",
        "asc_H@64",
        "tr_H_pyhessian",
        "lam_max_pyhessian",
    } <= set(rows)
    for row in rows.values():
        assert row.method
        assert row.budget > 0
        assert row.stderr >= 0
    assert abs(rows["tr_H"].value - rows["tr_H_pyhessian"].value) < 4 * rows["tr_H_pyhessian"].stderr
    assert rows["lam_max"].value == pytest.approx(rows["lam_max_pyhessian"].value, rel=0.01)
    assert rows["asc_H"].value <= rows["lam_max"].value * 1.001


@pytest.mark.parametrize("network", ["mlp:8", "cnn:4"])
def test_the_curvature_along_the_gradient_is_that_of_each_seed_alone_however_many_are_stacked(network) -> None:
    """And that of all samples is the second difference of the loss along its gradient (float64, a smooth piece)."""
    spec = replace(CNN, problem=replace(CNN.problem, network=network), measures=Measures(what=("ascent",)))
    P, alone = (stack(spec.problem, which, torch.device("cpu")) for which in ([3, 5], [5]))
    found = {q: e.value for q, e in next(measure(P, [1], P.w0[1:], spec)).items()}
    one = next(measure(alone, [0], alone.w0, spec))
    assert found == {q: pytest.approx(e.value, rel=1e-5) for q, e in one.items()}
    x, y = P.train(1, 2000)
    w, batch = P.w0[1].double(), (x.double(), y)
    g = torch.func.grad(lambda v: P.losses(v, batch).mean())(w)
    u, h = g / g.norm(), 1e-5
    up, here, down = (float(P.losses(w + t * u, batch).mean()) for t in (h, 0, -h))
    assert found["asc_H"] == pytest.approx((up - 2 * here + down) / h**2, rel=0.02)


def without_factors(*_):
    raise NotFactoredError


@pytest.mark.parametrize("network", ["mlp:8", "cnn:4"])
def test_the_layers_noise_sums_to_all_of_it_and_is_the_same_without_factors(network, monkeypatch) -> None:
    spec = replace(CNN, problem=replace(CNN.problem, network=network), measures=Measures(what=("noise",)))
    P = stack(spec.problem, [0], torch.device("cpu"))
    fast = next(measure(P, [0], P.w0[:1], spec))
    monkeypatch.setattr("sam_dash.maths.fast.measurer.net", without_factors)
    plain = next(measure(P, [0], P.w0[:1], spec))
    layers = [q for q in fast if q.startswith("layer_noise@")]
    assert layers == [f"layer_noise@{name}" for name in Layout.of(P.module).sizes()]
    assert sum(fast[q].value for q in layers) == pytest.approx(fast["tr_V"].value, rel=1e-5)
    for q in layers:
        assert plain[q].value == pytest.approx(fast[q].value, rel=1e-4)
        assert plain[q].stderr == pytest.approx(fast[q].stderr, rel=1e-3)


@pytest.mark.parametrize("together", [2**20, 1], ids=["at once", "one by one"])
def test_what_is_measured_of_a_run_does_not_depend_on_those_beside_it(together, monkeypatch) -> None:
    """Against the definitions of every measurement too, with the same random numbers."""
    monkeypatch.setattr("sam_dash.runs.probes.CACHED", together)
    spec = replace(TINY, measures=Measures(what=("trace", "lam_max", "noise", "m_sharpness", "density")))
    P = stack(spec.problem, [0, 1, 2], torch.device("cpu"))
    P = replace(P, w0=P.w0.double(), x=P.x.double())
    beside = list(measure(P, [0, 2], P.w0[[0, 2]], spec))
    alone = [next(measure(P, [s], P.w0[[s]], spec)) for s in (0, 2)]
    monkeypatch.setattr("sam_dash.maths.fast.measurer.net", without_factors)
    plain = [next(measure(P, [s], P.w0[[s]], spec)) for s in (0, 2)]
    for i in range(2):
        assert list(beside[i]) == list(alone[i]) == list(plain[i])
        for q, found in beside[i].items():
            one, truth = alone[i][q], plain[i][q]
            assert found.value == pytest.approx(one.value, rel=1e-7, abs=1e-9)
            assert found.stderr == pytest.approx(one.stderr, rel=1e-4, abs=1e-9)
            if not q.startswith("density"):
                rest = {"value": 0, "stderr": 0, "residual": 0}
                assert replace(found, **rest) == replace(truth, **rest)
                assert found.value == pytest.approx(truth.value, rel=1e-6)


def test_the_spectral_density_integrates_to_one_and_has_the_trace_and_an_error(tmp_path) -> None:
    spec = replace(TINY, measures=Measures(what=("density",)))
    P = stack(spec.problem, [0], torch.device("cpu"))
    rows = next(measure(P, [0], P.w0[:1], spec))
    assert all(q.startswith("density@") for q in rows)
    assert all(e.stderr >= 0 and e.budget == 320 and e.dof == 7 for e in rows.values())
    c = float(next(iter(rows.values())).method.split("x / ")[1].split(")")[0])
    x = np.array([float(q.split("@")[1]) for q in rows])
    y, error = (np.array([getattr(e, name) for e in rows.values()]) for name in ("value", "stderr"))
    assert np.trapezoid(y, np.arcsinh(x / c)) == pytest.approx(1, abs=0.01)
    d = P.w0.shape[1]
    product = curvature.hvp(P.losses, P.w0[0], P.train(0))
    values = torch.linalg.eigvalsh(product(torch.eye(d))).double().numpy() / c
    at = np.arcsinh(x / c)[:, None] - np.arcsinh(values)
    exact = (np.exp(-((at / WIDTH) ** 2) / 2) / (WIDTH * math.sqrt(2 * math.pi))).mean(1)
    assert (np.abs(y - exact) < 5 * error + 0.02 * exact.max()).all()


def test_an_exact_trace_takes_no_hessian_vector_products(monkeypatch) -> None:
    monkeypatch.setattr(curvature, "hvp", None)
    P = stack(TINY.problem, [0], torch.device("cpu"))
    (row,) = next(measure(P, [0], P.w0[:1], replace(TINY, measures=Measures(what=("trace",))))).values()
    assert (row.method, row.stderr) == (curvature.EXACT_TRACE, 0)


def test_the_rest_beyond_the_ggn_of_a_network_with_norm_layers_is_measured_by_probes() -> None:
    spec = replace(
        TINY, problem=Problem(dataset="mnist-5k", network="resnet18:8", n_train=16), training=Training(batch=16)
    )
    P = stack(spec.problem, [0], torch.device("cpu"))
    rows = next(measure(P, [0], P.w0[:1], replace(spec, measures=Measures(what=("trace",)))))
    assert rows["tr_H"].method == "exact tr(GGN) + Hutchinson for the rest, 16 parts"
    plain = curvature.trace(curvature.hvp(P.losses, P.w0[0], P.train(0)), P.w0[0], torch_stream(1, "probes"))
    assert rows["tr_H"].stderr > 0
    assert abs(rows["tr_H"].value - plain.value) < 4 * (plain.stderr**2 + rows["tr_H"].stderr ** 2) ** 0.5


def test_the_escape_starts_from_memorised_labels_and_trains_on_the_right_half() -> None:
    problem = Problem(network="mlp:64", n_train=256, start="memorised")
    spec = replace(TINY, problem=problem, training=Training(epochs=1, lr=0.05, schedule="constant"))
    record = Recorder()
    train([spec], record)
    first = {m.quantity: m for m in record.rows() if m.step == 0}
    assert first["train_acc"].value > 0.98
    assert first["train_acc"].budget == 128
    fresh = Recorder()
    train([replace(spec, problem=replace(problem, start="init"), training=Training(epochs=30))], fresh)
    assert first["test_acc"].value < fresh.last("test_acc") - 0.1


def test_fine_tuning_trains_and_tests_on_the_new_classes_and_starts_from_a_plain_loop_on_the_old_ones() -> None:
    problem = Problem(network="mlp:16-16", n_train=300, start="pretrained")
    data, P = load("digits"), stack(problem, [0, 1], torch.device("cpu"))
    found = pretrain(P, problem, 32)
    assert found.y.unique().tolist() == found.test[1].unique().tolist() == [5, 6, 7, 8, 9]
    new = data.y_train[:300] >= 5
    np.testing.assert_array_equal(found.x[found.rows[1]], data.x_train[:300][new])
    np.testing.assert_array_equal(found.y[1], data.y_train[:300][new])
    x, y = (torch.from_numpy(a[data.y_train < 5]) for a in (data.x_train, data.y_train))
    nn.utils.vector_to_parameters(P.w0[1].clone(), P.module.parameters())
    optimiser = torch.optim.SGD(P.module.parameters(), momentum=0.9)
    every = replace(P, rows=torch.arange(len(y)).expand(2, -1))
    batches = [batch for epoch in range(20) for batch in every.order(1, epoch, 32)]
    for t, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * t / len(batches)))
        optimiser.zero_grad()
        nn.functional.cross_entropy(P.module(x[batch]), y[batch]).backward()
        optimiser.step()
    body = sum(size for name, size in Layout.of(P.module).sizes().items() if name != "output")
    loop = flatten(P.module)[:body]
    np.testing.assert_allclose(found.w0[1, :body], loop, rtol=2e-3, atol=2e-4)
    assert not torch.equal(found.w0[1, body:], P.w0[1, body:]), "the head is drawn anew"
    record = Recorder()
    train([replace(TINY, problem=problem, m=None, training=Training(batch=20, epochs=1))], record)
    assert {m.budget for m in record.rows() if m.quantity == "test_acc"} == {int((data.y_test >= 5).sum())}


def test_pre_training_without_a_batch_of_old_classes_is_refused(tmp_path) -> None:
    y = np.where(np.arange(300) < 290, 3, np.arange(300) % 3)
    data = Data(np.zeros((300, 4), np.float32), y, np.zeros((8, 4), np.float32), np.arange(8) % 4)
    np.savez(tmp_path / "few.npz", **data._asdict())
    problem = Problem(dataset=f"npz:{tmp_path / 'few.npz'}", network="mlp:4", start="pretrained")
    with pytest.raises(SpecError, match="6 samples to pre-train on are fewer than one batch of B = 64"):
        train([replace(TINY, problem=problem)], Recorder())


@pytest.mark.parametrize(("name", "epochs", "needs"), [("heavy-tails", 26, "w_tail"), ("fine-tuning", 1, "test_acc")])
def test_presets_of_experiments_measure_what_is_compared(name, epochs, needs) -> None:
    sweep = presets.get(name).sweep
    for spec in {(r.variant, r.m, r.knobs.get("keep")): r for r in sweep.runs()}.values():
        record = Recorder()
        short = replace(spec, training=replace(spec.training, epochs=epochs))
        assert train([short], record)[0].status == "done"
        assert np.isfinite(record.last(needs))
        if spec.variant == "slsam":
            assert 0 < record.series("active").mean() < 1


def test_a_stack_refuses_runs_that_differ_by_more_than_seed_rho_and_lambda() -> None:
    for other in (replace(TINY, m=4), replace(TINY, variant="usam"), replace(TINY, training=Training(epochs=3))):
        with pytest.raises(ValueError, match="differ by their seed, rho and lambda only"):
            train([TINY, other], Recorder())


CNN = replace(TINY, problem=replace(TINY.problem, dataset="mnist-5k", network="cnn:4"))


@pytest.mark.parametrize("base", [TINY, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("definition", [False, True], ids=["fast", "definition"])
def test_runs_that_differ_by_rho_or_lambda_stack(base, definition, monkeypatch) -> None:
    if definition:
        monkeypatch.setattr("sam_dash.runs.train.fastest", lambda P, s: Stepper("vmapped", vmapped(P, s)))
    m_sam = [replace(base, seed=s, knobs={"rho": rho}) for s, rho in ((0, 0.1), (0, 0.05), (1, 0.2))]
    rw = [
        replace(base, variant="rwsam", m=None, seed=s, knobs={"lam": lam}) for s, lam in ((0, 0.0), (0, 2.0), (1, 0.5))
    ]
    for specs in (m_sam, rw):
        assert len({spec.group for spec in specs}) == 1
        together = train(specs, Recorder())
        for found, spec in zip(together, specs, strict=True):
            alone = train([spec], Recorder())[0]
            np.testing.assert_allclose(found.weights, alone.weights, rtol=2e-3, atol=2e-5)
        assert not np.allclose(together[0].weights, together[1].weights, atol=1e-4)


def test_a_run_says_which_way_its_steps_were_taken() -> None:
    for variant, m in (("sgd", None), ("sam", 8), ("sam", 64), ("nsam", None), ("rwsam", None)):
        assert train([replace(TINY, variant=variant, m=m, knobs={})], Recorder())[0].path == "chain"
    assert train([CNN], Recorder())[0].path == "factored"
    for variant, m in (("sgd", None), ("sam", 64), ("nsam", None), ("rwsam", None)):
        assert train([replace(CNN, variant=variant, m=m, knobs={})], Recorder())[0].path == "eager"
    assert train([replace(CNN, variant="rwsam", m=None, knobs={"norms": "exact"})], Recorder())[0].path == "factored"


@pytest.mark.parametrize("path", ["chain", "eager", "factored"])
@pytest.mark.parametrize("variant", ["sgd", "sam", "usam", "nsam", "nusam", "rwsam"])
@pytest.mark.parametrize("base", [TINY, CNN], ids=["mlp", "cnn"])
def test_every_fast_path_trains_as_the_definition_does(base, variant, path) -> None:
    v = variants.get(variant)
    knobs = {"lam": 2.0} if variant == "rwsam" else {}
    spec = replace(base, variant=variant, m=8 if v.m_axis and path != "eager" else None, knobs=knobs)
    specs = seeds(spec, 0, 1)
    P = stack(spec.problem, [0, 1], torch.device("cpu"))
    P = replace(P, w0=P.w0.double(), x=P.x.double())
    try:
        take = getattr(steppers, path)(P, specs)
        fast = list(steps(P, specs, take))
    except NotFactoredError:
        assert (path, spec.problem.network[:3]) != ("chain", "mlp"), "a perceptron's step is never vmapped"
        assert path == "chain" or (path == "factored" and variant in ("sgd", "nsam", "nusam"))
        return
    for (W, scalars), (V, expected) in zip(fast, steps(P, specs), strict=True):
        torch.testing.assert_close(W, V, rtol=1e-9, atol=1e-11)
        assert set(scalars) == set(expected)
        for q in expected:
            torch.testing.assert_close(scalars[q], expected[q], rtol=1e-9, atol=1e-11)


def test_a_file_smaller_than_a_batch_is_refused(tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 3)), np.arange(32) % 2
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match="32 training samples are fewer than one batch of B = 64"):
        train([replace(TINY, problem=Problem(dataset=f"npz:{tmp_path / 'mine.npz'}", network="mlp:8"))], Recorder())


def test_the_users_own_data_trains(tmp_path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(128) % 2
    x = rng.normal(size=(128, 3)) + 3 * y[:, None]
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    record = Recorder()
    spec = replace(TINY, problem=Problem(dataset=f"npz:{tmp_path / 'mine.npz'}", network="mlp:8"))
    train([replace(spec, training=Training(epochs=20))], record)
    assert record.last("test_acc") > 0.9


def test_probes_are_signs_and_depend_on_the_seed_alone() -> None:
    v, W = variants.get("rwsam"), torch.zeros(2, 1003)
    one, other = (draws(v, W, [torch_stream(s, "noise") for s in pair]) for pair in ((0, 1), (2, 1)))
    assert one.shape == (2, 1, 1003)
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one.abs(), torch.ones_like(one))
    assert abs(float(one.mean())) < 0.1
    assert abs(float((one[0, 0, 1:] * one[0, 0, :-1]).mean())) < 0.15


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_given_to_the_layers_channels_last_even_with_one_channel(channels) -> None:
    x = torch.randn(4, channels, 6, 6)
    last = steppers.channels_last(x)
    torch.testing.assert_close(last, x)
    layer = torch.nn.Conv2d(channels, 8, 3)
    assert layer(last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last), layer(x))


def test_eigen_sam_trains_a_residual_network_whose_images_are_given_channels_last() -> None:
    problem = Problem(dataset="mnist-5k", network="resnet18:8", n_train=32)
    spec = replace(TINY, variant="eigensam", m=None, knobs={}, problem=problem, training=Training(batch=16, epochs=1))
    outcome = train([spec], Recorder())[0]
    assert (outcome.status, outcome.path) == ("done", "eager")
    P = stack(problem, [0], torch.device("cpu"))
    *_, (W, _) = itertools.islice(steps(P, [spec]), 2)
    np.testing.assert_allclose(outcome.weights, W[0], rtol=1e-3, atol=1e-5)
