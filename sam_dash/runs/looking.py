"""Looks computed in processes of their own, one at a time; what a page knows of them while they go on. Torch-free."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from sam_dash.runs.looks import Look
from sam_dash.surroundings import child


class Job:
    """`python -m sam_dash look` on one look: how far it is, and how it ended.

    `what`, `done` of `of`: progress; `error`: why it failed, in words; `ended`: whether there is nothing more to come.
    """

    def __init__(self, look: Look, url: str, turn: threading.Lock) -> None:
        self.look, self.url, self.turn = look, url, turn
        self.what, self.done, self.of, self.error, self.ended = "waiting", 0, 1, "", False
        self.cancelled = False
        self.process: subprocess.Popen[str] | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self.turn:
            if not self.cancelled:
                try:
                    self._listen()
                except OSError as error:
                    self.error = f"the computing process could not be started ({error.strerror})"
        self.ended = True

    def _listen(self) -> None:
        self.what = "starting"
        self.process = process = subprocess.Popen(
            [sys.executable, "-m", "sam_dash", "look"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=child(SAM_DASH_STORE=self.url), start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        with process, process.stdin as asked:
            print(json.dumps(self.look.to_dict()), file=asked, flush=True)
            for line in process.stdout:
                told = json.loads(line)
                self.what, self.done, self.of = (told.get(k, getattr(self, k)) for k in ("what", "done", "of"))
                self.error = told.get("error", self.error)
        if process.returncode and not self.error and not self.cancelled:
            self.error = "the computing process was ended; ask for fewer samples or parts if there was no memory for it"

    def cancel(self) -> None:
        """End it, if it has not; nothing is kept of it."""
        self.cancelled = True
        if self.process is not None:
            self.process.kill()


class Jobs:
    """The looks of this server that were asked for since it started, by key; one is computed at a time."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.jobs: dict[str, Job] = {}

    def start(self, look: Look, url: str) -> Job:
        """The job of a look: that which goes on, else a new one. `url`: of the store that has the runs."""
        job = self.jobs.get(look.key)
        if job is None or job.ended:
            job = self.jobs[look.key] = Job(look, url, self.turn)
        return job

    def get(self, look: Look) -> Job | None:
        """The job of a look, None if none was started."""
        return self.jobs.get(look.key)

    def close(self) -> None:
        """End all."""
        for job in self.jobs.values():
            job.cancel()
