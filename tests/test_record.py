"""A recorder: what it writes is what happened, it costs no more than it may, and it never ends anybody's training."""

from __future__ import annotations

import itertools
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy.exc import OperationalError
from torch import nn

from sam_dash import api, record
from sam_dash.maths.estimate import Estimate
from sam_dash.optim import SharpnessAware
from sam_dash.record import Recorder
from sam_dash.results.numbers import study as studies
from sam_dash.runs import budget, checkpoints, ledger, writer
from sam_dash.runs.leases import Leases
from sam_dash.runs.store import GONE, Store
from sam_dash.runs.tables import StoreError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(writer, "FLUSH", 0.02)
    monkeypatch.setattr(writer, "LONGEST", 0.1)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "store.db"


def problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, torch.randn(32, 5), torch.randint(0, 3, (32,))


def stored(path: Path, key: str) -> dict[str, list[tuple[int, float]]]:
    """What a run has in the store: steps and values by quantity."""
    out: dict[str, list[tuple[int, float]]] = {}
    with closing(Store(path)) as store:
        for row in store.measurements(keys=[key]):
            out.setdefault(row["quantity"], []).append((row["step"], row["value"]))
    return out


@contextmanager
def heard() -> Iterator[list[str]]:
    """What is said within the block, filled at its end."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(w.message) for w in caught]


def row(path: Path, key: str) -> dict:
    with closing(Store(path)) as store:
        found = store.run(key)
    assert found is not None
    return found


def test_what_is_logged_is_stored_with_its_steps_and_epochs(path) -> None:
    with Recorder("a", store=path, steps_per_epoch=4) as r:
        r.log(0, train_loss=torch.tensor(2.5), **{"val/top5": 1})
        r.log(2, train_loss=1.5, test_acc=0.5)
        r.log(8, epoch=1.75, f1=Estimate(0.25, 0.1, "mine", 7))
    found = stored(path, r.key)
    assert found.pop("train_seconds")[0][0] == 8
    assert found == {
        "train_loss": [(0, 2.5), (2, 1.5)],
        "val/top5": [(0, 1)],
        "test_acc": [(2, 0.5)],
        "f1": [(8, 0.25)],
    }
    with closing(Store(path)) as store:
        rows = {(m["quantity"], m["step"]): m for m in store.measurements(keys=[r.key])}
    assert rows["train_loss", 2]["epoch"] == 0.5
    assert rows["f1", 8]["epoch"] == 1.75
    assert (rows["f1", 8]["stderr"], rows["f1", 8]["method"], rows["f1", 8]["budget"]) == (0.1, "mine", 7)
    assert math.isnan(rows["train_loss", 2]["stderr"])
    assert row(path, r.key)["status"] == "done"


def test_measurements_equal_those_of_api_on_the_same_weights(path) -> None:
    model, x, y = problem()
    inputs = {"m": (2, 8), "seed": 3}
    wanted = ("tr_H", "lam_max", "tr_V", "m_sharp")
    found = []
    with Recorder("a", store=path) as r:
        for step in (0, 1):
            r.log(step, train_loss=1.0)
            found.append(r.measure(model, x, y, wanted, always=True, **inputs))
            assert found[step] == api.measure(model, x, y, wanted, **inputs)
            with torch.no_grad():
                model[0].weight.mul_(1.5)
    kept = stored(path, r.key)
    assert found[0] != found[1]
    for q in ("tr_H", "lam_max", "tr_V", "m_sharp@2", "m_sharp@8"):
        assert kept[q] == [(step, found[step][q].value) for step in (0, 1)]


def test_the_final_weights_are_measured_once_more_and_once_only(path) -> None:
    model, x, y = problem()
    with Recorder("a", store=path) as r:
        r.measure(model, x, y, ("tr_V",), always=True)
        with torch.no_grad():
            model[0].weight.mul_(1.5)
        r.log(5, train_loss=1.0)
    assert stored(path, r.key)["tr_V"][-1] == (5, api.measure(model, x, y, ("tr_V",))["tr_V"].value)
    with Recorder("a", store=path) as r:
        r.log(5, train_loss=1.0)
        r.measure(model, x, y, ("tr_V",), always=True)
    assert len(stored(path, r.key)["tr_V"]) == 1


def test_a_measurement_leaves_modes_weights_and_generators_as_they_were(path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    x, y = torch.randn(32, 5), torch.randint(0, 3, (32,))
    modes = [part.training for part in model.modules()]
    state = {name: a.clone() for name, a in model.state_dict().items()}
    generator = torch.get_rng_state()
    with Recorder("a", store=path) as r:
        assert r.measure(model, x, y, always=True)
    assert [part.training for part in model.modules()] == modes
    assert len(set(modes)) == 2
    assert all(torch.equal(a, state[name]) for name, a in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def passing(monkeypatch) -> Clock:
    """A clock for the budget, on which a measurement takes a second and one of asc_H a hundredth."""
    clock = Clock()

    def measure(model, x, y, quantities, **options):
        clock.now += 0.01 if quantities == ("asc_H",) else 1.0
        return {q: Estimate(1.0, 0.0, "made up", 1) for q in quantities}

    monkeypatch.setattr(budget, "clock", clock)
    monkeypatch.setattr(api, "measure", measure)
    monkeypatch.setattr(writer.time, "thread_time", lambda: 0.0)
    return clock


@pytest.mark.parametrize(("share", "times"), [(0.0, 0), (0.05, 5), (0.1, 10), (0.5, 80), (1.0, 100)])
def test_recording_stays_within_its_share_and_uses_it(path, passing, share, times) -> None:
    model, x, y = problem()
    r = Recorder("a", store=path, share=share)
    for step in range(1, 1001):
        passing.now += 0.1
        r.log(step, train_loss=1.0)
        r.measure(model, x, y, every=10)
        assert r.overhead <= share + 1e-9
    assert 0.8 * times <= r.measured <= times * (1 + share)
    r._again = None
    r.close()
    assert r.account().startswith(f"recording took {100 * r.overhead:.2g} %")


def test_what_is_due_and_over_the_share_is_postponed_to_the_first_call_within_it(path, passing) -> None:
    model, x, y = problem()
    steps = []
    with Recorder("a", store=path, share=0.1) as r:
        for step in range(1, 401):
            passing.now += 0.1
            steps += [step] * (r.measure(model, x, y, step=step, every=100) is not None)
    assert len(steps) == 3  # of 40 s a tenth is 4 s
    assert all(b - a >= 100 for a, b in itertools.pairwise(steps))
    assert steps[0] > 100  # the bound on what it takes is more than it took
    assert r.postponed > 0


def test_how_long_it_takes_to_load_torchs_second_derivatives_is_said_and_not_counted(path, passing) -> None:
    model, x, y = problem()
    with Recorder("a", store=path, share=0.5) as r:
        passing.now += 100
        r.measure(model, x, y)
        assert r.budget.beside == pytest.approx(0.01)
        assert "once 0.01 s to load" in r.account()
        assert sum(r.budget.own.values()) == pytest.approx(1.01)


def test_on_a_real_clock_recording_takes_its_share_and_no_more(path, monkeypatch) -> None:
    """Timed from outside, in a loop of 3 s; over the share by no more than one measurement that took longer, and a
    quarter for what other processes took meanwhile.
    """
    monkeypatch.setattr(writer, "FLUSH", 0.5)
    model, x, y = problem()
    optimiser = SharpnessAware(model, "sam", m=8, lr=0.01, rho=0.2)
    taken, longest, step = 0.0, 0.0, 0
    with Recorder("a", variant="sam", m=8, rho=0.2, store=path) as r:
        r.watch(optimiser)
        begun = time.perf_counter()
        while time.perf_counter() - begun < 3.0:
            step += 1
            optimiser.step(lambda: (x, y))
            time.sleep(0.003)
            before, aside = time.perf_counter(), r.budget.beside
            r.log(step, train_loss=1 / step)
            r.measure(model, x, y, ("tr_V",), every=2)
            longest = max(longest, one := time.perf_counter() - before - (r.budget.beside - aside))
            taken += one
        elapsed = time.perf_counter() - begun - r.budget.beside
        told, writing = r.overhead, r._writer.cpu
    allowed = 1.25 * 0.05 + longest / elapsed
    assert taken + writing + r.budget.own["watch"] <= allowed * elapsed
    assert told <= allowed
    assert r.measured >= 1, "and the share is used"
    assert r.postponed > 0, "and is what limits it"


def test_watch_records_every_step_of_the_optimiser(path) -> None:
    model, x, y = problem()
    optimiser = SharpnessAware(model, "sam", m=8, lr=0.1, rho=0.2)
    last = []
    with Recorder("a", variant="sam", m=8, rho=0.2, store=path, share=1.0) as r:
        r.watch(optimiser)
        for _ in range(5):
            optimiser.step(lambda: (x, y))
            last.append(optimiser.last)
    with closing(Store(path)) as store:
        series = store.series([r.key])[r.key]
    for name, of in record.WATCHED.items():
        assert series[name].tolist() == pytest.approx([getattr(one, of) for one in last], rel=1e-6)


def test_watching_takes_half_of_the_share_and_says_which_steps_it_left_out(path, passing, monkeypatch) -> None:
    model, x, y = problem()
    optimiser = SharpnessAware(model, "sam", m=8, lr=0.1, rho=0.2)
    plain = SharpnessAware.last.fget

    def slow(self):
        passing.now += 0.01
        return plain(self)

    monkeypatch.setattr(SharpnessAware, "last", property(slow))
    with Recorder("a", variant="sam", m=8, store=path, share=0.1) as r:
        r.watch(optimiser)
        for _ in range(100):
            passing.now += 0.1
            optimiser.step(lambda: (x, y))
        assert r.overhead <= 0.05 + 0.01
    with closing(Store(path)) as store:
        eps = store.series([r.key])[r.key]["eps_norm"]
    assert 40 <= np.isfinite(eps).sum() <= 60


def test_the_first_step_is_watched_even_where_the_share_is_spent(path) -> None:
    model, x, y = problem()
    optimiser = SharpnessAware(model, "sam", m=8, lr=0.1, rho=0.2)
    with Recorder("a", variant="sam", m=8, rho=0.2, store=path, share=0.0) as r:
        r.watch(optimiser)
        for _ in range(3):
            optimiser.step(lambda: (x, y))
    with closing(Store(path)) as store:
        series = store.series([r.key])[r.key]
        (kept,) = (s for row in store.sweeps() if (s := studies.from_store(store, row["id"])))
    for name in record.WATCHED:
        assert np.isfinite(series[name]).tolist()[:1] == [True]
        assert not np.isfinite(series[name][1:]).any()
    assert set(record.WATCHED) <= set(kept.finals["quantity"])


def test_watching_and_measuring_leave_room_for_logging_and_for_each_other() -> None:
    passing = budget.Budget(0.1, lambda: 1.0)  # a second elsewhere
    passing.start -= 100.0
    passing.own["log"] = 3.0
    assert passing.allows_watching()
    passing.own["watch"] = 2.9  # of the 6 s that logging leaves, half
    assert passing.allows_watching()
    passing.own["watch"] = 3.1
    assert not passing.allows_watching()
    assert passing.allows(2.9)
    assert not passing.allows(3.5)
    passing.own["log"] = 9.5
    passing.own["watch"] = 0.0
    assert not passing.allows_watching()


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"variant": "asam"}, "variant = asam, the optimiser has variant = sam"),
        ({"variant": "sam", "m": 4}, "m = 4, the optimiser has m = 8"),
        ({"variant": "sam", "m": 8, "rho": 0.5}, "rho = 0.5, the optimiser has rho = 0.2"),
    ],
)
def test_a_recorder_that_was_told_something_else_than_the_optimiser_does_is_refused(path, told, what) -> None:
    model, *_ = problem()
    r = Recorder("a", store=path, **told)
    with pytest.raises(ValueError, match=what):
        r.watch(SharpnessAware(model, "sam", m=8, lr=0.1, rho=0.2))
    with pytest.raises(ValueError, match="not SGD: log what yours knows"):
        r.watch(torch.optim.SGD(model.parameters(), lr=0.1))
    r.close()


def test_two_loops_at_once_do_not_mix(path) -> None:
    def loop(seed: int) -> None:
        with Recorder("both", variant="sam", m=8, seed=seed, store=path) as r:
            for step in range(50):
                r.log(step, train_loss=seed + step, eps_norm=100 * seed + step)
                time.sleep(0.001)
        keys[seed] = r.key

    keys: dict[int, str] = {}
    threads = [threading.Thread(target=loop, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys[0] != keys[1]
    for seed, key in keys.items():
        assert stored(path, key)["train_loss"] == [(step, seed + step) for step in range(50)]
        with closing(Store(path)) as store:
            assert store.series([key])[key]["eps_norm"].tolist() == [100 * seed + step for step in range(50)]
    with closing(Store(path)) as store:
        (sweep,) = store.sweeps()
        study = studies.from_store(store, sweep["id"])
    assert study is not None
    assert sorted(study.runs["seed"]) == [0, 1]


LOOP = """
import sys
from sam_dash.record import Recorder
seed = int(sys.argv[2])
with Recorder("both", variant="sam", m=8, seed=seed, store=sys.argv[1]) as r:
    print(r.key, flush=True)
    sys.stdin.readline()
    for step in range(300):
        r.log(step, train_loss=seed + step, eps_norm=100 * seed + step)
"""


def test_two_processes_at_once_do_not_mix(path) -> None:
    command = [sys.executable, "-c", LOOP, str(path)]
    pipes: dict = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    loops = [subprocess.Popen([*command, str(seed)], **pipes) for seed in (0, 1)]
    keys = [loop.stdout.readline().strip() for loop in loops]  # both have begun
    for loop in loops:
        loop.communicate("go\n")
        assert loop.returncode == 0
    for seed, key in enumerate(keys):
        assert row(path, key)["status"] == "done"
        assert stored(path, key)["train_loss"] == [(step, seed + step) for step in range(300)]
        with closing(Store(path)) as store:
            assert store.series([key])[key]["eps_norm"].tolist() == [100 * seed + step for step in range(300)]


KILLED = """
import sys, time
from sam_dash.record import Recorder
with Recorder("killed", variant="sam", m=8, store=sys.argv[1], steps=10**6) as r:
    for step in range(10**6):
        r.log(step, train_loss=1 / (step + 1), eps_norm=.1)
        time.sleep(.01)
        if step == 100:
            print(r.key, flush=True)
"""


def test_a_killed_loop_leaves_a_readable_run(path) -> None:
    loop = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert loop.stdout is not None
    key = loop.stdout.readline().strip()
    loop.send_signal(signal.SIGKILL)
    loop.wait()
    loop.stdout.close()
    found = stored(path, key)["train_loss"]
    assert found == [(step, 1 / (step + 1)) for step in range(len(found))]
    assert len(found) > 20
    with closing(Store(path)) as store:
        assert store.run(key)["status"] == "running"  # nobody has looked yet
        leases = Leases(store)
        ((seen, _), beat) = next(iter(leases.heartbeats(["another engine"]).items()))
        assert seen == key
        assert leases.interrupt(key, beat)  # what an engine does where a heartbeat stands still
        assert (store.run(key)["status"], store.run(key)["error"]) == ("interrupted", "its loop is gone")
        assert store.requeue([key]) == []
        assert store.queue() == []
        study = studies.from_store(store, store.sweeps()[0]["id"])
        assert list(study.runs["status"]) == ["interrupted"]


def test_a_loop_that_was_only_held_up_takes_its_run_back(path) -> None:
    with Recorder("a", store=path) as r:
        r.log(1, train_loss=1.0)
        with closing(Store(path)) as store:
            until(lambda: stored(path, r.key).get("train_loss"))
            until(lambda: interrupted(store, r.key))
            r.log(2, train_loss=2.0)
            until(lambda: store.run(r.key)["status"] == "running")
    assert row(path, r.key)["status"] == "done"
    assert stored(path, r.key)["train_loss"] == [(1, 1.0), (2, 2.0)]


def interrupted(store: Store, key: str) -> bool:
    """Have an engine that has seen no heartbeat for too long let go of the run."""
    leases = Leases(store)
    return any(leases.interrupt(key, beat) for beat in leases.heartbeats(["another engine"]).values())


def until(found, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.01)


def test_a_locked_store_is_waited_for_while_training_goes_on(path) -> None:
    with Recorder("a", store=path) as r:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            longest = 0.0
            for step in range(200):
                begun = time.perf_counter()
                r.log(step, train_loss=float(step))
                longest = max(longest, time.perf_counter() - begun)
                time.sleep(0.001)
            other.execute("COMMIT")
        assert longest < 1.0  # the lock was held all the while
    assert stored(path, r.key)["train_loss"] == [(step, float(step)) for step in range(200)]


def test_a_full_store_is_said_once_and_nothing_is_lost_when_it_has_room_again(path, monkeypatch) -> None:
    plain, full = ledger.Ledger.write, threading.Event()
    full.set()

    def write(self, *args):
        if full.is_set():
            raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
        return plain(self, *args)

    monkeypatch.setattr(ledger.Ledger, "write", write)
    with heard() as said, Recorder("a", store=path) as r:
        for step in range(100):
            r.log(step, train_loss=float(step))
            time.sleep(0.005)
        full.clear()
    assert said == [
        "the store cannot be written to (database or disk is full): training goes on, and it is tried again"
    ]
    assert stored(path, r.key)["train_loss"] == [(step, float(step)) for step in range(100)]


def test_a_store_that_stays_full_does_not_keep_the_end_for_ever(path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.2)
    r = Recorder("a", store=path)
    until(lambda: path.exists())
    error = OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))
    monkeypatch.setattr(ledger.Ledger, "write", lambda *_: (_ for _ in ()).throw(error))
    with pytest.warns(UserWarning, match=r"could not be written to for 0.2 s: the end of this run is not in it"):
        r.close()


def test_an_entry_whose_answer_was_lost_is_not_written_twice(path, monkeypatch) -> None:
    plain, lost = ledger.Ledger.write, []

    def write(self, *args):
        done = plain(self, *args)
        if len(lost) < 3:
            lost.append(args)
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("server closed the connection"))
        return done

    monkeypatch.setattr(ledger.Ledger, "write", write)
    with heard() as said, Recorder("a", store=path) as r:
        for step in range(20):
            r.log(step, train_loss=float(step), eps_norm=1.0)
            time.sleep(0.01)
        until(lambda: len(lost) == 3)
        r.log(20, train_loss=20.0)
    assert len(said) == 1
    assert "server closed" in said[0]
    assert stored(path, r.key)["train_loss"] == [(step, float(step)) for step in range(21)]


def test_a_deleted_run_or_store_is_said_and_training_goes_on(path) -> None:
    with heard() as said, closing(Store(path)) as store, Recorder("a", store=path) as r:
        r.log(1, train_loss=1.0)
        until(lambda: stored(path, r.key).get("train_loss"))
        until(lambda: interrupted(store, r.key) and store.delete([r.key]))
        r.log(2, train_loss=1.0)
    assert said == ["it has been deleted from the store: nothing more is recorded of this run"]
    with heard() as said, Recorder("a", store=path) as r:
        until(lambda: path.exists() and row(path, r.key))
        path.unlink()
        r.log(1, train_loss=1.0)
    assert said == [f"store {path}: its file {GONE}; nothing more is recorded of this run"]


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_a_store_deleted_between_a_look_and_a_write_is_said(path, monkeypatch, seen: int) -> None:
    plain, calls = Store.write, []

    def write(self):
        calls.append(self)
        if len(calls) == seen + 2:  # the first opens the run
            path.unlink()
        return plain(self)

    monkeypatch.setattr(Store, "write", write)
    with heard() as said, Recorder("a", store=path) as r:
        for step in range(seen + 1):
            r.log(step, train_loss=1.0)
            until(lambda step=step: len(calls) > step + 1)
    assert said == [f"store {path}: its file {GONE}; nothing more is recorded of this run"]


def test_a_store_that_is_none_is_refused_before_training(path) -> None:
    path.write_text("no database at all, but a text that is long enough to be looked at as one " * 20)
    with pytest.raises(StoreError, match="cannot be opened"):
        Recorder("a", store=path)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("lost"), "failed", "RuntimeError: lost"),
        (KeyboardInterrupt(), "stopped", "Ctrl-C at step 3"),
    ],
)
def test_an_exception_ends_the_run_with_its_message_and_goes_on(path, error, status, said) -> None:
    r = Recorder("a", store=path)
    r.log(3, train_loss=1.0)
    with pytest.raises(type(error)), r:
        raise error
    found = row(path, r.key)
    assert (found["status"], found["error"], found["step"]) == (status, said, 3)
    assert ("Traceback" in found["log"]) == (status == "failed")


def test_a_loss_that_is_not_finite_at_the_end_is_a_diverged_run(path) -> None:
    with Recorder("a", store=path) as r:
        r.log(1, train_loss=math.nan)
        r.log(2, train_loss=1.0)
    assert row(path, r.key)["status"] == "done"
    with Recorder("a", store=path) as r:
        r.log(1, train_loss=1.0)
        r.log(2, train_loss=math.inf)
    assert (row(path, r.key)["status"], row(path, r.key)["error"]) == ("diverged", "train_loss is inf at step 2")


def test_another_rank_than_0_writes_nothing_and_waits_for_nobody(path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    model, x, y = problem()
    optimiser = SharpnessAware(model, "sam", m=8, lr=0.1)
    with Recorder("a", variant="sam", m=8, store=path) as r:
        r.watch(optimiser)
        optimiser.step(lambda: (x, y))
        r.log(1, train_loss=1.0)
        assert r.measure(model, x, y, always=True) is None
        assert r.save(model) is None
    assert not path.exists()


def test_weights_are_saved_beside_the_store_and_listed_with_the_run(path) -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False), nn.BatchNorm1d(7))
    model[1].weight = model[0].weight  # tied: safetensors takes no shared memory
    with Recorder("a", store=path) as r:
        first = r.save(model, step=3)
        with torch.no_grad():
            model[0].weight.add_(1)
        r.log(8, train_loss=1.0)
        second = r.save(model)
    with closing(Store(path)) as store:
        found = checkpoints.listed(store, [r.key])
        assert [(c.run, c.step, c.path) for c in found] == [(r.key, 3, first), (r.key, 8, second)]
        assert checkpoints.listed(store, ["other"]) == []
        assert checkpoints.listed(store) == found
        from safetensors.torch import load_file

        again = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False), nn.BatchNorm1d(7))
        again.load_state_dict(load_file(second))
        assert all(torch.equal(a, model.state_dict()[name]) for name, a in again.state_dict().items())
        assert second.is_relative_to(path.parent)
        assert store.delete([r.key]) == [r.key]
    assert not second.exists()


def test_without_safetensors_a_file_that_torch_reads_is_saved(path, monkeypatch) -> None:
    monkeypatch.setattr(record, "find_spec", lambda _: None)
    model, *_ = problem()
    with Recorder("a", store=path) as r:
        file = r.save(model, step=1)
    assert file.suffix == ".pt"
    assert torch.load(file, weights_only=True).keys() == model.state_dict().keys()


def test_what_cannot_be_measured_is_said_and_training_goes_on(path) -> None:
    model, x, y = problem()
    with heard() as said, Recorder("a", store=path) as r:
        assert r.measure(model, x, y[:5], always=True) is None
    assert len(said) == 1
    assert said[0].startswith("nothing was measured at step 0, training goes on: ValueError: x (32, 5) and y (5,)")


def test_trackers_get_the_same_numbers_and_one_that_fails_no_more(path) -> None:
    seen: list[tuple[int, dict]] = []

    def bad(step, values):
        raise OSError("no network")

    model, x, y = problem()
    good = lambda step, values: seen.append((step, dict(values)))  # noqa: E731
    with heard() as said, Recorder("a", store=path, also=[bad, good]) as r:
        r.log(1, train_loss=1.0)
        r.log(2, train_loss=torch.tensor(2.0))
        found = r.measure(model, x, y, ("tr_V",), always=True)
    assert said == ["a tracker failed and gets nothing more of this run: OSError: no network"]
    assert seen == [(1, {"train_loss": 1.0}), (2, {"train_loss": 2.0}), (2, {q: e.value for q, e in found.items()})]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"name": ""}, "name = ''"),
        ({"name": "a\nb"}, "printable"),
        ({"share": 2}, "share = 2"),
        ({"seed": -1}, "seed = -1"),
        ({"variant": "sam", "m": 0}, "m = 0"),
        ({"variant": "sam", "m": 65, "batch": 64}, "more than the batch of B = 64"),
        ({"variant": "sam", "lr": 0.1}, r"sam has no knob 'lr'.*settings="),
        ({"variant": "sam", "rho": -1}, "rho = -1"),
        ({"settings": {"lr": object()}}, "setting lr"),
        ({"batch": 1.5}, "batch = 1.5"),
    ],
)
def test_what_cannot_be_shown_rightly_is_refused_in_one_line(path, wrong, what) -> None:
    with pytest.raises(ValueError, match=what) as refused:
        Recorder(**{"name": "a", "store": path} | wrong)
    assert "\n" not in str(refused.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("step", "values", "what"),
    [
        (1.5, {}, "step = 1.5"),
        (-1, {}, "step = -1"),
        (True, {}, "step = True"),
        (1, {"a b": 1}, "'a b': expected a name"),
        (1, {"loss": "low"}, "loss = 'low': expected a number"),
        (1, {"loss": torch.ones(2)}, r"tensor of shape \(2,\)"),
    ],
)
def test_what_is_no_number_or_no_step_is_refused_in_one_line(path, step, values, what) -> None:
    with Recorder("a", store=path) as r, pytest.raises(ValueError, match=what):
        r.log(step, **values)


def test_a_quantity_is_kept_value_by_value_and_then_as_means_over_short_windows_with_the_last_as_it_is() -> None:
    few = writer.Thinned(kept=writer.KEPT - 1)
    few.add(1, 0.5, 2.0)
    few.add(2, 1.0, 4.0)
    assert [(m.step, m.value, m.method) for m in few.take("q", 1000.0)] == [(1, 2.0, "logged"), (2, 4.0, "logged")]
    for step, value in ((3, 1.0), (4, 2.0), (5, 6.0)):
        few.add(step, step, value)
    assert few.take("q", 1000.9) == []  # less than a thousandth of the time after the last
    (mean,) = few.take("q", 1001.1)
    assert (mean.step, mean.epoch, mean.value, mean.method, mean.budget) == (5, 5.0, 3.0, "mean of 3 logged", 3)
    for step, value in ((6, 1.0), (7, 2.0), (8, 6.0)):
        few.add(step, step, value)
    assert [(m.step, m.value) for m in few.take("q", 1001.2, last=True)] == [(7, 1.5), (8, 6.0)]


def test_a_recorder_that_is_never_closed_is_interrupted_when_its_process_ends(path) -> None:
    code = (
        "import sys\nfrom sam_dash.record import Recorder\nr = Recorder('a', store=sys.argv[1])\n"
        "r.log(1, train_loss=1.)\nprint(r.key)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", code, str(path)]
    ran = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    found = row(path, ran.stdout.strip())
    assert (found["status"], found["error"]) == ("interrupted", "its process ended without closing it")
    assert stored(path, found["key"])["train_loss"] == [(1, 1.0)]
