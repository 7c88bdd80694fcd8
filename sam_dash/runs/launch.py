"""Start the engine as a process of its own, and end it. Imports neither torch nor dask."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress

from sam_dash.surroundings import child

POLL = 0.5  # seconds between two looks at an engine that is kept
FIRST, LONGEST = 1.0, 60.0  # seconds before an engine that has ended is started again: the first time, and at most
QUIET = "ignore:resource_tracker"
"""The warning, in four lines, of Python's own helper on the terminal of whoever has killed an engine."""


class Engine:
    """An engine process; it leaves when this process does, however that ends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.line = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self.process.stdout is not None:
            self.line = self.process.stdout.readline().strip()

    def ready(self, timeout: float = 60.0) -> bool:
        """Whether it is at work, waiting for that at most `timeout` seconds."""
        self._reader.join(timeout)
        return self.line.startswith("engine ready") and self.alive

    @property
    def alive(self) -> bool:
        """Whether the process exists."""
        return self.process.poll() is None

    def close(self, timeout: float = 15.0) -> None:
        """Let it finish: its runs are interrupted, its workers end with it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its workers leave when they see it gone
            self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(url: str, workers: int | None = None, scheduler: str | None = None, *options: str) -> Engine:
    """Start an engine on the store at `url`, which may hold a password: its environment is nobody else's to read."""
    command = [sys.executable, "-m", "sam_dash", "engine", *options]
    if workers:
        command += ["--workers", str(workers)]
    if scheduler:
        command += ["--scheduler", scheduler]
    warnings = filter(None, [os.environ.get("PYTHONWARNINGS"), QUIET])
    return Engine(
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=child(SAM_DASH_STORE=url, PYTHONWARNINGS=",".join(warnings)),
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
        )
    )  # fmt: skip


def listen(leave: threading.Event) -> None:
    """In an engine: set `leave` on SIGTERM, and when the parent has closed our standard input; by hand, on Ctrl-C."""
    piped = stat.S_ISFIFO(os.fstat(0).st_mode)
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN if piped else lambda *_: leave.set())
    if piped:

        def watch() -> None:
            while os.read(0, 4096):
                pass
            leave.set()

        threading.Thread(target=watch, daemon=True).start()


class Kept:
    """An engine that is started again whenever it ends, a little later each time, until this is closed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = start(url)
        self.closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _keep(self) -> None:
        wait, since = FIRST, time.monotonic()
        while not self.closed.wait(POLL):
            if self.engine.alive:
                continue
            wait = FIRST if time.monotonic() - since > LONGEST else wait
            if self.closed.wait(wait):
                return
            with suppress(OSError):  # no process may be started now: another try
                self.engine.close()
                self.engine = start(self.url)
            wait, since = min(LONGEST, 2 * wait), time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether it is looked after; the process itself may be about to be started again."""
        return self._keeper.is_alive()

    def close(self) -> None:
        """Let the engine finish, and start no other."""
        self.closed.set()
        self._keeper.join()
        self.engine.close()
