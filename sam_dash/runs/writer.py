"""A light thread that carries what is recorded of one run into a store, about twice a second. Torch-free.

The loop that records never waits for it. A store that is locked is waited for, one that cannot be written to (a full
disk) is said once and tried again; meanwhile entries are kept in memory, in order, and none is written twice.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from sam_dash.maths.estimate import Estimate
from sam_dash.runs import checkpoints
from sam_dash.runs.ledger import Entry, Ledger
from sam_dash.runs.recording import RecordedRun, RecordedStudy
from sam_dash.runs.report import Measurement, one_line
from sam_dash.runs.store import Store
from sam_dash.runs.tables import PASSING, StoreError, passing

FLUSH = 0.5  # seconds between two writes
LONGEST = 10.0  # seconds between two tries of a store that refuses
BUSY = 5.0  # seconds that one try waits for another who writes
PATIENCE = 60.0  # seconds that the end of a run waits for the store
NO_MORE = "nothing more is recorded of this run"
KEPT = 2000  # values of a quantity that are kept one by one; after them means over a thousandth of the time so far


@dataclass
class Thinned:
    """The values of one quantity on their way: the first `KEPT` one by one, then means over ever longer windows."""

    kept: int = 0
    since: float = 0.0
    waiting: list[tuple[int, float, float]] = field(default_factory=list)  # step, epoch, value

    def add(self, step: int, epoch: float, value: float) -> None:
        """One more value."""
        self.waiting.append((step, epoch, value))

    def take(self, quantity: str, elapsed: float, last: bool = False) -> list[Measurement]:
        """What is to be written now; at the `last` call the last value as it is."""
        if not self.waiting:
            return []
        if self.kept < KEPT:
            parts = [[one] for one in self.waiting]
        elif last:
            parts = [part for part in (self.waiting[:-1], self.waiting[-1:]) if part]
        elif elapsed - self.since < elapsed / 1000:
            return []
        else:
            parts = [self.waiting]
        self.waiting, self.since = [], elapsed
        self.kept += len(parts)
        out = []
        for part in parts:
            step, epoch, value = part[-1][0], part[-1][1], sum(v for _, _, v in part) / len(part)
            method = "logged" if len(part) == 1 else f"mean of {len(part)} logged"
            out += Measurement.at(step, epoch, {quantity: Estimate(value, math.nan, method, len(part))})
        return out


@dataclass(frozen=True)
class End:
    """How a run ended; its environment, and lines for its log."""

    status: str
    error: str
    seconds: float
    environment: Mapping[str, Any]
    log: str


class Writer:
    """Carries one run into the store at `url`; `study` says what it shares with the others of its study."""

    def __init__(self, url: str | None, study: RecordedStudy, run: RecordedRun, steps: int = 0) -> None:
        self.url, self.study, self.run, self.steps = url, study, run, steps
        self.cpu = 0.0  # seconds of a core that the thread has taken
        self.refused: StoreError | None = None  # a store that will not do, found in the first moments
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._step = 0
        self._thinned: dict[str, Thinned] = {}
        self._found: list[Measurement] = []
        self._series: dict[str, dict[int, float]] = {}
        self._written: dict[str, int] = {}  # the first step that a series still lacks
        self._files: list[tuple[int, Path]] = []
        self._sayings: list[str] = []
        self._once: set[str] = set()
        self._end: End | None = None
        self._leave = False
        self._wake, self._opened, self._done = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="sam-dash recorder", daemon=True)
        self._thread.start()

    def add(self, step: int, epoch: float, values: Mapping[str, float | Estimate]) -> None:
        """Values after `step` steps, by quantity."""
        with self._lock:
            self._step = max(self._step, step)
            for quantity, value in values.items():
                if isinstance(value, Estimate):
                    self._found += Measurement.at(step, epoch, {quantity: value})
                else:
                    self._thinned.setdefault(quantity, Thinned()).add(step, epoch, value)

    def add_step(self, step: int, values: Mapping[str, float]) -> None:
        """Values of the step after `step` steps, of which each quantity has a series."""
        with self._lock:
            self._step = max(self._step, step)
            for quantity, value in values.items():
                self._series.setdefault(quantity, {})[step] = value

    def add_file(self, step: int, path: Path) -> None:
        """A checkpoint of a step."""
        with self._lock:
            self._files.append((step, path))

    def wait_until_open(self, seconds: float) -> None:
        """StoreError if the store is found to be none within so many seconds."""
        self._opened.wait(seconds)
        if self.refused is not None:
            raise self.refused

    def sayings(self) -> list[str]:
        """What there is to be said, each once, by whoever asks first."""
        with self._lock:
            out, self._sayings = self._sayings, []
        return out

    def close(self, end: End, patience: float | None = None) -> bool:
        """Write what is left and end the run; False where the store would not have it in time."""
        patience = PATIENCE if patience is None else patience
        self._end = end
        self._wake.set()
        self._done.wait(patience)
        self._leave = True
        self._wake.set()
        if not self._done.is_set():
            self.say(f"the store could not be written to for {patience:g} s: the end of this run is not in it", "end")
        return self._done.is_set()

    def say(self, text: str, kind: str) -> None:
        """Have something said by the loop's thread, once a kind."""
        with self._lock:
            if kind not in self._once:
                self._once.add(kind)
                self._sayings.append(text)

    def _work(self) -> None:
        wait, number, ledger = FLUSH, 0, None
        entry: Entry | None = None
        end: End | None = None
        while not self._leave:
            begun = time.thread_time()
            try:
                if ledger is None:
                    ledger = Ledger(Store(self.url, BUSY))
                    ledger.open(self.study, self.run, self.steps)
                    begun = time.thread_time()  # what it took to open is not the loop's
                    self._opened.set()
                if entry is None:
                    end = self._end  # before the entry is made, which then has all that came before
                    entry, number = self._entry(last=end is not None), number + 1
                if not self._write(ledger, number, entry):
                    break
                entry = None
                if end is not None:
                    ledger.close(self.run.key, end.status, end.error, end.seconds, end.environment, end.log)
                    break
                wait = 0.0 if self._end is not None else FLUSH
            except StoreError as error:
                if not passing(error):
                    self.refused = None if self._opened.is_set() else error
                    self._opened.set()
                    self.say(f"{error}; {NO_MORE}", "deleted")
                    break
                wait = self._later(error, wait)
            except PASSING as error:
                wait = self._later(error, wait)
            except SQLAlchemyError as error:  # not to be mended by another try
                self.say(f"the store refused an entry of this run ({one_line(error)}): it is left out", "refused")
                entry = None
            finally:
                self.cpu += time.thread_time() - begun
            self._wake.wait(wait)
            self._wake.clear()
        if ledger is not None:
            ledger.store.close()
        if not self._leave:
            self._done.set()

    def _later(self, error: Exception, wait: float) -> float:
        """Say what is wrong, unless it is a lock; how long to wait."""
        text = str(getattr(error, "orig", None) or error).splitlines()[0]
        if "locked" not in text:
            self.say(f"the store cannot be written to ({text}): training goes on, and it is tried again", "failed")
        return min(LONGEST, 2 * max(wait, FLUSH))

    def _write(self, ledger: Ledger, number: int, entry: Entry) -> bool:
        if not ledger.write(self.run.key, number, entry):
            self.say(f"it has been deleted from the store: {NO_MORE}", "deleted")
            return False
        while self._files:
            checkpoints.register(ledger.store, self.run.key, *self._files[0])
            with self._lock:
                self._files.pop(0)
        return True

    def _entry(self, last: bool) -> Entry:
        """All that has come, taken out."""
        with self._lock:
            elapsed = time.monotonic() - self._start
            rows, self._found = self._found, []
            for quantity, values in self._thinned.items():
                rows += values.take(quantity, elapsed, last)
            series = {}
            for quantity, by_step in self._series.items():
                first = self._written.get(quantity, 0)
                steps = [step for step in by_step if step >= first]  # one that comes late has no place any more
                if steps:
                    first, end = min(steps), max(steps) + 1
                    values_ = np.full(end - first, np.nan, np.float32)
                    values_[[step - first for step in steps]] = [by_step[step] for step in steps]
                    series[quantity], self._written[quantity] = (first, values_), end
                by_step.clear()
            return Entry(self._step, sorted(rows, key=lambda m: m.step), series)
