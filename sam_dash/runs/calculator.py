"""The process that answers at once what a page asks, without the queue: the real variants, outside the app."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

from sam_dash.runs.saddles import Escape, Walk, to_dict
from sam_dash.surroundings import child

PATIENCE = 120.0  # seconds that an answer may take


class Calculator:
    """`python -m sam_dash saddles`, kept; it leaves when this process does. One question at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sam_dash", "saddles"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=child(OMP_NUM_THREADS="1"), start_new_session=True,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether the process exists."""
        return self.process.poll() is None

    def ask(self, spec: Walk | Escape) -> dict[str, Any]:
        """The answer; RuntimeError, in words, if there is none."""
        with self.lock:
            timer = threading.Timer(PATIENCE, self.process.kill)
            timer.start()
            try:
                assert self.process.stdin is not None
                assert self.process.stdout is not None
                print(json.dumps(to_dict(spec)), file=self.process.stdin, flush=True)
                line = self.process.stdout.readline()
            except OSError:
                line = ""
            finally:
                timer.cancel()
        if not line:
            raise RuntimeError(f"the computing process ended, or took more than {PATIENCE:.0f} s; ask for less")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise RuntimeError(found["error"])
        return found

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
