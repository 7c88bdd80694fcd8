"""How runs enter the queue, on an open transaction: as new rows, or again after they were stopped or failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, func, select, update

from sam_dash.runs import cost, presence, resume
from sam_dash.runs.recording import MARK
from sam_dash.runs.spec import SweepSpec
from sam_dash.runs.tables import DATA, now, runs

RECORDED = runs.c.key.startswith(MARK)
AGAIN = ("stopped", "interrupted", "failed")  # ends that a resubmission starts again
FRESH = {
    "claim": None, "owner": None, "cancel": False, "heartbeat": 0, "step": 0, "phase": "", "error": "", "log": "",
    "seconds": None, "environment": None, "started": None, "ended": None,
}  # fmt: skip


GONE = "its engine is gone"


def let_go(why: str | ColumnElement[str]) -> dict[str, Any]:
    """The values of runs that nobody looks after: back in the queue if not begun, else interrupted, or stopped where
    that was asked for.
    """
    waiting, asked = runs.c.owner.is_(None), runs.c.cancel
    return {
        "status": case((waiting, "queued"), (asked, "stopped"), else_="interrupted"),
        "error": case((waiting, ""), else_=why),
        "ended": now(), "claim": None, "owner": None, "phase": "",
    }  # fmt: skip


def bury(c: Connection, keys: Sequence[str]) -> None:
    """Let go of those of the runs whose engine is known to have ended."""
    held = runs.c.key.in_(keys) & (runs.c.status == "running") & ~RECORDED
    claims = list(c.scalars(select(runs.c.claim).where(held).distinct()))
    dead = [claim for claim in claims if presence.gone(claim)]
    if dead:
        c.execute(update(runs).where(held, runs.c.claim.in_(dead)).values(let_go(GONE)))


def requeue(c: Connection, keys: Sequence[str], person: str | None = None) -> list[str]:
    """Put stopped, interrupted and failed runs back in the queue, to go on from where they were saved; which.

    They are that person's now, if one is named. Recorded ones stay as they are: there is nothing that could be run.
    """
    chosen = runs.c.key.in_(keys) & runs.c.status.in_(AGAIN) & ~RECORDED
    whose = {} if person is None else {"person": person}
    fresh = update(runs).where(chosen).values(**FRESH, **whose, status="queued", created=last(c))
    again = list(c.scalars(fresh.returning(runs.c.key)))
    resume.cut(c, again)
    return again


def turn(c: Connection, queued: ColumnElement[bool]) -> ColumnElement[bool]:
    """Which queued runs are next: those of whoever has the fewest groups at work; of equals, who waits longest."""
    first = select(runs.c.person, func.min(runs.c.created)).where(queued).group_by(runs.c.person)
    waiting = {person: created for person, created in c.execute(first)}
    if len(waiting) < 2:
        return queued
    working = select(runs.c.person, func.count(runs.c.claim.distinct())).where(runs.c.status == "running")
    at_work = {person: n for person, n in c.execute(working.group_by(runs.c.person))}
    chosen = min(waiting, key=lambda person: (at_work.get(person, 0), waiting[person]))
    return queued & (runs.c.person.is_(None) if chosen is None else runs.c.person == chosen)


def last(c: Connection) -> float:
    """The time of what is queued now: behind all that waits, also where the clock has been set back since."""
    waiting = c.scalar(select(func.max(runs.c.created)).where(runs.c.status == "queued"))
    return max(now(), (waiting or 0.0) + 1e-6)


def clear(c: Connection, keys: Sequence[str]) -> None:
    """Delete all that was measured in these runs."""
    for table in DATA:
        c.execute(delete(table).where(table.c.run.in_(keys)))


def queued_rows(sweep: SweepSpec) -> list[dict[str, Any]]:
    """The rows of a sweep's runs, the costliest groups first in the queue."""
    specs = sweep.runs()
    at, groups = now(), cost.groups(specs)
    price = {g: cost.seconds(group[0], len(group)) / len(group) for g, group in groups.items()}
    costliest = sorted(groups, key=lambda g: -price[g] * len(groups[g]))
    queue = enumerate((g, spec) for g in costliest for spec in groups[g])
    out = {
        spec.key: {
            "key": spec.key, "group": g, "spec": json.dumps(spec.to_dict()), "status": "queued",
            "steps": cost.steps(spec), "predicted": price[g], "created": at, "position": i,
        }
        for i, (g, spec) in queue
    }  # fmt: skip
    return [out[spec.key] for spec in specs]
