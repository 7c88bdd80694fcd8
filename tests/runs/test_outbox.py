"""A store that does not answer for a while costs no report, and no run its training."""

import sqlite3
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from sam_dash.maths.estimate import Estimate
from sam_dash.runs import outbox
from sam_dash.runs.leases import Leases
from sam_dash.runs.outbox import Outbox, StoreLostError, patiently
from sam_dash.runs.report import Measurement, Outcome, Report
from sam_dash.runs.spec import SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError
from sam_dash.runs.worker import run_group

TINY = SweepSpec(variants=("sgd",), seeds=(0, 1), training=Training(epochs=2))
FULL = OperationalError("insert", {}, Exception("database or disk is full"))


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.db", 0.05)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(outbox, "FIRST", 0.01)
    monkeypatch.setattr(outbox, "LONGEST", 0.05)
    monkeypatch.setattr(outbox, "BUSY", 0.05)


def begun(store):
    store.submit(TINY)
    leases = Leases(store)
    keys = leases.claim("engine.0")
    owner, _ = leases.begin(keys, "engine.0")
    return Outbox(leases, owner, keys)


def report(first, measured=False):
    found = Measurement.at(first, first / 15, {"test_acc": Estimate(first / 10, 0.0, "exact", 3)}) if measured else []
    return Report(first + 2, 30, "train", first, {"g_norm": np.full((2, 2), first, np.float32)}, [found, found])


def held(store, seconds):
    """Another writer that has the store for so long."""
    there = threading.Event()

    def hold():
        connection = sqlite3.connect(store.db.url.database, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        there.set()
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    there.wait()
    return thread


def test_reports_to_a_locked_store_are_kept_and_come_in_order(store) -> None:
    box = begun(store)
    other = held(store, 0.4)
    for first in (0, 2, 4):
        assert box.put(report(first, measured=True)) == set()
    assert box.waiting, "the store was locked"
    box.empty()
    other.join()
    key = box.keys[0]
    assert store.series([key])[key]["g_norm"].tolist() == [0, 0, 2, 2, 4, 4]
    assert [row["value"] for row in store.measurements(keys=[key])] == [0.0, 0.2, 0.4]


def test_a_run_trains_on_while_its_store_is_locked_and_ends_as_if_nothing_had_happened(store) -> None:
    store.submit(TINY)
    leases = Leases(store)
    keys = leases.claim("engine.0")
    threads = [held(store, 0.3)]  # as the run begins

    def train(specs, listener):
        threads.append(held(store, 0.3))  # as it trains, and as it ends
        for first in (0, 2):
            listener(report(first, measured=True))
        return [Outcome("done", weights=np.ones(3, np.float32)) for _ in specs]

    run_group(store.url, keys, "engine.0", train)
    for thread in threads:
        thread.join()
    assert set(store.statuses(keys).values()) == {"done"}
    assert store.series(keys[:1])[keys[0]]["g_norm"].tolist() == [0, 0, 2, 2]
    assert store.weights(keys[1]).tolist() == [1, 1, 1]


@pytest.mark.parametrize("measured", [False, True])
def test_what_went_through_though_the_answer_was_lost_is_not_stored_twice(store, monkeypatch, measured) -> None:
    box = begun(store)
    through = Leases.flush
    lost = []

    def flush(leases, *args, **options):
        found = through(leases, *args, **options)
        if not lost:
            lost.append(found)
            raise OperationalError("commit", {}, Exception("server closed the connection"))
        return found

    box.put(report(0, measured))
    monkeypatch.setattr(Leases, "flush", flush)
    box.put(report(2, measured))
    assert len(box.waiting) == 1
    box.empty()
    key = box.keys[0]
    assert store.series([key])[key]["g_norm"].tolist() == [0, 0, 2, 2]
    assert [row["value"] for row in store.measurements(keys=[key])] == ([0.0, 0.2] if measured else [])


def test_other_measurements_of_the_same_step_stay_when_one_is_sent_again(store) -> None:
    box = begun(store)
    first = replace(report(0), measurements=[Measurement.at(s, 0.0, {q: Estimate(1.0, 0.0, "exact", 1)})
                                             for s, q in ((0, "tr_H"), (2, "lam_max"))])  # fmt: skip
    both = [Measurement.at(0, 0.0, {"lam_max": Estimate(2.0, 0.0, "exact", 1)}) +
            Measurement.at(2, 0.0, {"tr_H": Estimate(2.0, 0.0, "exact", 1)})] * 2  # fmt: skip
    box.leases.flush(box.owner, box.keys, first)
    second = replace(report(2), measurements=both)
    for again in (False, True):
        box.leases.flush(box.owner, box.keys, second, again=again)
    found = {(row["step"], row["quantity"]) for row in store.measurements(keys=box.keys[:1])}
    assert found == {(0, "tr_H"), (0, "lam_max"), (2, "tr_H")}
    assert len(store.measurements(keys=box.keys[:1])) == 3


def test_a_store_that_is_not_there_for_long_ends_the_wait_and_the_run_is_left_to_be_resumed(store, monkeypatch) -> None:
    monkeypatch.setattr(outbox, "LIMIT", 0.1)
    store.submit(TINY)
    leases = Leases(store)
    keys = leases.claim("engine.0")

    def full(*_, **__):
        raise FULL

    def train(specs, listener):
        monkeypatch.setattr(Leases, "flush", full)
        listener(report(0))
        return [Outcome("done") for _ in specs]

    with pytest.raises(StoreLostError, match=r"could not be written to for 0\.1 s: .*disk is full"):
        run_group(store.url, keys, "engine.0", train)
    assert set(store.statuses(keys).values()) == {"running"}, "not failed; the engine lets go of it"
    leases.release(["engine.0"], "the store could not be written to")
    assert store.requeue(keys) == keys


def test_what_no_other_try_mends_is_raised_at_once() -> None:
    calls = []

    def wrong(error):
        calls.append(error)
        raise error

    for error in (
        IntegrityError("insert", {}, Exception("UNIQUE")),
        StoreError("a newer version"),
        ZeroDivisionError(),
    ):
        with pytest.raises(type(error)):
            patiently(lambda error=error: wrong(error))
    assert len(calls) == 3
    tries = iter([FULL, StoreError("cannot be opened (database is locked)"), None])

    def later():
        if (error := next(tries)) is not None:
            raise error
        return "there"

    said = []
    assert patiently(later, said.append) == "there"
    assert said == ["the store does not answer (Exception: database or disk is full): waiting for it"]
