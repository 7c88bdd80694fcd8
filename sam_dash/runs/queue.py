"""How runs enter the queue, on an open transaction: as new rows, or again after they were stopped or failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, update

from sam_dash.runs import cost
from sam_dash.runs.spec import SweepSpec
from sam_dash.runs.tables import DATA, now, runs

AGAIN = ("stopped", "interrupted", "failed")  # ends that a resubmission starts again
FRESH = {
    "claim": None, "owner": None, "cancel": False, "heartbeat": 0, "step": 0, "phase": "", "error": "", "log": "",
    "seconds": None, "environment": None, "started": None, "ended": None,
}  # fmt: skip


def requeue(c: Connection, keys: Sequence[str]) -> list[str]:
    """Put stopped, interrupted and failed runs back in the queue, without their partial data; which."""
    chosen = runs.c.key.in_(keys) & runs.c.status.in_(AGAIN)
    fresh = update(runs).where(chosen).values(**FRESH, status="queued", created=now())
    again = list(c.scalars(fresh.returning(runs.c.key)))
    clear(c, again)
    return again


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
