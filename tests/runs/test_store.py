"""The store keeps what it is given, once, and lets nobody but the owner of a run write to it."""

import json
import math
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from sam_dash.results.drawing import captions
from sam_dash.results.numbers.study import from_store
from sam_dash.runs import cost, tables
from sam_dash.runs.environment import environment, kind
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Measurement, Outcome, Report, one_line
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError
from sam_dash.runs.worker import run_group

TINY = SweepSpec(variants=("sgd", "sam"), m=(64, 8), seeds=(0, 1), training=Training(epochs=2))
HALF = Measurement(0.5, 0.0, "how", 3, quantity="test_acc")


def keys_of(sweep):
    return [spec.key for spec in sweep.runs()]


def begun(store, sweep=TINY):
    """Submit, claim and begin the first group."""
    store.submit(sweep)
    leases = Leases(store)
    keys = leases.claim("engine.0")
    owner, specs = leases.begin(keys, "engine.0")
    return leases, owner, [spec.key for spec in specs]


def report(values, first=0, step=3, measurements=()):
    return Report(step, 30, "train", first, {"g_norm": np.asarray(values, np.float32)}, list(measurements))


sweeps = st.builds(
    SweepSpec,
    preset=st.sampled_from(["", "digits", "ü λ'\";--"]),
    variants=st.lists(st.sampled_from(["sgd", "sam", "usam", "rwsam"]), min_size=1, unique=True).map(tuple),
    m=st.lists(st.sampled_from([64, 8, 1]), unique=True).map(tuple),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True).map(tuple),
    problem=st.builds(Problem, label_noise=st.floats(0, 0.95)),
    training=st.builds(Training, lr=st.floats(1e-8, 100), epochs=st.integers(1, 10_000)),
    measures=st.builds(Measures, every=st.integers(0, 9)),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("shared") / "store.db")
    yield store
    store.close()


@settings(max_examples=40, deadline=None)
@given(sweep=sweeps)
def test_a_sweep_and_its_runs_come_back_as_they_were_submitted(shared, sweep):
    submitted = shared.submit(sweep)
    assert shared.sweep(submitted.sweep_id) == sweep
    rows = shared.runs(submitted.sweep_id)
    assert [row["spec"] for row in rows] == [spec.to_dict() for spec in sweep.runs()]
    assert [row["key"] for row in rows] == keys_of(sweep)
    assert {row["preset"] for row in rows} == {sweep.preset}


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("lone") / "store.db")
    yield store
    store.close()


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=8),
    numbers=st.lists(st.floats().map(lambda x: x + 0.0), min_size=3, max_size=3),  # SQLite has no -0.0
    dof=st.sampled_from([7.0, math.inf]),
)
def test_every_number_survives_the_round_trip_also_nan_and_infinity(lone, values, numbers, dof):
    leases, owner, keys = begun(lone)
    value, stderr, residual = numbers
    row = Measurement(value, stderr, "how", 3, residual, False, dof, 7, 1.5, "tr_H")
    assert leases.flush(owner, keys, report([values] * 2, measurements=[[row], []])) == set()
    (back,) = lone.measurements(keys=keys)
    assert back.pop("run") == keys[0]
    np.testing.assert_equal(back, vars(row))
    np.testing.assert_array_equal(lone.series(keys)[keys[1]]["g_norm"], np.asarray(values, np.float32))
    leases.release(["engine.0"])
    lone.delete([spec.key for spec in TINY.runs()])


def test_chunks_of_a_series_are_joined_in_the_order_of_their_steps(store):
    leases, owner, keys = begun(store)
    leases.flush(owner, keys, report([[0, 1], [10, 11]]))
    leases.flush(owner, keys, report([[2], [12]], first=2))
    assert store.series(keys)[keys[1]]["g_norm"].tolist() == [10, 11, 12]
    assert store.series(keys, ["other"]) == {}


def test_weights_come_back_bit_for_bit_and_too_large_ones_are_left_out(store):
    leases, owner, keys = begun(store)
    weights = np.linspace(0, 1, 1000, dtype=np.float32)
    assert leases.finish(owner, keys[0], Outcome("done", weights=weights), 1.0, {"torch": "2"})
    assert leases.finish(owner, keys[1], Outcome("done", weights=np.zeros(3_000_000, np.float32)), 1.0, {})
    np.testing.assert_array_equal(store.weights(keys[0]), weights)
    assert store.weights(keys[1]) is None
    assert store.run(keys[0])["environment"] == {"torch": "2"}


def test_a_second_submission_runs_nothing_that_is_done_and_repeats_what_failed(store):
    leases, owner, keys = begun(store)
    leases.flush(owner, keys, report([[1], [2]]))
    leases.finish(owner, keys[0], Outcome("done"), 1.0, {})
    leases.fail(owner, keys[1:], "broken")
    assert store.run(keys[1])["error"] == "broken"
    again = store.submit(TINY)
    assert (again.new, again.cached) == (1, 1)
    assert store.statuses(keys) == {keys[0]: "done", keys[1]: "queued"}
    assert list(store.series(keys)) == keys[:1], "the partial data of the failed run is gone"


def test_two_sweeps_share_their_common_runs(store):
    wider = SweepSpec(preset="wide", variants=TINY.variants, m=(64, 8, 1), seeds=(0, 1), training=TINY.training)
    assert store.submit(TINY).new == 6
    assert store.submit(wider).new == 2
    assert [row["id"] for row in store.sweeps()] == [wider.key, TINY.key]
    assert store.sweeps()[0]["counts"] == {"queued": 8}
    assert len(store.runs()) == 8
    assert {row["preset"] for row in store.runs(wider.key)} == {"wide"}


def test_the_queue_is_first_in_first_out_and_shares_a_lone_group_among_idle_workers(store):
    one = SweepSpec(variants=("sgd",), seeds=(0, 1, 2), training=Training(epochs=2))
    two = SweepSpec(variants=("sgd",), seeds=(0, 1), training=Training(epochs=3))
    store.submit(one)
    leases = Leases(store)
    assert leases.claim("a", idle=2) == keys_of(one)[:2]
    store.submit(two)
    assert leases.claim("b", idle=1) == keys_of(one)[2:]
    assert leases.claim("c", idle=2) == keys_of(two)[:1]
    assert leases.claim("d", idle=2) == keys_of(two)[1:]
    assert leases.claim("e") == []


def test_a_claim_takes_no_more_runs_than_fit_memory(store, monkeypatch):
    monkeypatch.setattr("sam_dash.runs.leases.largest_stack", lambda spec: 2)
    sweep = SweepSpec(variants=("sam",), m=(8,), knobs={"rho": (0.1, 0.2)}, seeds=(0, 1, 2))
    store.submit(sweep)
    leases = Leases(store)
    assert [leases.claim(str(i)) for i in range(4)] == [keys_of(sweep)[:2], keys_of(sweep)[2:4], keys_of(sweep)[4:], []]


CLAIMER = """
import sys
from sam_dash.runs.leases import Leases
from sam_dash.runs.store import Store
leases = Leases(Store(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
count = 0
while keys := leases.claim(f"{sys.argv[2]}.{count}", idle=3):
    count += 1
    print(*keys, sep="\\n", flush=True)
"""


def test_two_processes_that_claim_at_once_get_every_run_exactly_once(store):
    sweep = SweepSpec(variants=("sam",), m=(64, 32, 16, 8, 4), knobs={"rho": (0.1, 0.2, 0.3)}, seeds=(0, 1, 2))
    store.submit(sweep)
    command = [sys.executable, "-c", CLAIMER, store.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": Path(__file__).parents[2]}
    claimers = [subprocess.Popen([*command, name], **pipes) for name in "ab"]
    for claimer in claimers:
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    claimed = [key for claimer in claimers for key in claimer.communicate(timeout=60)[0].split()]
    assert sorted(claimed) == sorted(keys_of(sweep))


def test_a_worker_that_has_been_replaced_is_fenced_off(store):
    leases, old, keys = begun(store)
    leases.flush(old, keys, report([[1], [2]]))
    new, specs = leases.begin(keys, "engine.0")
    assert [spec.key for spec in specs] == keys
    assert store.series(keys) == {}, "the new attempt starts from nothing"
    assert leases.flush(old, keys, report([[1], [2]])) == {0, 1}, "told to stop"
    assert not leases.finish(old, keys[0], Outcome("done"), 1.0, {})
    assert leases.fail(old, keys, "too late") == []
    assert store.series(keys) == {}
    assert leases.finish(new, keys[0], Outcome("done"), 1.0, {})
    row = store.run(keys[0])
    assert (row["status"], row["attempt"]) == ("done", 2)


def test_runs_under_another_claim_cannot_be_begun(store):
    store.submit(TINY)
    leases = Leases(store)
    keys = leases.claim("mine.0")
    assert leases.begin(keys, "theirs.0")[1] == []
    assert [spec.key for spec in leases.begin(keys, "mine.0")[1]] == keys


def test_stopping_ends_what_waits_at_once_and_asks_what_runs(store):
    leases, owner, keys = begun(store)
    waiting = leases.claim("engine.1")
    store.stop(TINY.key)
    assert leases.flush(owner, keys, report([[1], [2]])) == {0, 1}
    assert set(store.statuses(keys).values()) == {"running"}, "until the worker says so"
    assert set(store.statuses(waiting).values()) == {"stopped"}
    assert leases.begin(waiting, "engine.1")[1] == []
    assert store.sweeps()[0]["counts"] == {"running": 2, "stopped": 4}
    leases.finish(owner, keys[0], Outcome("stopped", "stopped at step 3"), 1.0, {})
    assert store.requeue([*keys, *waiting]) != []
    assert store.statuses(keys) == {keys[0]: "queued", keys[1]: "running"}


def test_one_run_of_a_stack_stops_with_the_next_report_and_the_others_go_on(store):
    leases, owner, (first, second) = begun(store)
    store.stop(keys=[first])
    assert leases.flush(owner, [first, second], report([[1], [2]])) == {0}
    assert store.statuses([first, second]) == {first: "stopped", second: "running"}
    assert store.run(first)["error"] == "stopped at step 3"
    assert leases.flush(owner, [first, second], report([[3], [4]], first=1, step=9)) == {0}
    assert store.run(first)["step"] == 3, "nothing is added to it"
    assert {key: len(x["g_norm"]) for key, x in store.series([first, second]).items()} == {first: 1, second: 2}
    assert store.requeue([first]) == [first]
    assert not leases.finish(owner, first, Outcome("stopped"), 1.0, {})


def test_a_closed_engine_returns_what_waits_and_interrupts_what_runs(store):
    leases, _, keys = begun(store)
    waiting = leases.claim("engine.1")
    leases.release(["engine.0", "engine.1"])
    assert set(store.statuses(keys).values()) == {"interrupted"}
    assert set(store.statuses(waiting).values()) == {"queued"}


def test_a_run_is_interrupted_only_if_its_heartbeat_stands_still(store):
    leases, owner, keys = begun(store)
    beats = leases.heartbeats(["other.0"])
    assert {key for key, _ in beats} == set(keys)
    assert leases.heartbeats(["engine.0"]) == {}
    leases.flush(owner, keys[:1], report([[1]]))
    results = {key: leases.interrupt(key, beat) for (key, _), beat in beats.items()}
    assert results == {keys[0]: False, keys[1]: True}
    assert leases.flush(owner, keys, report([[2], [2]], first=1)) == {1}


def test_deleting_spares_what_runs_and_takes_empty_sweeps_along(store):
    leases, owner, keys = begun(store)
    gone = store.delete(keys_of(TINY))
    assert sorted([*gone, *keys]) == sorted(keys_of(TINY))
    leases.flush(owner, keys, report([[1], [2]], measurements=[[HALF], []]))
    leases.finish(owner, keys[0], Outcome("done"), 1.0, {})
    leases.finish(owner, keys[1], Outcome("done"), 1.0, {})
    store.delete(keys)
    assert store.runs() == store.sweeps() == store.measurements() == []
    assert store.run(keys[0]) is None
    assert store.sweep(TINY.key) is None


def test_final_measurements_are_those_of_the_last_step(store):
    leases, owner, keys = begun(store)
    rows = [Measurement(s / 100, 0.0, "how", 3, step=s, epoch=s / 15, quantity="test_acc") for s in (0, 15, 30)]
    leases.flush(owner, keys, report([[1], [2]], measurements=[rows, rows[:2]]))
    found = store.measurements(TINY.key, final=True)
    assert {(row["run"], row["step"]) for row in found} == {(keys[0], 30), (keys[1], 15)}


# the worker, with a training function of our own


def test_a_worker_stores_what_training_reports_and_how_it_ends(store):
    store.submit(TINY)
    claim = "engine.0"
    keys = Leases(store).claim(claim)

    def train(specs, listener):
        assert [spec.key for spec in specs] == keys
        assert (
            listener(
                report(
                    [[1], [2]],
                    measurements=[[replace(HALF, step=3, epoch=0.2)], []],
                )
            )
            == set()
        )
        return [Outcome("done", weights=np.ones(3)), Outcome("diverged", "diverged at step 3")]

    run_group(store.url, keys, claim, train)
    first, second = (store.run(key) for key in keys)
    assert (first["status"], second["status"], second["error"]) == ("done", "diverged", "diverged at step 3")
    assert first["seconds"] == second["seconds"] > 0
    assert first["environment"]["packages"]["torch"]
    assert store.series(keys)[keys[1]]["g_norm"].tolist() == [2]
    assert 0 < store.speed().low < store.speed().high


def test_runs_that_were_made_otherwise_than_most_are_counted_and_said(store):
    sweep = SweepSpec(variants=("sgd",), seeds=(0, 1, 2), training=Training(epochs=1))
    leases, owner, keys = begun(store, sweep)
    now = environment("cpu", 1)
    for key, made in zip(keys, (now, {**now, "python": "3.99"}, {"threads": 2, "device": "cpu"}), strict=True):
        leases.finish(owner, key, Outcome("done"), 1.0, made)
    few, most = sorted(store.made(sweep.key).items(), key=lambda item: item[1])
    assert most == (kind(now), 2)
    assert few == ("torch ? on cpu, 2 threads of an earlier version", 1)
    study = from_store(store, sweep.key)
    said = captions.excluded(study)
    assert said.startswith("3 runs in this study, all finished. Made otherwise than the rest: 1 with torch ? on cpu, 2")
    assert captions.mixed(replace(study, made=dict([most]))) == ""
    assert kind({"imported": "a.zip"}) == "imported"


def test_the_machines_factor_is_that_of_the_runs_that_take_the_time(store):
    """Many short runs took half of what was predicted, one long run twice."""
    store.submit(replace(TINY, seeds=tuple(range(10))))
    with store.write() as c:
        for i, row in enumerate(store.runs()):
            predicted, seconds = (1000.0, 2000.0) if i == 3 else (1.0, 0.5)
            done = {"status": "done", "predicted": predicted, "seconds": seconds, "environment": "{}", "ended": 1.0}
            c.execute(tables.runs.update().where(tables.runs.c.key == row["key"]).values(**done))
    found = store.speed()
    wider = 1 + len({row["group"] for row in store.runs()}) ** -0.5
    assert (found.low, found.high) == (2 / wider, 2 * wider)
    assert found.start == cost.UNKNOWN.start
    store.started(10.0)
    assert store.speed().start == (7, 20)


def test_an_exception_in_training_fails_the_runs_with_one_line_and_a_log(store):
    store.submit(TINY)
    keys = Leases(store).claim("engine.0")

    def train(specs, listener):
        raise MemoryError("no room\nfor more")

    run_group(store.url, keys, "engine.0", train)
    row = store.run(keys[0])
    assert (row["status"], row["error"]) == ("failed", "MemoryError: no room")
    assert "Traceback" in row["log"]


# opening


def test_a_foreign_a_broken_and_a_newer_file_are_refused_and_left_as_they_are(tmp_path):
    foreign, broken, newer = (tmp_path / name for name in ("foreign.db", "broken.db", "newer.db"))
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table accounts (id integer)")
    connection.close()
    broken.write_bytes(b"this is not a database " * 100)
    store = Store(newer)
    with store.write() as c:
        c.execute(update(tables.meta).values(value="999"))
    store.close()
    for path, words in ((foreign, "not one of sam-dash"), (broken, "not a database"), (newer, "version 999")):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=words) as error:
            Store(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        assert path.read_bytes() == before


def test_an_unwritable_place_and_a_malformed_url_are_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for url in (tmp_path / "file" / "store.db", tmp_path, "nonsense://x", "://"):
        with pytest.raises(StoreError, match="--store") as error:
            Store(url)
        assert "\n" not in str(error.value)


def test_the_store_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("SAM_DASH_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Store().close()
    assert (tmp_path / "data" / "sam-dash" / "store.db").is_file()
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "other.db"))
    store = Store()
    assert store.url == f"sqlite:///{tmp_path / 'other.db'}"
    store.close()


def test_neither_torch_nor_dask_is_imported_by_what_the_pages_use():
    code = (
        "import json, sys; import sam_dash.cli, sam_dash.headless, sam_dash.runs.leases, sam_dash.runs.launch; "
        "print(json.dumps(sorted({'torch', 'dask', 'distributed', 'streamlit'} & set(sys.modules))))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert json.loads(out.stdout) == []


def test_listing_two_thousand_runs_takes_well_under_a_second(store):
    sweep = SweepSpec(variants=("sam",), m=(64, 32, 16, 8), seeds=tuple(range(500)), training=Training(epochs=1))
    store.submit(sweep)
    start = time.perf_counter()
    rows = store.runs(sweep.key)
    counts = store.sweeps()[0]["counts"]
    assert time.perf_counter() - start < 5, "tens of milliseconds on a quiet machine"
    assert len(rows) == counts["queued"] == 2000
    assert math.isfinite(sum(row["predicted"] for row in rows))


def test_a_full_disk_is_one_line_and_loses_nothing(store):
    first = SweepSpec(variants=("sgd",), seeds=(0,))
    store.submit(first)
    with store.read() as c:
        pages = c.exec_driver_sql("PRAGMA page_count").scalar()
        c.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OperationalError, match="database or disk is full") as failed:
        store.submit(SweepSpec(variants=("sgd",), seeds=tuple(range(500))))
    assert one_line(failed.value) == "OperationalError: (sqlite3.OperationalError) database or disk is full"
    assert [row["id"] for row in store.sweeps()] == [first.key]
    assert len(store.runs()) == 1


def test_the_engine_outlives_a_store_that_fails(capsys):
    from sam_dash.runs import engine

    def full():
        raise OperationalError("insert", {}, Exception("database or disk is full"))

    survive = engine.Survivor()
    survive(full)
    assert capsys.readouterr().err.startswith("engine: the store failed: OperationalError")
    survive(full)
    assert capsys.readouterr().err == "", "once"
    survive(lambda: None)
    assert capsys.readouterr().err == "engine: the store answers again\n"
    survive(lambda: None)
    assert capsys.readouterr().err == ""
    survive(full)
    assert "the store failed" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        survive(lambda: 1 / 0)
