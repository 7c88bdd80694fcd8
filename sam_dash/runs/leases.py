"""What an engine and its workers do to runs: every transition is one compare-and-swap UPDATE.

An engine *claims* queued runs under a token; each attempt at them *begins* under a new owner token. A worker whose
token is no longer the run's owner is fenced off: what it writes is refused and it is told to stop.

    queued -> running (claimed) -> running (begun, owner) -> done | diverged | stopped | failed | interrupted
"""

from __future__ import annotations

import io
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, String, case, cast, delete, func, insert, literal, or_, select, tuple_, update

from sam_dash.problems.card import FILE
from sam_dash.problems.listing import places
from sam_dash.runs import resume
from sam_dash.runs.cost import largest_stack
from sam_dash.runs.queue import clear, let_go, requeue, turn
from sam_dash.runs.recording import is_recorded
from sam_dash.runs.report import FINISHED, Outcome, Report
from sam_dash.runs.spec import RunSpec, SpecError, from_dict
from sam_dash.runs.store import Store
from sam_dash.runs.tables import artifacts, measurements, now, runs, series
from sam_dash.runs.tables import resume as resume_rows

MAX_ARTIFACT = 10_000_000  # bytes

QUEUED, RUNNING = runs.c.status == "queued", runs.c.status == "running"
FORCED = literal("stopped at step ") + cast(runs.c.step, String) + ": its worker had to be ended"


class Leases:
    """The worker-facing side of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def claim(self, claim: str, idle: int = 1) -> list[str]:
        """Take the next queued group, people in turn; of it what fits memory, and a share if groups are fewer than
        `idle` workers.
        """
        with self.store.read() as c:  # a look costs no lock
            if c.scalar(select(runs.c.key).where(QUEUED, _ours()).limit(1)) is None:
                return []
        with self.store.write() as c:
            at = runs.c.group, runs.c.step  # those that go on do so from one step
            mine = turn(c, QUEUED & _ours())
            head = c.execute(select(*at).where(mine).order_by(runs.c.created, runs.c.position)).first()
            if head is None:
                return []
            stacks = select(*at).where(QUEUED & _ours()).distinct().subquery()
            waiting = c.scalar(select(func.count()).select_from(stacks)) or 1
            stack = select(runs.c.key).where(mine, runs.c.group == head.group, runs.c.step == head.step)
            keys = list(c.scalars(stack.order_by(runs.c.created, runs.c.position)))
            spec = c.scalar(select(runs.c.spec).where(runs.c.key.in_(keys[:1])))
            keys = keys[: min(_largest(spec), math.ceil(len(keys) / max(1, idle // waiting)))]
            taken = update(runs).where(QUEUED, runs.c.key.in_(keys)).values(
                status="running", claim=claim, owner=None, attempt=0, cancel=False, phase="waiting"
            )  # fmt: skip
            won = set(c.scalars(taken.returning(runs.c.key)))
        return [key for key in keys if key in won]

    def begin(self, keys: Sequence[str], claim: str) -> tuple[str, list[RunSpec]]:
        """Start an attempt at the runs still under the claim, from where they were saved: its owner, their specs."""
        owner = f"{claim}.{uuid.uuid4().hex[:8]}"
        mine = (runs.c.key.in_(keys), RUNNING, runs.c.claim == claim)
        with self.store.write() as c:
            asked = update(runs).where(*mine, runs.c.cancel)
            c.execute(asked.values(status="stopped", error="stopped before it started", ended=now()))
            start = update(runs).where(*mine).values(
                owner=owner, attempt=runs.c.attempt + 1, heartbeat=runs.c.heartbeat + 1,
                phase="starting", started=now(),
            )  # fmt: skip
            specs = {key: spec for key, spec in c.execute(start.returning(runs.c.key, runs.c.spec))}
            live = [key for key in keys if key in specs]
            c.execute(update(runs).where(runs.c.key.in_(live)).values(stack=len(live)))
            if len({step for (step,) in c.execute(select(resume.step_of(runs.c.key)).where(runs.c.key.in_(live)))}) > 1:
                clear(c, live)
            resume.cut(c, live)
        return owner, [from_dict(RunSpec, json.loads(specs[key])) for key in live]

    def saved(self, keys: Sequence[str]) -> list[bytes]:
        """What the runs go on from, in their order; [] where they start anew."""
        with self.store.read() as c:
            return resume.get(c, self.store.db.url, keys)

    def forget(self, owner: str, keys: Sequence[str]) -> None:
        """Have those of the runs that are this owner's start anew."""
        with self.store.write() as c:
            mine = list(c.scalars(select(runs.c.key).where(runs.c.key.in_(keys), RUNNING, runs.c.owner == owner)))
            clear(c, mine)
            resume.cut(c, mine)
        resume.tidy(self.store.db.url, mine)

    def flush(self, owner: str, keys: Sequence[str], report: Report, *, again: bool = False) -> set[int]:
        """Store a report in one transaction; the indices of the runs to stop, those of another owner among them.

        A run that was asked to stop while others of its stack go on ends with this report: the worker ends with them.
        `again`: the store may have it already, as where a commit went through and the answer was lost.
        """
        beat = update(runs).where(runs.c.key.in_(keys), RUNNING, runs.c.owner == owner).values(
            heartbeat=runs.c.heartbeat + 1, step=report.step, steps=report.steps, phase=report.phase
        )  # fmt: skip
        with self.store.write() as c:
            cancel = {key: asked for key, asked in c.execute(beat.returning(runs.c.key, runs.c.cancel))}
            mine = [(i, key) for i, key in enumerate(keys) if key in cancel]
            rows = [m.row(key) for i, key in mine if report.measurements for m in report.measurements[i]]
            chunks = [
                {"run": key, "quantity": q, "first": report.first, "data": np.asarray(x[i], "<f4").tobytes()}
                for q, x in report.series.items() if x.shape[1] for i, key in mine
            ]  # fmt: skip
            if again:
                for table, same in (
                    (measurements, ("run", "step", "quantity")),
                    (series, ("run", "quantity", "first")),
                ):
                    there = [tuple(row[name] for name in same) for row in (rows if table is measurements else chunks)]
                    c.execute(delete(table).where(tuple_(*(table.c[name] for name in same)).in_(there)))
            if rows:
                c.execute(insert(measurements), rows)
            if chunks:
                c.execute(insert(series), chunks)
            resume.put(c, self.store.db.url, report.step, {key: report.saved[i] for i, key in mine if report.saved})
            asked = [key for key, cancelled in cancel.items() if cancelled]
            if 0 < len(asked) < len(cancel):
                end = {"status": "stopped", "error": f"stopped at step {report.step}", "ended": now(), "phase": ""}
                c.execute(update(runs).where(runs.c.key.in_(asked)).values(**end, claim=None, owner=None))
        if report.saved:
            resume.tidy(self.store.db.url, [key for _, key in mine], report.step)
        return {i for i, key in enumerate(keys) if cancel.get(key, True)}

    def finish(self, owner: str, key: str, outcome: Outcome, seconds: float, environment: Mapping[str, Any]) -> bool:
        """End a run as its outcome says; False if it has another owner by now, and then nothing is written."""
        end = update(runs).where(runs.c.key == key, RUNNING, runs.c.owner == owner).values(
            status=outcome.status, error=outcome.message, phase="", seconds=seconds,
            environment=json.dumps(dict(environment), sort_keys=True), ended=now(), claim=None, owner=None,
        )  # fmt: skip
        with self.store.write() as c:
            if c.execute(end).rowcount == 0:
                return False
            if outcome.weights is not None and outcome.weights.nbytes < MAX_ARTIFACT:
                file = io.BytesIO()
                np.save(file, outcome.weights, allow_pickle=False)
                row = {"run": key, "name": "weights.npy", "data": file.getvalue()}
                c.execute(insert(artifacts), row)
            if over := outcome.status in FINISHED:
                c.execute(delete(resume_rows).where(resume_rows.c.run == key))
        if over:
            resume.tidy(self.store.db.url, [key])
        return True

    def fail(self, holder: str, keys: Sequence[str], error: str, log: str = "") -> list[str]:
        """Fail those of the runs that are held under this claim or owner token; which those were."""
        held = or_(runs.c.owner == holder, runs.c.claim == holder)
        end = update(runs).where(runs.c.key.in_(keys), RUNNING, held).values(
            status="failed", error=error, log=log, ended=now(), claim=None, owner=None
        )  # fmt: skip
        with self.store.write() as c:
            return list(c.scalars(end.returning(runs.c.key)))

    def asked(self, claims: Sequence[str]) -> list[str]:
        """Which of these claims have been asked to stop, in all of their running runs."""
        mine = select(runs.c.claim).where(RUNNING, runs.c.claim.in_(claims)).group_by(runs.c.claim)
        with self.store.read() as c:
            return list(c.scalars(mine.having(func.min(case((runs.c.cancel, 1), else_=0)) == 1)))

    def beat(self, claims: Sequence[str]) -> None:
        """Show that the runs of these claims are looked after."""
        with self.store.write() as c:
            mine = update(runs).where(RUNNING, runs.c.claim.in_(claims))
            c.execute(mine.values(heartbeat=runs.c.heartbeat + 1))

    def others(self, claims: Sequence[str]) -> list[str]:
        """The claims besides these that runs are running under."""
        with self.store.read() as c:
            return list(c.scalars(select(runs.c.claim).where(RUNNING, runs.c.claim.not_in(claims)).distinct()))

    def release(self, claims: Sequence[str], why: str | ColumnElement[str] = "the engine was closed") -> None:
        """Let go of all runs of these claims, as when the engine is closed."""
        if not claims:
            return
        with self.store.write() as c:
            mine = update(runs).where(RUNNING, runs.c.claim.in_(claims))
            c.execute(mine.values(let_go(why)))

    def give_back(self, claim: str, keys: Sequence[str]) -> None:
        """Put those of the runs that are under this claim back in the queue, to go on from where they were saved; those
        that were asked to stop are stopped.
        """
        mine = runs.c.key.in_(keys), RUNNING, runs.c.claim == claim
        with self.store.write() as c:
            left = update(runs).where(*mine).values(let_go("its worker was lost"))
            ended = c.execute(left.returning(runs.c.key, runs.c.status)).all()
            requeue(c, [key for key, status in ended if status == "interrupted"])

    def heartbeats(self, claims: Sequence[str]) -> dict[tuple[str, int], int]:
        """The heartbeats of the running runs that are not under these claims, by key and attempt."""
        others = select(runs.c.key, runs.c.attempt, runs.c.heartbeat).where(RUNNING, runs.c.claim.not_in(claims))
        with self.store.read() as c:
            return {(key, attempt): heartbeat for key, attempt, heartbeat in c.execute(others)}

    def interrupt(self, key: str, heartbeat: int) -> bool:
        """Let go of a run whose engine, or loop if it is recorded, is gone, unless its heartbeat has moved on."""
        dead = update(runs).where(runs.c.key == key, RUNNING, runs.c.heartbeat == heartbeat)
        whose = "loop" if is_recorded(key) else "engine"
        with self.store.write() as c:
            return c.execute(dead.values(let_go(f"its {whose} is gone"))).rowcount > 0


def _ours() -> ColumnElement[bool]:
    """Whether a run is for this engine: on a problem file that may be run here, or on none.

    Others wait for the engine of whoever has named their file. That nothing else is run is seen to where it would be.
    """
    named = (runs.c.spec.contains(json.dumps(FILE + name)[1:-1], autoescape=True) for name in places())
    return or_(~runs.c.spec.contains(f'"{FILE}', autoescape=True), *named)


def _largest(spec: str | None) -> int:
    """The largest stack of such runs that fits memory; 1 where that is not known."""
    try:
        return largest_stack(from_dict(RunSpec, json.loads(spec or "{}")))
    except SpecError:  # the user's .npz has been moved since: the worker will say so
        return 1
