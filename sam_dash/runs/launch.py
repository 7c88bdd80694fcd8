"""Start the engine as a process of its own, and end it. Imports neither torch nor dask."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import sam_dash

ROOT = Path(sam_dash.__file__).parents[1]


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
    """Start an engine on the store at `url`."""
    command = [sys.executable, "-m", "sam_dash", "engine", "--store", url, *options]
    if workers:
        command += ["--workers", str(workers)]
    if scheduler:
        command += ["--scheduler", scheduler]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return Engine(
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
        )
    )  # fmt: skip
