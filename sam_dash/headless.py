"""Run sweeps without a page: submit, start an engine, watch, print the table, export."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sam_dash.results.files.export import runs_frame, summary, write_study
from sam_dash.runs import cost, grammar, launch, limits
from sam_dash.runs.outbox import patiently
from sam_dash.runs.plain import finite
from sam_dash.runs.report import ACTIVE, FINISHED
from sam_dash.runs.spec import SweepSpec
from sam_dash.runs.store import Store

POLL = 0.3
GRACE = 5.0  # seconds that runs asked to stop may take, before the engine is closed on them
WIDTH = 24


def run(
    sweeps: Sequence[SweepSpec], store: Store, workers: int, out: str | None, scheduler: str | None = None, *,
    as_json: bool = False,
) -> int:  # fmt: skip
    """Run what is missing of sweeps and print their tables, or one line of JSON; the exit code (see `sam_dash.cli`).

    The results of one go to `out`, those of several to folders 1, 2, ... in it.
    """
    keys = list(dict.fromkeys(spec.key for sweep in sweeps for spec in sweep.runs()))
    before = store.statuses(keys)
    expected = cost.preview(sweeps, before, workers, store.speed())
    left = [spec for sweep in sweeps for spec in sweep.runs() if before.get(spec.key) not in FINISHED]
    memory = limits.memory(left) if scheduler else limits.check_memory(left)  # of other machines nothing is known
    submitted = queue(store, sweeps)
    for note in dict.fromkeys(text for sweep in sweeps for text in sweep.problem.notes()):
        _say(note)
    seeds = grammar.seeds_text(sorted({seed for sweep in sweeps for seed in sweep.seeds}))
    to_do = expected.total - expected.cached
    _say(f"{expected.total} runs: {expected.cached} from the store, {to_do} to do; seeds {seeds}")
    if expected.total > expected.cached:
        _say(f"about {expected.grad_evals:.3g} mini-batch gradients, {expected.time} with the start of an engine")
        _say(f"about {limits.size(memory)} of memory a worker")
        ours = [key for key in keys if before.get(key) not in ACTIVE]
        work(store, submitted, ours, workers, scheduler)
    studies = []
    for i, sweep_id in enumerate(submitted, 1):
        frame = runs_frame(store, sweep_id)
        written = []
        if not as_json:
            table = summary(frame)
            print(table.to_string(index=False) if len(table) else "no run has finished")
        if out is not None:
            written = write_study(store, sweep_id, Path(out, str(i)) if len(submitted) > 1 else out)
            for path in written:
                _say(f"wrote {path}")
        studies.append({"study": sweep_id, "files": list(map(str, written)), "runs": rows_of(frame)})
    bad = [row for row in _rows(store, submitted) if row["status"] != "done"]
    for row in bad:
        _say(_complaint(row))
    if as_json:
        errors = {row["key"]: row["error"] for row in bad}
        print(json.dumps({"studies": studies, "errors": errors, "exit": 1 if bad else 0}))
    return 1 if bad else 0


def queue(store: Store, sweeps: Sequence[SweepSpec]) -> list[str]:
    """Queue what is missing of sweeps, for whoever SAM_DASH_USER names; their ids. SpecError above that one's hours."""
    person = os.environ.get("SAM_DASH_USER") or None
    limits.check_hours(store, (run for sweep in sweeps for run in sweep.runs()), person)
    return [store.submit(sweep, person).sweep_id for sweep in sweeps]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as JSON has them: no nan, whatever a column is of."""
    return [finite({k: None if pd.isna(v) else v for k, v in row.items()}) for row in frame.to_dict("records")]


def _rows(store: Store, sweep_ids: Sequence[str]) -> list[dict[str, Any]]:
    return list({row["key"]: row for sweep_id in sweep_ids for row in store.runs(sweep_id)}.values())


def work(store: Store, sweep_ids: Sequence[str], ours: list[str], workers: int, scheduler: str | None = None) -> None:
    """Keep an engine until no run of the sweeps is active. On Ctrl-C stop our runs and pass it on."""
    engine = launch.start(store.url, workers, scheduler)
    try:
        with _interrupts() as asked:
            _watch(store, sweep_ids, engine, asked)
    except KeyboardInterrupt:
        store.stop(keys=ours)
        limit = time.monotonic() + GRACE
        while time.monotonic() < limit and "running" in store.statuses(ours).values():
            time.sleep(POLL)
        raise
    finally:
        engine.close()


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """What Ctrl-C sets: an exception is lost if it comes while Python or a library ignores those."""
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(store: Store, sweep_ids: Sequence[str], engine: launch.Engine, asked: threading.Event) -> None:
    bar = _Bar()
    while True:
        rows = patiently(partial(_rows, store, sweep_ids), _say)
        bar.show(rows)
        if not any(row["status"] in ACTIVE for row in rows):
            break
        if not engine.alive:
            raise OSError(
                "the engine has ended; the same command goes on with what it was running and with what is queued"
            )
        if asked.wait(POLL):
            raise KeyboardInterrupt
    bar.close()


class _Bar:
    """Progress on one line of a terminal; on anything else a line every ten seconds."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.start = time.monotonic()
        self.first: float | None = None
        self.last = self.start

    def show(self, rows: list[dict[str, Any]]) -> None:
        """Show how far these runs are."""
        at = time.monotonic()
        if not self.terminal and at - self.last < 10:
            return
        self.last = at
        counts = Counter(row["status"] for row in rows)
        finished = len(rows) - sum(counts[status] for status in ACTIVE)
        partial = sum(row["step"] / max(1, row["steps"]) for row in rows if row["status"] == "running")
        done = (finished + partial) / len(rows)
        self.first = done if self.first is None else self.first
        text = f"{finished}/{len(rows)} runs  {counts['running']} running{self._left(done, at)}"
        full = round(WIDTH * done)
        end = "" if self.terminal else "\n"
        start = "\r\x1b[K" if self.terminal else ""
        print(f"{start}[{'#' * full}{'.' * (WIDTH - full)}] {text}", end=end, file=sys.stderr, flush=True)

    def _left(self, done: float, at: float) -> str:
        new = done - (self.first or 0.0)
        if new < 0.05 or at - self.start < 2 or done >= 1:
            return ""
        return f"  ~{cost.duration((at - self.start) * (1 - done) / new)} left"

    def close(self) -> None:
        """End the line."""
        if self.terminal:
            print(file=sys.stderr)


def _complaint(row: dict[str, Any]) -> str:
    spec = row["spec"]
    m = "" if spec["m"] is None else f" m={spec['m']}"
    return (
        f"run {row['key']} ({spec['variant']}{m} seed={spec['seed']}) {row['status']}: {row['error'] or 'no message'}"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
