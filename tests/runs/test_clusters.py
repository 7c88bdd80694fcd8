"""Clusters that are not ours, as real processes on loopback: none to train, others, lost workers, a lost scheduler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed.comm.core import CommClosedError

import sam_dash
from sam_dash.runs import clusters, crew, journal, launch, upkeep
from sam_dash.runs.crew import Crew, Losses, unfit
from sam_dash.runs.environment import NUMERICS
from sam_dash.runs.leases import Leases
from sam_dash.runs.store import Store
from sam_dash.runs.tables import locate
from sam_dash.surroundings import ROOT, child
from tests.runs.serving import LONG, PATIENCE, SHORT, key_of, running, until

OURS = sam_dash.__version__, NUMERICS


class Cluster:
    """A scheduler, and workers as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        self.file = folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", str(self.file))
        self.address = until(self._address)

    def _address(self) -> str | None:
        with suppress(OSError, ValueError):
            return str(json.loads(self.file.read_text())["address"])
        return None

    def start(self, what: str, *options: str, env: dict[str, str] | None = None, cwd: Path = ROOT) -> subprocess.Popen:
        line = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard", *options]
        out = (self.folder / f"{what}-{len(self.processes)}.log").open("w")
        with out:
            self.processes.append(subprocess.Popen(line, cwd=cwd, stdout=out, stderr=out, env=env or dict(os.environ)))
        return self.processes[-1]

    def worker(self, **options) -> subprocess.Popen:
        return self.start("worker", self.address, "--nthreads", "1", "--no-nanny", **options)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What engines have written to their log."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return lambda: journal.place().read_text() if journal.place().exists() else ""


def engine_of(store: Store) -> dict:
    (found,) = upkeep.status(store)["engines"]
    return found


def test_runs_wait_for_a_worker_that_fits_and_those_that_do_not_are_said(cluster, store, tmp_path, log) -> None:
    engine = launch.start(store.url, None, cluster.address)
    try:
        assert engine.ready(PATIENCE)
        assert engine.line.startswith(f"engine ready {cluster.address}")
        store.submit(SHORT)
        until(lambda: crew.NONE in log())
        assert engine_of(store)["workers"] == 0
        older = tmp_path / "older"
        older.mkdir()
        (older / "sitecustomize.py").write_text("import sam_dash\nsam_dash.__version__ = '0.0.1'\n")
        cluster.worker(env=child(PYTHONPATH=f"{older}{os.pathsep}{ROOT}"))
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        cluster.worker(env=bare, cwd=tmp_path)
        until(lambda: "is left out: it" in log() and crew.LEFT in log())
        assert f"has sam-dash 0.0.1 (numerics {NUMERICS}), the engine {OURS[0]}" in log()
        assert store.statuses([key_of(SHORT)]) == {key_of(SHORT): "queued"}
        cluster.worker()
        until(lambda: store.statuses([key_of(SHORT)])[key_of(SHORT)] == "done")
        until(lambda: engine_of(store)["workers"] == 1)
        assert log().count(crew.NONE) == log().count("the cluster has workers again") == 1
        left = [process.poll() is None for process in cluster.processes]
        assert left == [True, True, False, True], "all but the bare one, which dask has ended"
    finally:
        engine.close()


def test_runs_of_workers_that_leave_or_of_a_scheduler_that_is_lost_are_queued_again(cluster, store, log, capfd) -> None:
    key, first = key_of(LONG), cluster.worker()
    engine = launch.start(store.url, None, cluster.address)
    try:
        store.submit(LONG)
        until(lambda: running(store, key, 1))
        first.kill()
        until(lambda: store.statuses([key])[key] == "queued")
        assert "its workers have left; 1 runs are back in the queue" in log()
        cluster.worker()
        until(lambda: running(store, key, 1))
        cluster.scheduler.kill()
        until(lambda: not engine.alive)
        assert engine.process.returncode == 1
        assert store.statuses([key]) == {key: "queued"}
        assert f"lost the scheduler {cluster.address}: its runs are back in the queue" in log()
    finally:
        engine.close()
    assert {line.partition(":")[0] for line in capfd.readouterr().err.splitlines()} == {"engine"}, "no log of dask's"


def test_a_password_is_in_no_log_of_the_cluster(cluster, tmp_path) -> None:
    """Dask writes what a failed task was given to the worker's log."""
    from distributed import Client

    from sam_dash.runs.worker import run_group

    cluster.worker()
    where = locate("postgresql+none://me:secret@h/db")
    with Client(cluster.address, set_as_default=False) as client:
        future = client.submit(run_group, where, ["a key"], "claim.0", pure=False)
        assert future.exception(PATIENCE) is not None
    until(lambda: any("run_group" in path.read_text() for path in tmp_path.glob("worker-*.log")))
    assert not [path for path in tmp_path.glob("*.log") if "secret" in path.read_text()]


def test_where_no_scheduler_answers_it_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT", 0.5)
    with pytest.raises(OSError, match=r"^no Dask scheduler answers at tcp://127\.0\.0\.1:9 \(.*\); start one: .*$"):
        clusters.connect("tcp://127.0.0.1:9")
    with pytest.raises(OSError, match="no Dask scheduler answers at nonsense://x"):
        clusters.connect("nonsense://x")


def test_a_worker_says_why_it_may_not_train(store, tmp_path) -> None:
    assert unfit(store.db.url, store.is_of, *OURS) == ""
    assert unfit(store.db.url, store.is_of, "0.0.1", NUMERICS).startswith(f"has sam-dash {OURS[0]}")
    assert "numerics 99" in unfit(store.db.url, store.is_of, OURS[0], 99)
    missing = unfit(locate(tmp_path / "none.db"), (1, 2), *OURS)
    assert missing.startswith("cannot use the store: ")
    assert missing.endswith("use PostgreSQL")
    assert not (tmp_path / "none.db").exists()
    assert unfit(store.db.url, (1, 2), *OURS).startswith("has another file at the place of the store")


def test_a_scheduler_that_goes_in_the_midst_of_a_look_is_lost_and_other_errors_are_not_hidden() -> None:
    client = SimpleNamespace(status="running")
    assert clusters.looked(client, lambda: None)

    def broken(error: Exception):
        raise error

    assert not clusters.looked(client, lambda: broken(CommClosedError("reset by peer")))
    with pytest.raises(OSError, match="a full disk"):
        clusters.looked(client, lambda: broken(OSError("a full disk")))
    client.status = "connecting"
    assert not clusters.looked(client, lambda: broken(OSError("not looked")))


class Answer(SimpleNamespace):
    """A future."""

    status = "finished"

    def done(self) -> bool:
        return self.value is not None

    def result(self) -> str:
        return self.value


def test_a_worker_is_asked_once_and_one_that_may_not_train_again_later(monkeypatch) -> None:
    asked, said, answers = [], [], {"a": Answer(value=""), "b": Answer(value="is odd"), "c": Answer(value=None)}
    found = Crew(lambda address: asked.append(address) or answers[address], said.append)
    there = {"a": 2, "b": 3, "c": 5}
    assert [found.look(there) for _ in range(3)] == [2, 2, 2]
    assert sorted(asked) == ["a", "b", "c"]
    assert said == ["worker b is left out: it is odd"]
    monkeypatch.setattr(crew, "AGAIN", 0.0)
    assert found.look(there) == 2
    assert asked.count("b") == 2
    assert len(said) == 1, "the same reason is said once"
    answers["b"] = Answer(value="")
    assert found.look(there) == 5
    assert found.look({"b": 3}) == 3, "those that have left are forgotten"
    assert found.fit == {"b"}


def test_a_run_that_loses_worker_after_worker_is_given_up_unless_it_gets_further() -> None:
    losses = Losses()
    assert [losses.hopeless({"a": 5, "b": step}) for step in (1, 2, 3)] == [[], [], ["a"]]
    assert losses.hopeless({"b": 3}) == []
    assert losses.hopeless({"b": 3}) == ["b"]


def test_what_is_given_back_is_queued_and_what_was_asked_to_stop_is_stopped(store) -> None:
    from tests.runs.test_store import TINY

    leases = Leases(store)
    store.submit(TINY)
    keys = leases.claim("engine.0")
    assert len(keys) > 1
    leases.begin(keys, "engine.0")
    store.stop(keys=keys[:1])
    leases.give_back("another.0", keys)
    assert set(store.statuses(keys).values()) == {"running"}, "of another claim nothing is taken"
    leases.give_back("engine.0", keys)
    found = store.statuses(keys)
    assert [found[key] for key in keys] == ["stopped", *["queued"] * (len(keys) - 1)]
