"""How recorded runs enter a store: opened, added to, closed. Torch-free.

A run that its `Recorder` no longer adds to is interrupted by whatever engine looks after the store (its heartbeat
stands still); one that was held up only, by a long lock say, takes itself back with its next report.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, insert, select, update

from sam_dash.problems.problem import SpecError
from sam_dash.runs.recording import RecordedRun, RecordedStudy, sweep_from
from sam_dash.runs.report import Measurement
from sam_dash.runs.store import Store
from sam_dash.runs.tables import insert_missing, measurements, members, now, runs, series, sweeps

LIVE = ("running", "interrupted")


class Entry(NamedTuple):
    """What is new of a run: its measurements, and per-step values by quantity, each with the step of its first."""

    step: int
    measurements: Sequence[Measurement] = ()
    series: Mapping[str, tuple[int, np.ndarray]] = {}


def enter(c: Connection, study: RecordedStudy) -> dict[str, dict[str, Any]]:
    """Have the store know a study with these runs, beside those that it knows of it; the runs' rows, by key."""
    at = now()
    about = {"id": study.key, "preset": "", "created": at, "spec": json.dumps(study.to_dict())}
    insert_missing(c, sweeps, [about])
    text = c.scalar(select(sweeps.c.spec).where(sweeps.c.id == study.key).with_for_update())
    whole = sweep_from(json.loads(str(text)))
    if not isinstance(whole, RecordedStudy):  # no hash begins as the keys of recorded ones do
        raise SpecError(f"{study.key} is no study of recorded runs")
    whole = whole.with_run(*study.recorded)
    c.execute(update(sweeps).where(sweeps.c.id == study.key).values(spec=json.dumps(whole.to_dict())))
    place = {run.key: i for i, run in enumerate(whole.recorded)}
    return {
        run.key: {
            "key": run.key, "group": run.group, "spec": json.dumps(run.to_dict()), "predicted": 0.0, "steps": 0,
            "created": at, "position": place[run.key],
        }
        for run in whole.recorded if run.key in {r.key for r in study.recorded}
    }  # fmt: skip


class Ledger:
    """The store as those who record see it; each call is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner = f"recorder.{uuid.uuid4().hex[:12]}"

    def open(self, study: RecordedStudy, run: RecordedRun, steps: int = 0) -> None:
        """Begin a run of a study, of `steps` steps if that is known; the study is made where it is not there yet."""
        with self.store.write() as c:
            held = {"status": "running", "claim": self.owner, "owner": self.owner, "attempt": 1, "phase": "recorded"}
            rows = enter(c, study.with_run(run))
            fresh = rows[run.key] | held | {"steps": steps, "started": now()}
            insert_missing(c, runs, [fresh])
            insert_missing(c, members, [{"sweep": study.key, "run": run.key, "position": fresh["position"]}])

    def write(self, key: str, number: int, entry: Entry) -> bool:
        """Add an entry, the run's `number`-th from 1 on; False where the run has been deleted.

        One that is there already (its commit went through and the answer was lost) is not added again.
        """
        fresh = update(runs).where(runs.c.key == key, runs.c.heartbeat < number).values(
            heartbeat=number, step=entry.step
        )  # fmt: skip
        back = {"status": "running", "error": "", "ended": None, "phase": "recorded"}
        with self.store.write() as c:
            if c.execute(fresh).rowcount == 0:
                return c.scalar(select(runs.c.key).where(runs.c.key == key)) is not None
            c.execute(
                update(runs).where(runs.c.key == key, runs.c.status.in_(LIVE), runs.c.owner.is_(None))
                .values(**back, claim=self.owner, owner=self.owner)
            )  # fmt: skip
            if entry.measurements:
                c.execute(insert(measurements), [m.row(key) for m in entry.measurements])
            chunks = [
                {"run": key, "quantity": q, "first": first, "data": np.asarray(x, "<f4").tobytes()}
                for q, (first, x) in entry.series.items() if len(x)
            ]  # fmt: skip
            if chunks:
                c.execute(insert(series), chunks)
        return True

    def close(
        self, key: str, status: str, error: str, seconds: float, environment: Mapping[str, Any], log: str = ""
    ) -> None:
        """End a run, after its last entry."""
        end = update(runs).where(runs.c.key == key).values(
            status=status, error=error, log=log, seconds=seconds, phase="", ended=now(), claim=None, owner=None,
            environment=json.dumps(dict(environment), sort_keys=True),
        )  # fmt: skip
        with self.store.write() as c:
            c.execute(end)
