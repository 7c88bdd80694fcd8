"""Runs that were made elsewhere, taken into a store: by key, those it does not have; nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import insert, select

from sam_dash.runs.queue import queued_rows
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import SweepSpec
from sam_dash.runs.store import Store
from sam_dash.runs.tables import insert_missing, measurements, members, now, runs, series, sweeps


class Foreign(NamedTuple):
    """A run made elsewhere: how it ended and all that it measured."""

    key: str
    status: str
    error: str
    seconds: float
    measurements: list[Measurement]
    series: Mapping[str, np.ndarray]


class Merged(NamedTuple):
    """The ids of the sweeps, the keys taken in, and how many runs the store had already."""

    sweeps: list[str]
    new: list[str]
    kept: int


def merge(store: Store, found: Iterable[SweepSpec], foreign: Iterable[Foreign], source: str = "") -> Merged:
    """Take in what the store lacks, in one transaction; SpecError for a sweep that cannot be priced here."""
    by_key = {f.key: f for f in foreign}
    sweeps_of = {sweep.key: (sweep, queued_rows(sweep)) for sweep in found}
    at = now()
    environment = json.dumps({"imported": source or True})
    with store.write() as c:
        have = set(c.scalars(select(runs.c.key).where(runs.c.key.in_(list(by_key)))))
        new = [key for key in by_key if key not in have]
        for key, (sweep, rows) in sweeps_of.items():
            about = {"id": key, "preset": sweep.preset, "created": at, "spec": json.dumps(sweep.to_dict())}
            insert_missing(c, sweeps, [about])
            mine = [_row(row, by_key[row["key"]], at, environment) for row in rows if row["key"] in new]
            insert_missing(c, runs, mine)
            placed = [{"sweep": key, "run": r["key"], "position": i} for i, r in enumerate(rows) if r["key"] in by_key]
            insert_missing(c, members, placed)
        numbers = [m.row(key) for key in new for m in by_key[key].measurements]
        chunks = [
            {"run": key, "quantity": q, "first": 0, "data": np.asarray(x, "<f4").tobytes()}
            for key in new for q, x in by_key[key].series.items() if len(x)
        ]  # fmt: skip
        if numbers:
            c.execute(insert(measurements), numbers)
        if chunks:
            c.execute(insert(series), chunks)
    return Merged(list(sweeps_of), new, len(have))


def _row(row: dict[str, Any], f: Foreign, at: float, environment: str) -> dict[str, Any]:
    last = max((m.step for m in f.measurements), default=0)
    seconds = None if f.seconds != f.seconds else f.seconds
    return row | {
        "status": f.status, "error": f.error, "step": row["steps"] if f.status == "done" else last,
        "seconds": seconds, "environment": environment, "ended": at, "phase": "", "log": "",
    }  # fmt: skip
