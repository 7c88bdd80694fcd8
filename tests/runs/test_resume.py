"""A run that was killed goes on from where it was saved, and ends with the bits of one that was not."""

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from sam_dash import variants
from sam_dash.maths.estimate import Estimate
from sam_dash.problems.listing import PROBLEMS
from sam_dash.problems.problem import Problem
from sam_dash.runs import resume, standing
from sam_dash.runs import train as training
from sam_dash.runs.environment import REPRODUCIBLE
from sam_dash.runs.leases import Leases
from sam_dash.runs.outbox import Outbox
from sam_dash.runs.report import Measurement, Outcome, Report
from sam_dash.runs.resume import StaleError
from sam_dash.runs.spec import Measures, RunSpec, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import checkpoint_folder
from sam_dash.runs.tables import resume as rows
from sam_dash.runs.train import train
from sam_dash.runs.worker import run_group
from sam_dash.surroundings import ROOT, child
from tests.runs.serving import until

SMALL = Problem(network="mlp:8", n_train=200, label_noise=0.2)
AT = 8  # the step whose report is the last one before the crash: in the middle of an epoch of three


class KilledError(Exception):
    """The process ends here."""


@pytest.fixture
def _always(monkeypatch):
    """Every step is reported, with where the runs stand."""
    monkeypatch.setattr(training, "FLUSH_SECONDS", -1)
    monkeypatch.setattr(training, "SAVE_SECONDS", -1)
    monkeypatch.setattr(training, "SHARE", math.inf)


def told(specs, saved=(), until=math.inf):
    """The reports of an attempt up to a step, and its outcomes if it came to its end."""
    reports = []

    def listener(report):
        reports.append(report)
        if report.step >= until and report.saved:
            raise KilledError
        return set()

    try:
        return reports, train(specs, listener, "cpu", saved=saved)
    except KilledError:
        return reports, []


def numbers(reports, i):
    """What the reports say of run i: per-step values, and what was measured but for the time."""
    series = {}
    for report in reports:
        for q, x in report.series.items():
            series.setdefault(q, []).append(x[i])
    measured = {
        (m.step, m.quantity): (m.value, m.stderr) for r in reports if r.measurements for m in r.measurements[i]
        if m.quantity != "train_seconds"
    }  # fmt: skip
    return {q: np.concatenate(x).tobytes() for q, x in series.items()}, measured


def assert_goes_on(specs, at=AT):
    """Killed after step `at` and gone on, the runs say and end as those that were not."""
    whole, ends = told(specs)
    before, none = told(specs, until=at)
    assert none == []
    assert before[-1].step == at
    after, resumed = told(specs, before[-1].saved)
    assert (after[0].first, after[0].step) == (at, at + 1), "nothing is done again"
    for i in range(len(specs)):
        series, measured = numbers([*before, *after], i)
        expected, found = numbers(whole, i)
        assert series == expected
        assert repr(measured) == repr(found)  # nan is nan
        assert resumed[i].weights.tobytes() == ends[i].weights.tobytes()
        assert (resumed[i].status, resumed[i].message, resumed[i].path) == (
            ends[i].status, ends[i].message, ends[i].path,
        )  # fmt: skip
        assert resumed[i].before > 0


def spec_of(key, **changes):
    v = variants.get(key)
    made = RunSpec(
        variant=key, m=16 if v.uses_m else None, problem=SMALL, training=Training(epochs=4),
        measures=Measures(what=()),
    )  # fmt: skip
    return replace(made, **changes)


def seeds(spec, *numbers):
    return [replace(spec, seed=s) for s in numbers]


@pytest.mark.parametrize("key", sorted(variants.REGISTRY))
@pytest.mark.usefixtures("_always")
def test_every_variant_goes_on_to_the_same_bits(key) -> None:
    assert_goes_on(seeds(spec_of(key), 0, 1))


@pytest.mark.parametrize("key", ["sam", "adasam", "slsam", "looksam", "vasso"])
@pytest.mark.usefixtures("_always")
def test_so_do_runs_under_adamw(key) -> None:
    assert_goes_on(seeds(spec_of(key, training=Training(optimiser="adamw", lr=0.01, epochs=4)), 0, 1))


@pytest.mark.usefixtures("_always")
def test_so_do_runs_with_measurements_on_the_way_and_of_the_path() -> None:
    what = Measures(what=("trace", "lam_max", "noise", "weight_tail"), every=1)
    assert_goes_on(seeds(spec_of("sam", measures=what), 0, 1))


@pytest.mark.parametrize("at", [8, 9])  # 9: where an epoch ends, and it is measured
@pytest.mark.usefixtures("_always")
def test_where_an_epoch_ends_nothing_is_measured_twice(at) -> None:
    assert_goes_on(seeds(spec_of("sgd", measures=Measures(what=("trace",), every=1)), 0), at)


@pytest.mark.parametrize("start", ["memorised", "pretrained"])
@pytest.mark.usefixtures("_always")
def test_so_do_runs_that_start_elsewhere_without_going_there_again(start, monkeypatch) -> None:
    from sam_dash.runs import memorise, pretrain

    monkeypatch.setattr(memorise, "EPOCHS", 3)
    monkeypatch.setattr(pretrain, "EPOCHS", 1)
    problem = Problem(network="mlp:8", n_train=400, start=start)
    spec = spec_of("sam", problem=problem, training=Training(batch=32, epochs=4))
    assert_goes_on(seeds(spec, 0, 1), at=7)
    before, _ = told(seeds(spec, 0), until=7)
    for module in (memorise, pretrain):
        monkeypatch.setattr(module, "steps", None)  # would fail
    assert told(seeds(spec, 0), before[-1].saved)[1][0].status == "done"


@pytest.mark.parametrize("network", ["cnn:4", "resnet18:8"])
@pytest.mark.usefixtures("_always")
def test_so_do_networks_with_convolutions(network) -> None:
    problem = Problem(dataset="mnist-5k", network=network, n_train=24)
    spec = spec_of("sam", m=4, problem=problem, training=Training(batch=8, epochs=2))
    assert_goes_on(seeds(spec, 0, 1), at=4)


OWN = """
import torch
from torch import nn

def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(96, 6, generator=g)
    return x[:64], (x[:64, 0] > 0).long(), x[64:], (x[64:, 0] > 0).long()

def network():
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 2))

def augment(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)

loss = "cross_entropy"
"""


@pytest.mark.usefixtures("_always")
def test_so_does_a_problem_file_with_an_augmentation(tmp_path, monkeypatch) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setenv(PROBLEMS, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    problem = Problem(dataset=f"file:{tmp_path / 'own.py'}")
    spec = spec_of("nusam", m=16, problem=problem, training=Training(batch=16, epochs=3))
    assert_goes_on(seeds(spec, 0, 1), at=6)


@pytest.mark.usefixtures("_always")
def test_a_run_of_a_stack_that_has_diverged_stays_so_with_its_step(monkeypatch) -> None:
    """The second run's gradients are made infinite from step 4 on; the first goes on, and is killed later."""
    make = training.fastest

    def spoilt(problem, specs):
        way = make(problem, specs)

        def take(W, state, at):
            down, state, scalars = way.take(W, state, at)
            if at.t >= 3:
                down.h[1] = math.nan
                scalars["h_norm"] = scalars["h_norm"].clone()
                scalars["h_norm"][1] = math.nan
            return down, state, scalars

        return way._replace(take=take)

    monkeypatch.setattr(training, "fastest", spoilt)
    specs = seeds(spec_of("sam"), 0, 1)
    ends = told(specs)[1]
    assert [end.status for end in ends] == ["done", "diverged"]
    assert ends[1].message.startswith("diverged at step 4:")
    assert_goes_on(specs)


@pytest.mark.parametrize("part", ["torch", "numerics", "device", "path", "sam-dash"])
@pytest.mark.usefixtures("_always")
def test_what_other_software_has_saved_is_refused(part) -> None:
    specs = seeds(spec_of("sam"), 0)
    before, _ = told(specs, until=AT)
    (run,) = standing.read(before[-1].saved)
    other = {**run, "made": {**run["made"], part: "another"}}
    with pytest.raises(StaleError, match="other software"):
        told(specs, standing.write([other]))
    for torn in (b"", before[-1].saved[0][:300]):
        with pytest.raises(StaleError, match="cannot be read"):
            told(specs, [torn])
    for wrong in ({**run, "leaves": run["leaves"][:1]}, {**run, "leaves": [a[:3] for a in run["leaves"]]}, {"t": 3}):
        with pytest.raises(StaleError):
            told(specs, standing.write([wrong]))


def test_saving_takes_its_share_of_the_time_at_most(monkeypatch) -> None:
    """A slow store: what takes 0.3 s is not done again within 30 s."""
    now, saves = [0.0], []
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])

    def listener(report):
        saves.extend([now[0]] * bool(report.saved))
        now[0] += 0.3 if report.saved else 0.6
        return set()

    monkeypatch.setattr(training, "FLUSH_SECONDS", -1)
    train(seeds(spec_of("sgd", training=Training(epochs=40)), 0), listener, "cpu")
    assert saves[0] >= training.SAVE_SECONDS
    assert len(saves) >= 2
    assert all(b - a >= 0.3 / training.SHARE for a, b in itertools.pairwise(saves))


# in the store


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


PAIR = SweepSpec(
    variants=("sgd",), seeds=(0, 1), problem=SMALL, training=Training(epochs=2), measures=Measures(what=())
)


def report(first, count=2, saved=(b"one", b"two"), at=()):
    values = np.arange(first, first + count, dtype=np.float32)
    found = [m for s in at for m in Measurement.at(s, 0.0, {"test_acc": Estimate(float(s), 0.0, "exact", 1)})]
    return Report(first + count, 30, "train", first, {"g_norm": np.stack([values, values])}, [found, found], saved)


def begun(store, *reports):
    store.submit(PAIR)
    leases = Leases(store)
    keys = leases.claim("engine.0")
    owner, _ = leases.begin(keys, "engine.0")
    for each in reports:
        leases.flush(owner, keys, each)
    return leases, owner, keys


def held(store):
    with store.read() as c:
        return {row.run: row.step for row in c.execute(select(rows))}


def test_an_attempt_keeps_what_is_before_the_step_that_it_goes_on_from_and_no_more(store) -> None:
    leases, _, keys = begun(store, report(0, at=(0,)), report(2, at=(4,)), report(4, saved=(), at=(5, 6)))
    assert held(store) == dict.fromkeys(keys, 4)
    leases.begin(keys, "engine.0")
    assert leases.saved(keys) == [b"one", b"two"]
    assert store.series(keys)[keys[1]]["g_norm"].tolist() == [0, 1, 2, 3]
    assert [row["step"] for row in store.measurements(keys=keys[:1])] == [0, 4]
    assert store.run(keys[0])["step"] == 4
    leases.release(["engine.0"])
    assert store.requeue(keys) == keys
    assert {(row["status"], row["step"]) for row in store.runs()} == {("queued", 4)}


def test_runs_of_a_group_that_go_on_from_other_steps_are_not_trained_in_one_stack(store) -> None:
    leases, owner, keys = begun(store, report(0))
    store.stop(keys=keys[:1])
    leases.flush(owner, keys, report(2))  # the first ends with this report, and its own place
    leases.flush(owner, keys, report(4))
    leases.release(["engine.0"])
    assert sorted(held(store).values()) == [4, 6]
    store.requeue(keys)
    first, second = leases.claim("engine.1"), leases.claim("engine.2")
    assert sorted(first + second) == sorted(keys)
    assert len(first) == len(second) == 1


def test_of_runs_under_one_claim_that_were_saved_at_other_steps_all_start_anew(store) -> None:
    leases, _, keys = begun(store, report(0))
    with store.write() as c:
        c.execute(rows.delete().where(rows.c.run == keys[0]))
    leases.begin(keys, "engine.0")
    assert leases.saved(keys) == []
    assert store.series(keys) == {}
    assert {row["step"] for row in store.runs()} == {0}


@pytest.mark.parametrize(("status", "kept"), [("done", 0), ("diverged", 0), ("stopped", 1)])
def test_what_a_run_goes_on_from_is_removed_when_it_is_over(store, status, kept) -> None:
    leases, owner, keys = begun(store, report(0))
    leases.finish(owner, keys[0], Outcome(status), 1.0, {})
    assert set(held(store)) == {*keys[:kept], keys[1]}


def test_what_is_large_is_a_file_that_is_replaced_and_removed_with_the_run(store, monkeypatch) -> None:
    monkeypatch.setattr(resume, "MOST", 10)
    large = (b"x" * 11, b"two")
    leases, owner, keys = begun(store, report(0, saved=large), report(2, saved=large))
    folder = checkpoint_folder(store.db.url)
    assert [path.name for path in folder.rglob("*.pt")] == ["resume-4.pt"]
    assert leases.saved(keys) == list(large)
    leases.begin(keys, "engine.0")
    assert leases.saved(keys) == list(large)
    (path,) = folder.rglob("*.pt")
    path.unlink()
    assert leases.saved(keys) == [b"", b"two"], "it starts anew"
    owner, _ = leases.begin(keys, "engine.0")
    leases.flush(owner, keys, report(4, saved=large))
    leases.finish(owner, keys[0], Outcome("done"), 1.0, {})
    assert list(folder.rglob("*.pt")) == []
    owner, _ = leases.begin(keys, "engine.0")
    leases.flush(owner, keys[1:], replace(report(6), saved=large))
    assert len(list(folder.rglob("*.pt"))) == 1
    leases.finish(owner, keys[1], Outcome("stopped"), 1.0, {})
    store.delete(keys)
    assert list(folder.rglob("*.pt")) == []


def test_of_reports_that_wait_for_the_store_only_the_last_says_where_the_runs_stand(store, monkeypatch) -> None:
    leases, owner, keys = begun(store)
    box = Outbox(leases, owner, keys)
    box.tries.next = math.inf
    for first in (0, 2, 4):
        box.put(report(first))
    assert [bool(each.saved) for each in box.waiting] == [False, False, True]
    box.empty()
    assert held(store) == dict.fromkeys(keys, 6)


def test_what_cannot_be_gone_on_from_is_forgotten_and_the_run_starts_anew(store) -> None:
    _leases, _, keys = begun(store, report(0, at=(0,)))
    tried = []

    def train(specs, listener, *, saved=()):
        tried.append(tuple(saved))
        if saved:
            raise StaleError("of other software")
        assert store.series(keys) == {}
        assert held(store) == {}
        listener(report(0, saved=()))
        return [Outcome("done", weights=np.ones(2), before=0.0) for _ in specs]

    run_group(store.url, keys, "engine.0", train)
    assert tried == [(b"one", b"two"), ()]
    assert store.series(keys)[keys[0]]["g_norm"].tolist() == [0, 1]


def test_seconds_of_earlier_attempts_count(store) -> None:
    _leases, _, keys = begun(store, report(0))
    run_group(store.url, keys, "engine.0", lambda specs, listener, *, saved: [Outcome("done", before=99.0)] * 2)
    assert all(99 < row["seconds"] < 110 for row in store.runs())


LONGER = SweepSpec(
    variants=("sam",), m=(8,), seeds=(0, 1), problem=SMALL, training=Training(epochs=300),
    measures=Measures(what=("trace",), every=100),
)  # fmt: skip
WORKER = """
import sys
from sam_dash.runs import train
from sam_dash.runs.worker import run_group
often, *stacks = sys.argv[1:]
train.SAVE_SECONDS, train.SHARE, train.FLUSH_SECONDS = float(often), 1.0, 0.05
for stack in stacks:
    url, *keys = stack.split(",")
    run_group(url, keys, "engine.0")
"""


def worker(often, *stacks):
    """A process that trains one stack, of a store and keys, after another."""
    words = [",".join([store.url, *keys]) for store, keys in stacks]
    return subprocess.Popen([sys.executable, "-c", WORKER, str(often), *words], cwd=ROOT, env=child(**REPRODUCIBLE))


def everything(store, keys):
    measured = {
        (row["run"], row["step"], row["quantity"]): row["value"] for row in store.measurements()
        if row["quantity"] != "train_seconds"
    }  # fmt: skip
    series = {(run, q): x.tobytes() for run, by in store.series(keys).items() for q, x in by.items()}
    return measured, series, [store.weights(key).tobytes() for key in keys]


def test_runs_whose_worker_was_killed_are_those_of_one_that_was_not_together_or_alone(tmp_path) -> None:
    """Bit for bit: the two train in one stack, which is killed, and then one after the other."""
    whole, torn = (Store(tmp_path / name) for name in ("whole.db", "torn.db"))
    for store in (whole, torn):
        store.submit(LONGER)
        keys = Leases(store).claim("engine.0")
    process = worker(0.1, (torn, keys))
    until(lambda: min(held(torn).values(), default=0) > 50)
    process.kill()
    process.wait()
    assert worker(60, (whole, keys), (torn, keys[:1]), (torn, keys[1:])).wait() == 0
    for store, attempts in ((whole, 1), (torn, 2)):
        assert {(row["status"], row["attempt"]) for row in store.runs()} == {("done", attempts)}
        assert held(store) == {}
    assert everything(whole, keys) == everything(torn, keys)
    whole.close()
    torn.close()
