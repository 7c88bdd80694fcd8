"""The store: sweeps, their runs, and what the runs measured, in a database that is also the cache.

This is what pages, the command line and exports use; what the engine and its workers do to a run is in
`sam_dash.runs.leases`. Rows are plain dicts; a null number is nan. Nothing here imports torch or dask.
"""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import URL, Connection, Select, delete, func, insert, or_, select, update

from sam_dash.problems.problem import check
from sam_dash.runs import cost, records
from sam_dash.runs.environment import kind
from sam_dash.runs.opening import connect
from sam_dash.runs.queue import RECORDED, bury, clear, last, queued_rows, requeue
from sam_dash.runs.recording import NOT_AGAIN, RecordedStudy, sweep_from
from sam_dash.runs.records import of
from sam_dash.runs.report import ACTIVE, FINISHED
from sam_dash.runs.spec import SweepSpec
from sam_dash.runs.tables import (
    BUSY,
    StoreGoneError,
    artifacts,
    checkpoint_folder,
    insert_missing,
    locate,
    marks,
    members,
    meta,
    now,
    run_labels,
    runs,
    study_labels,
    sweeps,
)  # fmt: skip

GONE = "was deleted, or replaced, while it was used; what it held is there no more. The same command starts it anew"
HIDDEN = ("log", "environment", "claim", "owner")


class Submitted(NamedTuple):
    """The sweep's id, how many of its runs were put in the queue, and how many were there, finished, already."""

    sweep_id: str
    new: int
    cached: int


class Store:
    """A store at a URL or a path (default: SAM_DASH_STORE, or a file in the user's data directory).

    `busy`: seconds to wait for another who writes. Raises StoreError, one clear line, if it cannot be opened. Safe to
    share between threads.
    """

    def __init__(self, url: str | Path | URL | None = None, busy: float = BUSY, *, create: bool = True) -> None:
        where = locate(url)
        self.url = where.render_as_string(hide_password=False)
        self.file = Path(where.database) if where.get_backend_name() == "sqlite" and where.database else None
        if not create and self.file is not None and not self.file.is_file():
            raise StoreGoneError(f"store {self.file}: its file {GONE}")
        self.db = connect(where, busy)
        self.is_of = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        """Which file the store is in, whatever it is called; None if there is none, or a server's."""
        try:
            found = self.file.stat() if self.file is not None else None
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found else None

    def there(self) -> bool:
        """Whether the file is the one that was opened: what is written to another is seen by nobody."""
        return self._identity() == self.is_of

    def _check(self) -> None:
        if not self.there():
            raise StoreGoneError(f"store {self.file}: its file {GONE}")

    def read(self) -> AbstractContextManager[Connection]:
        """A connection to read with; StoreGoneError where the file was deleted or replaced."""
        self._check()
        return self.db.connect()

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction to write in: committed at the end, rolled back on an exception; see `read`."""
        self._check()
        return self.db.execution_options(write=True).begin()

    def close(self) -> None:
        """Close the connections."""
        self.db.dispose()

    def submit(self, sweep: SweepSpec, person: str | None = None) -> Submitted:
        """Queue the runs that are missing and those that were stopped, interrupted or failed, for that person.

        SpecError for recorded runs, which are not made here.
        """
        check(not isinstance(sweep, RecordedStudy), f"{sweep.problem.title}: {NOT_AGAIN}")
        queued = queued_rows(sweep)
        keys = [row["key"] for row in queued]
        member = [{"sweep": sweep.key, "run": k, "position": i} for i, k in enumerate(keys)]
        about = {"id": sweep.key, "preset": sweep.preset, "created": now(), "spec": json.dumps(sweep.to_dict())}
        whose = {"person": person}
        with self.write() as c:
            bury(c, keys)
            old = _statuses(c, keys)
            insert_missing(c, sweeps, [about | whose])
            at = last(c)
            insert_missing(c, runs, [row | whose | {"created": at} for row in queued if row["key"] not in old])
            insert_missing(c, members, member)
            again = requeue(c, keys, person)
        cached = sum(status in FINISHED for status in old.values())
        return Submitted(sweep.key, len(keys) - len(old) + len(again), cached)

    def sweeps(self) -> list[dict[str, Any]]:
        """Newest first: id, preset, created, person, spec, counts (runs by status); name and tags, as they are kept."""
        by = members.c.sweep, runs.c.status
        counted = select(*by, func.count()).join(runs).group_by(*by)
        with self.read() as c:
            counts: dict[str, dict[str, int]] = defaultdict(dict)
            for sweep, status, n in c.execute(counted):
                counts[sweep][status] = n
            called = select(sweeps, study_labels.c.name, study_labels.c.tags).outerjoin(study_labels)
            rows = c.execute(called.order_by(sweeps.c.created.desc())).mappings().all()
        return [
            {**row, "spec": json.loads(row["spec"]), "counts": counts[row["id"]], "name": row["name"] or ""}
            | {"tags": tuple(filter(None, (row["tags"] or "").split(",")))}
            for row in rows
        ]

    def sweep(self, sweep_id: str) -> SweepSpec | None:
        """The sweep of that id, or the study of recorded runs; None if there is none."""
        with self.read() as c:
            text = c.scalar(select(sweeps.c.spec).where(sweeps.c.id == sweep_id))
        return None if text is None else sweep_from(json.loads(text))

    def called(self, sweep_id: str) -> str:
        """The name that a sweep was given; "" for none."""
        with self.read() as c:
            return c.scalar(select(study_labels.c.name).where(study_labels.c.of == sweep_id)) or ""

    def runs(self, sweep_id: str | None = None) -> list[dict[str, Any]]:
        """All runs, or those of a sweep in its order: every column but the log, and the first sweep's preset."""
        columns = [column for column in runs.c if column.name not in HIDDEN]
        listed = select(*columns).order_by(runs.c.created, runs.c.position)
        presets = select(members.c.run, sweeps.c.preset).join(sweeps).order_by(sweeps.c.created.desc())
        if sweep_id is not None:
            listed = select(*columns).join(members).where(members.c.sweep == sweep_id).order_by(members.c.position)
            presets = presets.where(sweeps.c.id == sweep_id)
        with self.read() as c:
            preset = {run: name for run, name in c.execute(presets)}  # the oldest sweep comes last, and stays
            rows = c.execute(listed).mappings().all()
        return [{**r, "spec": json.loads(r["spec"]), "preset": preset.get(r["key"], "")} for r in rows]

    def run(self, key: str) -> dict[str, Any] | None:
        """One run with its log, error and environment, None if there is none."""
        with self.read() as c:
            row = c.execute(select(runs).where(runs.c.key == key)).mappings().first()
            first = select(sweeps.c.preset).join(members).where(members.c.run == key).order_by(sweeps.c.created)
            preset = c.scalar(first.limit(1)) or ""
        if row is None:
            return None
        environment = json.loads(row["environment"] or "{}")
        return {**row, "spec": json.loads(row["spec"]), "environment": environment, "preset": preset}

    def queue(self) -> list[str]:
        """The keys of the queued runs, next first."""
        with self.read() as c:
            waiting = select(runs.c.key).where(runs.c.status == "queued")
            return list(c.scalars(waiting.order_by(runs.c.created, runs.c.position)))

    def promised(self, person: str | None) -> float:
        """Seconds that a person's runs which wait or run were predicted to take."""
        whose = runs.c.person.is_(None) if person is None else runs.c.person == person
        of = select(func.sum(runs.c.predicted)).where(runs.c.status.in_(ACTIVE), ~RECORDED, whose)
        with self.read() as c:
            return float(c.scalar(of) or 0.0)

    def statuses(self, keys: Sequence[str]) -> dict[str, str]:
        """The status of those of the runs that exist."""
        with self.read() as c:
            return _statuses(c, keys)

    def measurements(
        self,
        sweep_id: str | None = None,
        keys: Sequence[str] | None = None,
        *,
        quantities: Sequence[str] | None = None,
        final: bool = False,
    ) -> list[dict[str, Any]]:
        """Measurements as dicts, `run` and the fields of `Measurement`, by run and step.

        `final`: those of each run's last measured step only.
        """
        with self.read() as c:
            return records.measurements(c, sweep_id, keys, quantities, final)

    def quantities(self, sweep_id: str) -> list[str]:
        """What the runs of a sweep have measured so far."""
        with self.read() as c:
            return records.quantities(c, sweep_id)

    def series(self, keys: Sequence[str], quantities: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
        """Per-step values, {run: {quantity: float32 (t,)}}; entry i is of the step after i steps, nan where a recorder
        left it out.
        """
        with self.read() as c:
            return records.series(c, keys, quantities)

    def weights(self, key: str) -> np.ndarray | None:
        """The final weights (d,), None if there are none."""
        named = (artifacts.c.run == key) & (artifacts.c.name == "weights.npy")
        with self.read() as c:
            data = c.scalar(select(artifacts.c.data).where(named))
        return None if data is None else np.load(io.BytesIO(data), allow_pickle=False)

    def has_weights(self, key: str) -> bool:
        """Whether the final weights are there."""
        named = (artifacts.c.run == key) & (artifacts.c.name == "weights.npy")
        with self.read() as c:
            return c.scalar(select(artifacts.c.run).where(named)) is not None

    def environments(self, sweep_id: str | None = None) -> list[dict[str, Any]]:
        """The different environments that the runs were made in."""
        column = runs.c.environment
        with self.read() as c:
            texts = c.scalars(of(select(column).distinct(), runs.c.key, sweep_id, None).where(column.is_not(None)))
            return [json.loads(text) for text in sorted(texts)]

    def made(self, sweep_id: str) -> dict[str, int]:
        """How many finished runs of a sweep were made how; several ways agree to rounding only (`environment.kind`)."""
        counted: Select[Any] = select(runs.c.environment, func.count()).where(runs.c.status == "done", ~RECORDED)
        counted = of(counted, runs.c.key, sweep_id, None).group_by(runs.c.environment)
        found: Counter[str] = Counter()
        with self.read() as c:
            for text, n in c.execute(counted):
                found[kind(json.loads(text or "{}"))] += n
        return dict(found.most_common())

    def stop(self, sweep_id: str | None = None, keys: Sequence[str] | None = None) -> None:
        """Stop what has not begun at once, and ask what is running to stop; recorded runs are not ours to stop."""
        busy = (runs.c.status == "running") & ~RECORDED
        idle = or_(runs.c.status == "queued", busy & runs.c.owner.is_(None))
        ended = {"status": "stopped", "error": "stopped before it started", "ended": now()}
        with self.write() as c:
            c.execute(of(update(runs).where(idle), runs.c.key, sweep_id, keys).values(ended))
            c.execute(of(update(runs).where(busy), runs.c.key, sweep_id, keys).values(cancel=True))

    def requeue(self, keys: Sequence[str], person: str | None = None) -> list[str]:
        """Have stopped, interrupted and failed runs go on from where they were saved, as that person's if one is named;
        return which.
        """
        with self.write() as c:
            bury(c, keys)
            return requeue(c, keys, person)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Delete runs that are not running, with their data and checkpoints, and sweeps left without runs; return
        which.
        """
        idle = select(runs.c.key).where(runs.c.key.in_(keys), runs.c.status != "running").with_for_update()
        with self.write() as c:
            gone = list(c.scalars(idle))
            clear(c, gone)
            c.execute(delete(marks).where(marks.c.run.in_(gone)))
            c.execute(delete(run_labels).where(run_labels.c.of.in_(gone)))
            c.execute(delete(members).where(members.c.run.in_(gone)))
            c.execute(delete(runs).where(runs.c.key.in_(gone)))
            left = select(members.c.sweep)
            c.execute(delete(study_labels).where(study_labels.c.of.not_in(left)))
            c.execute(delete(sweeps).where(sweeps.c.id.not_in(left)))
        for key in gone:
            shutil.rmtree(checkpoint_folder(self.db.url) / key, ignore_errors=True)
        return gone

    def speed(self) -> cost.Speed:
        """This machine's speed, from the last 200 finished runs that were made here and the last engine's start."""
        recent = select(runs.c.seconds, runs.c.predicted, runs.c.group).where(
            runs.c.status == "done", runs.c.seconds > 0, ~RECORDED, runs.c.environment.not_like('{"imported"%')
        )  # fmt: skip
        with self.read() as c:
            rows = c.execute(recent.order_by(runs.c.ended.desc()).limit(200)).all()
            start = c.scalar(select(meta.c.value).where(meta.c.name == "start"))
        ratios = [(took / predicted, predicted, group) for took, predicted, group in rows]
        return cost.speed(ratios, None if start is None else float(start))

    def started(self, seconds: float) -> None:
        """Note how long an engine took to start, its workers included."""
        with self.write() as c:
            c.execute(delete(meta).where(meta.c.name == "start"))
            c.execute(insert(meta).values(name="start", value=f"{seconds:.2f}"))


def _statuses(c: Connection, keys: Sequence[str]) -> dict[str, str]:
    rows = c.execute(select(runs.c.key, runs.c.status).where(runs.c.key.in_(keys)))
    return {key: status for key, status in rows}
