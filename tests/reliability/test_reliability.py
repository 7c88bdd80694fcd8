"""The faults of docs/reliability.md at a size that fits: real processes, a few of each kind."""

import sqlite3
import subprocess
import sys
import threading

import psutil
import pytest

from sam_dash.runs import outbox
from sam_dash.runs.journal import Survivor
from sam_dash.runs.leases import Leases
from sam_dash.runs.outbox import StoreLostError
from sam_dash.runs.queue import last
from sam_dash.runs.report import Outcome
from sam_dash.runs.spec import SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError, StoreGoneError
from sam_dash.runs.worker import run_group
from tests.reliability import faults
from tests.reliability.__main__ import page
from tests.reliability.lab import Lab, Row

TINY = SweepSpec(variants=("sgd",), seeds=(0, 1), training=Training(epochs=2))


def test_a_command_whose_processes_were_all_killed_is_finished_by_the_same_command(tmp_path) -> None:
    """Bit for bit what an undisturbed one stores, with no row twice; and nothing is left running."""
    torn, calm = Lab(tmp_path / "torn", 150), Lab(tmp_path / "calm", 150)
    try:
        commands, _ = faults.all_killed(torn)
        assert calm.end(calm.start(workers=1)) == 0
        row = torn.row("all killed", commands, "", calm.numbers())
        assert row.good, row
        assert not any(psutil.pid_exists(p.pid) for lab in (torn, calm) for p in lab.started if p.poll() is None)
    finally:
        torn.close()
        calm.close()


def test_several_writers_lose_and_double_nothing(tmp_path) -> None:
    assert faults.writers(str(tmp_path / "store.db"), 4, 20) == (0, 0)


def test_a_row_that_lost_something_or_took_two_commands_is_not_good() -> None:
    assert Row("f", 4, 0, 0, 0, "", 1).good
    for wrong in ((1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 2)):
        assert not Row("f", 4, *wrong[:3], "", wrong[3]).good
    assert "| f | 4 | 0 | 0 | 0 | a/b | 1 |" in page([Row("f", 4, 0, 0, 0, "a|b", 1)], [], 60)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.db", 0.05)
    yield opened
    opened.close()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_store_that_was_deleted_or_replaced_is_said_to_be_and_no_other_is_written_to(store, tmp_path, how) -> None:
    store.submit(TINY)
    leases = Leases(store)
    keys = leases.claim("engine.0")
    path = tmp_path / "store.db"
    for each in tmp_path.glob("store.db*"):
        each.unlink()
    if how == "replaced":
        Store(path).close()
    for action in (store.runs, lambda: store.submit(TINY), lambda: leases.beat(["engine.0"])):
        with pytest.raises(StoreGoneError, match=r"store\.db: its file was deleted, or replaced, while it was used; "):
            action()
    with pytest.raises(StoreGoneError):
        Survivor()(store.runs)
    if how == "deleted":
        with pytest.raises(StoreGoneError):
            run_group(store.url, keys, "engine.0", lambda specs, listener: [Outcome("done")] * 2)
        assert not path.exists(), "a worker makes no new store"
    assert issubclass(StoreGoneError, StoreError)


def test_an_engine_gives_up_on_a_store_that_can_be_read_but_not_written(store, monkeypatch, capsys) -> None:
    """Looks that write nothing do not count: they would say, each time, that the store answers again."""
    from sqlalchemy.exc import OperationalError

    monkeypatch.setattr(outbox, "LIMIT", 0.2)
    survive, looks = Survivor(), 0

    def look():
        nonlocal looks
        looks += 1
        if looks % 3 == 0:
            raise OperationalError("update", {}, Exception("database or disk is full"))
        threading.Event().wait(0.01)
        return False

    def work():
        while True:
            survive(look)

    with pytest.raises(StoreLostError, match=r"could not be written to for 0\.2 s: .*disk is full"):
        work()
    assert len(capsys.readouterr().err.splitlines()) == 1
    survive = Survivor()
    with pytest.raises(ZeroDivisionError):
        survive(lambda: 1 / 0)


def test_what_is_queued_after_the_clock_was_set_back_waits_behind_what_was_queued_before(store, monkeypatch) -> None:
    first, second = TINY, SweepSpec(variants=("sam",), m=(8,), seeds=(0, 1), training=Training(epochs=2))
    store.submit(first)
    monkeypatch.setattr("sam_dash.runs.queue.now", lambda: 1000.0)
    store.submit(second)
    assert store.queue() == [spec.key for sweep in (first, second) for spec in sweep.runs()]
    leases = Leases(store)
    keys = leases.claim("engine.0")
    assert keys == [spec.key for spec in first.runs()]
    leases.begin(keys, "engine.0")
    leases.release(["engine.0"])
    store.requeue(keys)
    assert store.queue() == [spec.key for sweep in (second, first) for spec in sweep.runs()]
    with store.read() as c:
        assert last(c) > 1000.0


def test_a_store_cut_in_half_is_refused_in_one_line_and_left_as_it_is(store, tmp_path) -> None:
    for seed in range(40):
        store.submit(SweepSpec(variants=("sgd",), seeds=(seed,), training=Training(epochs=2)))
    path = tmp_path / "half.db"
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    content = (tmp_path / "store.db").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    before = path.read_bytes()
    found = subprocess.run(
        [sys.executable, "-m", "sam_dash", "status", "--store", str(path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "Traceback" not in found.stderr
    assert path.read_bytes() == before
