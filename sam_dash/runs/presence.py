"""Whether the engine that holds a claim is there: each holds a lock on a file of its own for as long as it lives.

The system lets go of the lock however the process ends, and at once; a heartbeat is known to have stopped only after
seconds. What another machine holds, or a machine before it was started anew, is not known here: there is the heartbeat.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from sam_dash.surroundings import data_dir, private

try:
    import fcntl
except ImportError:  # Windows: nothing is known of others, and their heartbeats tell
    fcntl = None  # type: ignore[assignment]

SIZE = 1024  # bytes of a file, filled up with blanks
OLD = 7 * 24 * 3600.0  # seconds after which the file of a dead engine is removed


def folder() -> Path:
    """Where the engines of this machine have their files, whatever their stores."""
    return data_dir() / "engines"


class Presence:
    """That of the engine of this name, on this store: a locked file, until it is closed or the process ends."""

    def __init__(self, name: str, store: str = "") -> None:
        self.path = folder() / f"{name}.lock"
        self.file: IO[str] | None = None
        if fcntl is None:
            return
        with suppress(OSError):  # a read-only home: the heartbeat remains
            private(self.path.parent)
            self.file = self.path.open("w", encoding="utf-8")
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.store, self.workers = store, -1
            self.tell(0)
            _tidy()

    def tell(self, workers: int) -> None:
        """Say how many tasks its workers run at a time."""
        if self.file is None or workers == self.workers:
            return
        self.workers = workers
        text = json.dumps([*_machine(), os.getpid(), self.store, workers])
        with suppress(OSError):  # a full disk
            os.pwrite(self.file.fileno(), text.ljust(SIZE).encode(), 0)  # at one go: others may be reading

    def close(self) -> None:
        """Leave; the runs must have been let go of."""
        if self.file is not None:
            self.path.unlink(missing_ok=True)
            self.file.close()
            self.file = None


def gone(claim: str) -> bool:
    """Whether the engine of this claim, `NAME.NUMBER`, is known to have ended: of this machine, its lock not held."""
    path = folder() / f"{claim.partition('.')[0]}.lock"
    if fcntl is None:
        return False
    try:
        with path.open(encoding="utf-8") as file:
            if json.loads(file.read() or "null")[:2] != _machine():
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look do not see each other
    except (OSError, ValueError, TypeError):  # no file, or it is held, or torn
        return False
    return True


class Engine(NamedTuple):
    """An engine of this machine that is there: its name, process and store, without a password; the tasks that its
    workers run at a time.
    """

    name: str
    pid: int
    store: str
    workers: int


def here() -> list[Engine]:
    """The engines of this machine and user that are there."""
    found = []
    for path in sorted(folder().glob("*.lock")):
        with suppress(OSError, ValueError, TypeError):
            host, boot, pid, store, *workers = json.loads(path.read_text(encoding="utf-8"))
            if [host, boot] == _machine() and not gone(path.stem):
                found.append(Engine(path.stem, int(pid), str(store), int(workers[0]) if workers else 0))
    return found


def _machine() -> list[str]:
    """This machine since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return [socket.gethostname(), boot.read_text(encoding="ascii").strip() if boot.is_file() else ""]


def _tidy() -> None:
    for path in folder().glob("*.lock"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > OLD and gone(path.stem):
                path.unlink()
