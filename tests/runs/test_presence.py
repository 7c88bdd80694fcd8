"""A run whose engine has ended is free at once; one whose engine is there, or elsewhere, is left to its heartbeat."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sam_dash.runs import presence
from sam_dash.runs.leases import Leases
from sam_dash.runs.presence import Presence, gone
from sam_dash.runs.spec import SweepSpec, Training
from sam_dash.runs.store import Store

TINY = SweepSpec(variants=("sgd",), seeds=(0, 1), training=Training(epochs=2))
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


def begun(store, name):
    store.submit(TINY)
    leases = Leases(store)
    keys = leases.claim(f"{name}.0")
    leases.begin(keys, f"{name}.0")
    return keys


def statuses(store):
    return {row["status"] for row in store.runs()}


ENGINE = """
import sys
from sam_dash.runs.presence import Presence
own = Presence(sys.argv[1])
print("there", flush=True)
sys.stdin.read()
"""


def other_process(name):
    """A process that is the engine of this name."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "there\n"
    return process


def kill(process):
    process.kill()
    process.communicate()


def test_the_same_command_again_starts_what_a_killed_engine_held(store) -> None:
    engine = other_process("dead")
    keys = begun(store, "dead")
    assert not gone("dead.0")
    assert store.submit(TINY).new == 0, "its engine is there"
    engine.send_signal(signal.SIGSTOP)
    assert store.submit(TINY).new == 0, "stopped is not ended"
    kill(engine)
    assert gone("dead.0")
    assert store.submit(TINY).new == len(keys)
    assert statuses(store) == {"queued"}


def test_resuming_a_run_of_a_killed_engine_starts_it_again(store) -> None:
    engine = other_process("dead")
    keys = begun(store, "dead")
    kill(engine)
    assert store.requeue(keys[:1]) == keys[:1]
    assert statuses(store) == {"queued", "running"}


def test_an_engine_that_leaves_takes_its_file_with_it_and_nothing_is_known_of_it() -> None:
    own = Presence("brief")
    assert own.path.is_file()
    own.close()
    own.close()
    assert not own.path.exists()
    assert not gone("brief.0")
    assert not gone("never.7")


def test_of_another_machine_or_before_a_restart_nothing_is_known(monkeypatch) -> None:
    path = presence.folder() / "far.lock"
    path.parent.mkdir(parents=True)
    for machine in (["elsewhere", presence._machine()[1]], [presence._machine()[0], "another boot"], None, "nonsense"):
        path.write_text(json.dumps(machine))
        assert not gone("far.0")
    path.write_text("{torn")
    assert not gone("far.0")
    path.write_text(json.dumps(presence._machine()))
    assert gone("far.0")
    monkeypatch.setattr(presence, "fcntl", None)
    assert not gone("far.0")
    assert Presence("near").file is None


def test_files_of_engines_long_dead_are_removed_and_no_others() -> None:
    folder = presence.folder()
    folder.mkdir(parents=True)
    for name in ("old", "new"):
        (folder / f"{name}.lock").write_text(json.dumps(presence._machine()))
    old = (folder / "old.lock").stat().st_mtime - presence.OLD - 60
    os.utime(folder / "old.lock", (old, old))
    held = Presence("held")
    os.utime(held.path, (old, old))
    last = Presence("last")
    assert {path.stem for path in folder.glob("*.lock")} == {"new", "held", "last"}
    held.close()
    last.close()
