"""A store is looked after by commands: how it stands, whether it is whole, a copy, less room. Others see none of it."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, update

from sam_dash.cli import main
from sam_dash.runs import journal, opening, presence, tables, upkeep
from sam_dash.runs.leases import Leases
from sam_dash.runs.presence import Presence
from sam_dash.runs.report import Measurement, Outcome, Report
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError
from sam_dash.surroundings import ROOT, cache_dir, data_dir, private

OLD = sorted((Path(__file__).parents[1] / "data").glob("schema-*.sql"))
SWEEP = SweepSpec(
    variants=("sgd", "sam"), m=(64, 8), seeds=(0, 1), problem=Problem(network="mlp:4"), training=Training(epochs=2),
    measures=Measures(what=()),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SAM_DASH_STORE", raising=False)


def old(path, which):
    with sqlite3.connect(path) as c:
        c.executescript(which.read_text())
    c.close()


def begun(store, steps=30, saved=()):
    store.submit(SWEEP)
    leases = Leases(store)
    keys = leases.claim("engine.0")
    owner, _ = leases.begin(keys, "engine.0")
    half = [Measurement(0.5, 0.0, "exact", 3, step=steps, epoch=2.0, quantity="test_acc")]
    series = {"g_norm": np.zeros((len(keys), steps), np.float32)}
    leases.flush(owner, keys, Report(steps, 30, "train", 0, series, [half] * len(keys), saved))
    return leases, owner, keys


# stores of before


@pytest.mark.parametrize("which", OLD, ids=lambda path: path.stem)
def test_a_store_of_every_earlier_schema_is_copied_upgraded_and_whole(which, tmp_path) -> None:
    """Written by the sam-dash of its time: two runs that ended, and four in the queue, which train on."""
    version = which.stem.partition("-")[2]
    assert version in tables.OLDER
    path = tmp_path / "store.db"
    old(path, which)
    store = Store(path)
    keys = [row["key"] for row in store.runs() if row["status"] in ("done", "diverged")]
    assert len(keys) == 2
    assert store.sweeps()[0]["counts"] == {"done": 1, "diverged": 1, "queued": 4}
    assert store.series(keys)[keys[1]]["g_norm"].tolist() == list(range(30))
    assert [row["value"] for row in store.measurements(keys=keys[:1])] == [0.15, 0.3]
    assert store.weights(keys[0]).tolist() == [0, 1, 2, 3, 4]
    assert upkeep.check(store) == []
    assert upkeep.status(store)["schema"] == tables.VERSION
    leases = Leases(store)
    owner, _ = leases.begin(taken := leases.claim("engine.0"), "engine.0")
    saved = [b"here"] * len(taken)
    leases.flush(owner, taken, Report(2, 30, "train", 0, {"g_norm": np.zeros((len(taken), 2))}, saved=saved))
    assert leases.saved(taken) == saved
    store.close()
    copy = tmp_path / f"store.schema-{version}.db"
    with sqlite3.connect(copy) as c:
        assert c.execute("select value from meta where name = 'schema'").fetchone() == (version,)
        assert c.execute("select count(*) from measurements").fetchone() == (4,)
    c.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_there_is_a_store_of_every_earlier_schema() -> None:
    assert tuple(path.stem.partition("-")[2] for path in OLD) == tables.OLDER


def test_where_no_copy_can_be_made_nothing_is_upgraded(tmp_path, monkeypatch) -> None:
    path = tmp_path / "store.db"
    old(path, OLD[-1])
    before = path.read_bytes()

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(opening, "copy", full)
    with pytest.raises(StoreError, match="disk is full"):
        Store(path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    Store(path).close()


# status


def test_the_status_says_what_runs_waits_and_is_there(tmp_path, capsys) -> None:
    store = Store(tmp_path / "store.db")
    begun(store)
    line = ["--store", str(tmp_path / "store.db"), "--json"]
    assert main(["status", *line]) == 0, "an engine that is not of this machine may be at work"
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] is None
    assert found["engines"] == [{"name": "engine", "pid": None, "workers": None, "running": 2, "alive": None}]
    assert found["runs"] == {"running": 2, "queued": 4}
    assert found["queue"]["runs"] == 4
    assert 0 <= found["queue"]["oldest_seconds"] < 60
    assert found["disk"]["bytes"] > 4096
    assert found["disk"]["free"] > 0
    here = Presence("engine", store.db.url.render_as_string())
    assert main(["status", *line]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] is True
    known = {"name": "engine", "pid": os.getpid(), "running": 2, "alive": True}
    assert found["engines"] == [known | {"workers": 0}]
    for workers in (12, 3):
        here.tell(workers)
        assert upkeep.status(store)["engines"] == [known | {"workers": workers}]
    here.file.close()  # as when it is killed: the file stays
    assert main(["status", *line]) == 1
    assert json.loads(capsys.readouterr().out)["engine"] is False
    other = Presence("elsewhere", "sqlite:////another.db")
    assert main(["status", *line[:2]]) == 1
    said = capsys.readouterr().out
    assert "engine engine: has ended, 2 running" in said
    assert "elsewhere" not in said
    other.close()
    store.close()


def test_an_idle_store_needs_no_engine(tmp_path, capsys) -> None:
    assert main(["status", "--store", str(tmp_path / "new.db")]) == 0
    assert "engine: none is there" in capsys.readouterr().out
    assert main(["status", "--json", "--store", str(tmp_path / "new.db")]) == 0
    assert json.loads(capsys.readouterr().out)["queue"] == {"runs": 0, "oldest_seconds": None}


def test_every_field_of_the_status_is_in_the_docs(tmp_path) -> None:
    store = Store(tmp_path / "store.db")
    begun(store)
    text = (ROOT / "docs" / "commands.md").read_text()
    found = upkeep.status(store)
    names = {*found, *found["engines"][0], *found["queue"], *found["disk"]}
    assert [name for name in names if f"`{name}`" not in text] == []
    store.close()


def test_a_password_is_in_no_status_and_on_no_engines_command_line(tmp_path, monkeypatch) -> None:
    from sam_dash.runs import launch

    started = []
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **options: started.append((command, options)))
    monkeypatch.setattr(launch, "Engine", lambda process: process)
    launch.start("postgresql+psycopg://me:secret@host/db")
    ((command, options),) = started
    assert "secret" not in " ".join(command)
    assert options["env"]["SAM_DASH_STORE"].endswith("me:secret@host/db")
    own = Presence("named", tables.locate("postgresql+psycopg://me:secret@host/db").render_as_string())
    assert "secret" not in own.path.read_text()
    assert presence.here()[0].store == "postgresql+psycopg://me:***@host/db"
    own.close()


# check


def test_a_whole_store_is_said_to_be_and_each_thing_that_is_wrong_is_named(tmp_path, capsys) -> None:
    path = tmp_path / "store.db"
    store = Store(path)
    leases, owner, (done, going) = begun(store)
    leases.finish(owner, done, Outcome("done"), 1.0, {})
    assert main(["check", "--store", str(path)]) == 0
    assert "all is well" in capsys.readouterr().err
    with store.write() as c:
        row = dict(run=done, value=0.5, stderr=0.0, method="exact", budget=3, converged=True, step=30, epoch=2.0)
        c.execute(insert(tables.measurements).values(**row, quantity="test_acc"))
        c.execute(insert(tables.measurements).values(**row | {"run": "f" * 12}, quantity="test_acc"))
        c.execute(insert(tables.series).values(run=going, quantity="g_norm", first=32, data=b"1234"))
        c.execute(insert(tables.resume).values(run=going, step=3, file="resume-3.pt"))
    assert main(["check", "--json", "--store", str(path)]) == 1
    assert json.loads(capsys.readouterr().out) == [
        "1 rows of measurements are of no run",
        f"run {done}: 1 measurements are there more than once",
        f"run {going}: a curve has a gap, or steps twice",
        f"run {going}: the file that it goes on from is gone; it will start anew",
    ]
    with store.write() as c:
        c.execute(update(tables.runs).where(tables.runs.c.key == done).values(steps=45))
        spec = {**store.run(done)["spec"], "seed": 7}
        c.execute(update(tables.runs).where(tables.runs.c.key == done).values(spec=json.dumps(spec)))
    found = "\n".join(upkeep.check(store))
    assert f"run {done}: done, but not with the curves of all its 45 steps" in found
    assert f"run {done}: its specification is that of " in found
    store.close()


def test_a_torn_file_is_found_out(tmp_path, capsys) -> None:
    path = tmp_path / "store.db"
    store = Store(path)
    begun(store)
    store.close()
    content = bytearray(path.read_bytes())
    size = 4096
    page = next(i for i in range(1, len(content) // size) if content[i * size] == 0x0D)  # a leaf of a table
    content[page * size + 3 : page * size + 40] = os.urandom(37)
    path.write_bytes(content)
    assert main(["check", "--store", str(path)]) != 0
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert said.out + said.err


# backup and vacuum


def test_a_copy_is_whole_while_others_write(tmp_path, capsys) -> None:
    path, to = tmp_path / "store.db", tmp_path / "copy.db"
    store = Store(path)
    leases, owner, keys = begun(store, saved=(b"x" * 100, b"y"))
    ended = threading.Event()

    def write():
        first = 30
        while not ended.is_set():
            leases.flush(owner, keys, Report(first + 1, 30, "train", first, {"g_norm": np.zeros((2, 1))}))
            first += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert main(["backup", str(to), "--store", str(path)]) == 0
    finally:
        ended.set()
        thread.join()
    assert capsys.readouterr().out.split() == [str(to)]
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    copy = Store(to)
    assert upkeep.check(copy) == []
    assert [row["key"] for row in copy.runs()] == [row["key"] for row in store.runs()]
    copy.close()
    assert main(["backup", str(to), "--store", str(path)]) == 2
    assert "exists; choose another name" in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "none" / "copy.db"), "--store", str(path)]) == 2
    assert "is no folder" in capsys.readouterr().err
    store.close()


def test_files_beside_a_store_are_copied_too_and_found_from_the_copy(tmp_path, monkeypatch) -> None:
    from sam_dash.runs import resume

    monkeypatch.setattr(resume, "MOST", 10)
    store = Store(tmp_path / "store.db")
    _, _, keys = begun(store, saved=(b"x" * 100, b"y"))
    upkeep.backup(store, tmp_path / "copy.db")
    store.delete(keys)
    store.close()
    copy = Store(tmp_path / "copy.db")
    assert Leases(copy).saved(keys) == [b"x" * 100, b"y"]
    copy.close()


def test_a_vacuum_gives_room_back_and_removes_files_that_no_run_goes_on_from(tmp_path, monkeypatch, capsys) -> None:
    from sam_dash.runs import resume

    monkeypatch.setattr(resume, "MOST", 10)
    path = tmp_path / "store.db"
    store = Store(path)
    leases, owner, keys = begun(store, steps=20_000, saved=(b"x" * 100, b"y"))
    for key in keys:
        leases.finish(owner, key, Outcome("stopped"), 1.0, {})
    orphan = tables.checkpoint_folder(store.db.url) / "gone" / "resume-4.pt"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"old")
    store.delete(keys[1:])

    def size():
        return sum(each.stat().st_size for each in tmp_path.glob("store.db*"))

    before = size()
    assert main(["vacuum", "--store", str(path)]) == 0
    assert " before, " in capsys.readouterr().out
    assert size() < before - 50_000
    assert not orphan.exists()
    assert leases.saved(keys[:1]) == [b"x" * 100]
    assert upkeep.check(store) == []
    store.close()


# private, and the log


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_what_is_the_users_own_is_closed_to_others(tmp_path) -> None:
    data_dir().mkdir(parents=True)
    data_dir().chmod(0o755)  # as an earlier version has left it
    Store().close()
    for folder in (data_dir(), private(cache_dir()), private(data_dir() / "new"), private(tmp_path / "far" / "off")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    store = Store()
    begun(store)
    assert {stat.S_IMODE(path.stat().st_mode) for path in data_dir().glob("store.db*")} == {0o600}
    store.close()
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o775)
    shared.chmod(0o775)
    Store(shared / "store.db").close()
    (shared / "store.db").chmod(0o660)
    Store(shared / "store.db").close()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o775, "a folder that is not ours stays as it is"
    assert stat.S_IMODE((shared / "store.db").stat().st_mode) == 0o660


def test_the_log_is_bounded_and_several_engines_write_to_it(monkeypatch) -> None:
    monkeypatch.setattr(journal, "SIZE", 2000)
    first, second = journal.journal("first"), journal.journal("second")
    for i in range(200):
        (first if i % 2 else second).info("line %d of %s", i, "x" * 30)
    files = sorted(journal.place().parent.iterdir())
    assert [path.name for path in files] == ["engine.log", "engine.log.1", "engine.log.2", "engine.log.3"]
    assert all(path.stat().st_size < 2200 for path in files)
    lines = "".join(path.read_text() for path in reversed(files)).splitlines()
    assert [int(line.split("line ")[1].split()[0]) for line in lines] == list(range(200 - len(lines), 200))
    assert "sam_dash.second" in lines[0] or "sam_dash.first" in lines[0]
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    for logger in (first, second):
        for handler in list(logger.handlers):
            handler.close()
            logger.removeHandler(handler)


def test_commands_that_look_after_a_store_import_neither_torch_nor_dask(tmp_path) -> None:
    code = (
        "import sys; from sam_dash.cli import main; main(['status', '--store', sys.argv[1]]); "
        "print(sorted({'torch', 'dask', 'distributed', 'pandas', 'streamlit'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store.db")], capture_output=True, text=True, check=True
    )
    assert out.stdout.splitlines()[-1] == "[]"
