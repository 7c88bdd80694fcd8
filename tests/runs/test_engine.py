"""The engine trains what is queued, survives the death of its workers, and leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from sam_dash.runs import launch
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Report
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from tests.runs.serving import LONG, PATIENCE, SHORT, family, gone, key_of, running, sweep, until, workers


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A store and an engine with one worker: what the tests that do not end it share."""
    store = Store(tmp_path_factory.mktemp("served") / "store.db")
    engine = launch.start(store.url, 1)
    yield store, engine
    engine.close()
    store.close()


def all_gone(processes):
    def check():
        try:
            return gone(processes)
        except psutil.NoSuchProcess:
            return False  # it ended between two questions: ask again

    return until(check)


def test_queued_runs_are_trained_and_everything_they_report_is_stored(served):
    store, engine = served
    assert engine.ready(PATIENCE)
    assert engine.line.startswith("engine ready tcp://127.0.0.1:")
    spec = sweep(2, seeds=(0, 1))
    submitted = store.submit(spec)
    until(lambda: {row["status"] for row in store.runs(submitted.sweep_id)} == {"done"})
    rows = store.runs(submitted.sweep_id)
    assert {(row["attempt"], row["step"], row["stack"]) for row in rows} == {(1, 30, 2)}
    curves = store.series([row["key"] for row in rows])
    assert {len(by["g_norm"]) for by in curves.values()} == {30}
    assert len(store.measurements(spec.key, quantities=["test_acc"], final=True)) == 2
    assert store.weights(rows[0]["key"]).ndim == 1
    assert store.run(rows[0]["key"])["environment"]["threads"] == 1


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux lists them")
def test_an_idle_engine_sleeps(served):
    """With a worker it wakes 55 times a second, and takes 3 % of a core; 216 and 8 % while dask watched itself."""
    processes, woke = family(served[1].process.pid), []
    for wait in (0.0, 4.0):
        time.sleep(wait)
        of = [text for p in processes for text in statuses(p.pid)]
        woke.append(sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE)[1]) for text in of))
    assert 0 < woke[1] - woke[0] < 110 * 4.0


def statuses(pid):
    """What Linux says of each thread of a process."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            yield (thread / "status").read_text()


def test_a_key_determines_the_result_whatever_the_number_of_workers(served, tmp_path):
    """One worker trains the three seeds in one stack; of two, one has two of them. Equal to the last bit."""
    measures = Measures(what=("trace", "lam_max", "noise", "m_sharpness", "ascent", "density"))
    problem = Problem(network="mlp:33-17", label_noise=0.4, n_train=300)
    spec = SweepSpec(variants=("sam",), m=(8,), problem=problem, training=Training(epochs=2), measures=measures)
    keys, found = [run.key for run in spec.runs()], []
    both = Store(tmp_path / "both.db")
    for store, engine in (served, (both, launch.start(both.url, 2))):
        assert engine.ready(PATIENCE)
        store.submit(spec)
        until(lambda store=store: {row["status"] for row in store.runs(spec.key)} == {"done"})
        assert {row["stack"] for row in store.runs(spec.key)} == ({1, 2} if store is both else {3})
        assert {store.run(key)["environment"]["threads"] for key in keys} == {1}
        numbers = {
            (row["run"], row["step"], row["quantity"]): row["value"] for row in store.measurements(spec.key)
            if row["quantity"] != "train_seconds"
        }  # fmt: skip
        found.append((numbers, store.series(keys), [store.weights(key).tobytes() for key in keys]))
    engine.close()
    both.close()
    one, two = found
    assert one[2] == two[2]
    assert {k: v for k, v in one[0].items() if v != two[0][k]} == {}
    for run, by in one[1].items():
        assert all(np.array_equal(x, two[1][run][q]) for q, x in by.items())


def test_a_run_whose_worker_is_killed_starts_again_and_ends_as_if_nothing_had_happened(served):
    store, engine = served
    spec = sweep(150)
    store.submit(spec)
    key = key_of(spec)
    until(lambda: running(store, key, attempt=1))
    for process in workers(engine):
        process.kill()
    until(lambda: store.statuses([key])[key] == "done")
    row = store.run(key)
    assert (row["attempt"], row["step"]) == (2, 2250)
    assert len(store.series([key])[key]["g_norm"]) == 2250, "nothing is left of the first attempt"


def test_a_run_that_kills_its_worker_every_time_fails_and_the_engine_goes_on(served):
    store, engine = served
    store.submit(LONG)
    store.submit(SHORT)
    key, next_key = key_of(LONG), key_of(SHORT)
    for attempt in (1, 2, 3):
        until(lambda attempt=attempt: running(store, key, attempt))
        for process in workers(engine):
            process.kill()
    until(lambda: store.statuses([key])[key] == "failed")
    assert store.run(key)["error"].startswith("worker killed (out of memory?) at step ")
    until(lambda: store.statuses([next_key])[next_key] == "done")
    assert store.run(next_key)["attempt"] == 1


def test_a_running_run_stops_when_asked_and_keeps_its_curve(served):
    store, _ = served
    store.submit(LONG)
    key = key_of(LONG)
    until(lambda: running(store, key, attempt=1))
    store.stop(LONG.key)
    until(lambda: store.statuses([key])[key] == "stopped")
    assert store.run(key)["error"].startswith("stopped at step ")
    assert len(store.series([key])[key]["g_norm"]) > 0


@pytest.mark.parametrize("how", ["stdin closed", "SIGTERM", "SIGKILL"])
def test_the_engine_leaves_no_process_behind_and_its_run_can_be_taken_up_again(store, how):
    engine = launch.start(store.url, 1)
    store.submit(LONG)
    key = key_of(LONG)
    until(lambda: running(store, key, attempt=1))
    processes = family(engine.process.pid)
    os.kill(engine.process.pid, signal.SIGINT)  # ignored: Ctrl-C is for the parent
    if how == "stdin closed":
        engine.process.stdin.close()
    else:
        os.kill(engine.process.pid, getattr(signal, how))
    engine.process.wait(PATIENCE)
    assert engine.process.returncode == (-9 if how == "SIGKILL" else 0)
    all_gone(processes)
    engine.close()
    assert store.statuses([key])[key] == ("running" if how == "SIGKILL" else "interrupted")
    assert store.requeue([key]) == [key], "nobody has to wait for a heartbeat"


PARENT = """
import sys, time
from sam_dash.runs import launch
engine = launch.start(sys.argv[1], 1)
assert engine.ready(120)
print(engine.process.pid, flush=True)
time.sleep(600)
"""


def test_the_engine_dies_with_a_parent_that_is_killed(store):
    command = [sys.executable, "-c", PARENT, store.url]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        processes = family(int(parent.stdout.readline()))
        parent.kill()
        assert all_gone(processes)


def test_runs_of_a_dead_engine_are_interrupted_or_if_not_begun_queued_again(store):
    begun, waiting = sweep(1), sweep(2)
    store.submit(begun)
    store.submit(waiting)
    dead = Leases(store)
    keys = dead.claim("dead.0")
    owner, _ = dead.begin(keys, "dead.0")
    assert dead.flush(owner, keys, Report(1, 15, "train")) == set()
    assert dead.claim("dead.1") == [key_of(waiting)]
    engine = launch.start(store.url, 1, None, "--stale", "1")
    until(lambda: store.statuses(keys)[keys[0]] == "interrupted")
    until(lambda: store.statuses([key_of(waiting)])[key_of(waiting)] == "done")
    engine.close()
    assert store.run(keys[0])["error"] == "its engine is gone"


def test_two_engines_on_one_store_run_everything_once(store):
    engines = [launch.start(store.url, 1) for _ in range(2)]
    try:
        assert all(engine.ready(PATIENCE) for engine in engines)
        specs = [sweep(epochs, seeds=(0, 1)) for epochs in range(1, 7)]
        for spec in specs:
            store.submit(spec)
        until(lambda: all(row["status"] == "done" for row in store.runs()))
        assert all((row["attempt"], row["step"]) == (1, row["steps"]) for row in store.runs())
    finally:
        for engine in engines:
            engine.close()
    assert not any(engine.alive for engine in engines)
