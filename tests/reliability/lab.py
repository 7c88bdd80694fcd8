"""A store, the command that fills it, and what faults did to it: real processes, compared with an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sam_dash.runs.report import ACTIVE
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.upkeep import check
from sam_dash.surroundings import ROOT, child

PATIENCE = 180.0


def sweep(epochs: int) -> SweepSpec:
    """Four runs in two stacks, measured on the way."""
    return SweepSpec(
        variants=("sgd", "sam"), m=(8,), seeds=(0, 1), problem=Problem(network="mlp:8", n_train=200, label_noise=0.2),
        training=Training(epochs=epochs), measures=Measures(what=("trace",), every=max(1, epochs // 4)),
    )  # fmt: skip


@dataclass
class Row:
    """A line of the table: what a fault put at risk and what became of it."""

    fault: str
    at_risk: int
    lost: int
    rows_lost: int
    rows_doubled: int
    saw: str
    commands: int

    @property
    def good(self) -> bool:
        """Whether nothing was lost or doubled, and one command was enough."""
        return not (self.lost or self.rows_lost or self.rows_doubled) and self.commands <= 1


class NotRunError(Exception):
    """This machine cannot make the fault; why."""


@dataclass
class Lab:
    """A folder with a store of its own, and the processes that were started on it."""

    folder: Path
    epochs: int
    url: str = ""
    more: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    kept: dict[str, Counter[Any]] | None = None  # the numbers, of a store that is gone by the end

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.spec = sweep(self.epochs)
        self.keys = [run.key for run in self.spec.runs()]
        (self.folder / "spec.json").write_text(json.dumps(self.spec.to_dict()))
        self.url = self.url or str(self.folder / "store.db")

    @property
    def path(self) -> Path:
        """The store's file."""
        return Path(self.url)

    def start(self, *, workers: int = 2) -> subprocess.Popen[str]:
        """The command, at work."""
        errors = (self.folder / f"stderr-{len(self.started)}").open("w")
        command = [sys.executable, "-m", "sam_dash", "run", str(self.folder / "spec.json"), "--workers", str(workers)]
        process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
            env=child(SAM_DASH_STORE=self.url, XDG_DATA_HOME=str(self.folder / "data"), **self.more),
        )  # fmt: skip
        errors.close()
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> int:
        """Wait for a command; its exit code."""
        return process.wait(PATIENCE)

    def run(self) -> int:
        """The command, from its start to its end."""
        return self.end(self.start())

    def said(self, which: int = -1) -> list[str]:
        """What a command told its user on standard error, but for progress and the table."""
        which = range(len(self.started))[which]
        lines = (self.folder / f"stderr-{which}").read_text().splitlines()
        return [line for line in lines if not line.startswith("[") and line.strip()]

    def last(self, which: int = -1) -> str:
        """The last of it, with what differs from machine to machine left out; "nothing" if there was none."""
        lines = [line for line in self.said(which) if line.startswith(("sam_dash: ", "interrupted", "Traceback"))]
        return (lines or ["nothing"])[-1].replace(str(self.folder), "…")

    def family(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """A command's processes."""
        try:
            return psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def engine(self, process: subprocess.Popen[str]) -> psutil.Process:
        """A command's engine."""
        return self.until(lambda: next((p for p in self.family(process) if "engine" in _line(p)), None))

    def workers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """A command's workers."""
        return [p for p in self.family(process) if "--multiprocessing-fork" in _line(p)]

    def rows(self, query: str, *values: Any) -> list[Any]:
        """What a query finds in the file, past any store of ours; [] where it is not there."""
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error:
            return []

    def counts(self) -> Counter[str]:
        """Runs by status."""
        if "://" in self.url:
            with closing(Store(self.url)) as store:
                return Counter(row["status"] for row in store.runs())
        return Counter(dict(self.rows("select status, count(*) from runs group by status")))

    def training(self) -> bool:
        """Whether a run is on its way."""
        if "://" in self.url:
            with closing(Store(self.url)) as store:
                return any(row["status"] == "running" and row["step"] > 0 for row in store.runs())
        return bool(self.rows("select 1 from runs where status = 'running' and step > 0"))

    def until(self, condition: Callable[[], Any]) -> Any:
        """What a condition gives, once that is true."""
        limit = time.monotonic() + PATIENCE
        while not (found := condition()):
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.folder.name}: {dict(self.counts())}; {self.last()}")
            time.sleep(0.02)
        return found

    def started_training(self) -> subprocess.Popen[str]:
        """A command whose runs are on their way."""
        process = self.start()
        self.until(lambda: self.training() or process.poll() is not None)
        return process

    def numbers(self) -> dict[str, Counter[Any]]:
        """All that the finished runs have stored, but for times: rows, each with how often it is there."""
        with closing(Store(self.url)) as store:
            done = [key for key, status in store.statuses(self.keys).items() if status == "done"]
            found: dict[str, Counter[Any]] = {key: Counter() for key in done}
            for row in store.measurements(keys=done):
                if row["quantity"] != "train_seconds":
                    found[row["run"]][row["step"], row["quantity"], row["value"].hex(), row["stderr"].hex()] += 1
            for run, by in store.series(done).items():
                for quantity, x in by.items():
                    found[run][quantity, x.tobytes()] += 1
            for key in done:
                weights = store.weights(key)
                found[key]["weights", b"" if weights is None else weights.tobytes()] += 1
            wrong = check(store)
        if wrong:
            raise AssertionError(f"check: {wrong}")
        return found

    def row(self, fault: str, commands: int, saw: str, undisturbed: dict[str, Counter[Any]]) -> Row:
        """What became of the runs, compared bit for bit with those of an undisturbed command."""
        found = self.numbers() if self.kept is None else self.kept
        lost = sum(key not in found for key in self.keys)
        missing = sum((undisturbed[k] - found[k]).total() for k in found)
        doubled = sum((found[k] - undisturbed[k]).total() for k in found)
        return Row(fault, len(self.keys), lost, missing, doubled, saw, commands)

    def close(self) -> None:
        """End what is still there."""
        for process in self.started:
            for each in [*self.family(process), process]:
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    each.kill()
            process.wait()


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C."""
    os.kill(process.pid, signal.SIGINT)


def active(counts: Counter[str]) -> bool:
    """Whether some runs have not ended."""
    return any(counts[status] for status in ACTIVE)
