"""Runs that were made elsewhere, taken into a store: by key, those it does not have; nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update

from sam_dash.runs import labels
from sam_dash.runs.labels import Label
from sam_dash.runs.ledger import enter
from sam_dash.runs.queue import clear, queued_rows
from sam_dash.runs.recording import RecordedStudy, is_recorded
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import SweepSpec
from sam_dash.runs.store import Store
from sam_dash.runs.tables import insert_missing, measurements, members, now, runs, series, sweeps

CHUNK = 10_000
"""Rows that one transaction takes in: 0.1 s on two cores."""
HALF = {"imported": "in part"}  # the environment of a run of which some numbers are there only


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


def merge(
    store: Store, found: Iterable[SweepSpec], foreign: Iterable[Foreign],
    called: Mapping[str, Mapping[str, Label]] = {}, *, source: str = "",
) -> Merged:  # fmt: skip
    """Take in what the store lacks; SpecError, before anything is, for a sweep that cannot be priced here.

    `called`: names and tags, by kind and key, of what has none here.

    In transactions of about `CHUNK` rows, so that others who write wait for less than a second: whole runs, and a
    long run in pieces, shown as interrupted until the last of them. What a crash has left half is taken in anew.
    """
    by_key = {f.key: f for f in foreign}
    unique = {sweep.key: sweep for sweep in found}
    planned = {key: queued_rows(sweep) for key, sweep in unique.items() if not isinstance(sweep, RecordedStudy)}
    at, environment = now(), json.dumps({"imported": source or True})
    rows: dict[str, dict[str, Any]] = {}
    with store.write() as c:
        have = _whole(c, list(by_key))
        for key, sweep in unique.items():
            if isinstance(sweep, RecordedStudy):
                planned[key] = list(enter(c, sweep).values())
            else:
                about = {"id": key, "preset": sweep.preset, "created": at, "spec": json.dumps(sweep.to_dict())}
                insert_missing(c, sweeps, [about])
            rows |= {r["key"]: _row(r, by_key[r["key"]], at, environment) for r in planned[key] if r["key"] in by_key}
    new = []
    for keys in _chunks([key for key in rows if key not in have], by_key):
        new += _take(store, [rows[key] for key in keys], by_key)
    with store.write() as c:
        there = set(c.scalars(select(runs.c.key).where(runs.c.key.in_(list(rows)))))
        for key, of in planned.items():
            placed = [
                {"sweep": key, "run": r["key"], "position": r["position"] if is_recorded(key) else i}
                for i, r in enumerate(of) if r["key"] in there
            ]  # fmt: skip
            insert_missing(c, members, placed)
    labels.take(store, called)
    return Merged(list(unique), new, len(by_key) - len(new))


def _whole(c: Connection, keys: list[str]) -> set[str]:
    """The runs that the store has, but for halves of an import that was ended."""
    half = runs.c.environment == json.dumps(HALF)
    return set(c.scalars(select(runs.c.key).where(runs.c.key.in_(keys), func.coalesce(~half, True))))


def _chunks(keys: list[str], by_key: Mapping[str, Foreign]) -> Iterator[list[str]]:
    """Runs that are taken in together: about `CHUNK` rows, or one run."""
    chunk: list[str] = []
    size = 0
    for key in keys:
        rows = 1 + len(by_key[key].measurements) + len(by_key[key].series)
        if chunk and size + rows > CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(key)
        size += rows
    if chunk:
        yield chunk


def _take(store: Store, rows: list[dict[str, Any]], by_key: Mapping[str, Foreign]) -> list[str]:
    """Take in some runs, in as many transactions as their numbers ask for; which were not there."""
    numbers = [m.row(row["key"]) for row in rows for m in by_key[row["key"]].measurements]
    chunks = [
        {"run": row["key"], "quantity": q, "first": 0, "data": np.asarray(x, "<f4").tobytes()}
        for row in rows for q, x in by_key[row["key"]].series.items() if len(x)
    ]  # fmt: skip
    pieces = [numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)] or [[]]
    half = {"status": "interrupted", "error": "being taken in, or left half", "environment": json.dumps(HALF)}
    with store.write() as c:
        asked = [row["key"] for row in rows]
        have = _whole(c, asked)
        mine = [row for row in rows if row["key"] not in have]
        keys = [row["key"] for row in mine]
        clear(c, keys)
        c.execute(delete(members).where(members.c.run.in_(keys)))
        c.execute(delete(runs).where(runs.c.key.in_(keys)))
        insert_missing(c, runs, mine if len(pieces) == 1 else [row | half for row in mine])
        if found := [chunk for chunk in chunks if chunk["run"] in set(keys)]:
            c.execute(insert(series), found)
        if first := [number for number in pieces[0] if number["run"] in set(keys)]:
            c.execute(insert(measurements), first)
    for piece in pieces[1:] if keys else []:
        with store.write() as c:
            c.execute(insert(measurements), piece)
    if len(pieces) > 1 and keys:
        with store.write() as c:
            for row in mine:
                ended = {name: row[name] for name in half}
                c.execute(update(runs).where(runs.c.key == row["key"]).values(**ended))
    return keys


def _row(row: dict[str, Any], f: Foreign, at: float, environment: str) -> dict[str, Any]:
    last = max((m.step for m in f.measurements), default=0)
    seconds = None if f.seconds != f.seconds else f.seconds
    return row | {
        "status": f.status, "error": f.error, "step": row["steps"] if f.status == "done" and row["steps"] else last,
        "seconds": seconds, "environment": environment, "ended": at, "phase": "", "log": "",
    }  # fmt: skip
