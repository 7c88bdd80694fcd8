"""What unfinished runs go on from: where each stood after some step, in the store, or in a file beside it. Torch-free.

Kept for a run until it is done, written in the transaction of the report that it belongs to: curves and what a run
goes on from agree whenever its process is killed. Above `MOST` bytes it is a file, renamed into place before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, delete, func, insert, select
from sqlalchemy.engine import URL

from sam_dash.runs.tables import artifacts, checkpoint_folder, measurements, resume, runs, series
from sam_dash.surroundings import private

MOST = 10_000_000  # bytes in a row of the store
FILES = "resume-*.pt"


class StaleError(ValueError):
    """What a run was to go on from is gone, or of other software: it starts anew, and so has one result."""


def put(c: Connection, url: URL, step: int, saved: Mapping[str, bytes]) -> None:
    """Keep where some runs stand after `step` steps, in the place of what was kept of them."""
    rows = []
    for key, data in saved.items():
        row: dict[str, object] = {"run": key, "step": step, "data": data, "file": None}
        if len(data) > MOST:
            row |= {"data": None, "file": f"resume-{step}.pt"}
            _write(checkpoint_folder(url) / key / f"resume-{step}.pt", data)
        rows.append(row)
    if rows:
        c.execute(delete(resume).where(resume.c.run.in_(list(saved))))
        c.execute(insert(resume), rows)


def get(c: Connection, url: URL, keys: Sequence[str]) -> list[bytes]:
    """What some runs go on from, in their order; [] where they start anew. What cannot be read is b""."""
    found = {row.run: row for row in c.execute(select(resume).where(resume.c.run.in_(keys)))}
    return [_bytes(url, found[key]) if key in found else b"" for key in keys] if found else []


def step_of(run: object) -> ScalarSelect[int]:
    """The step that a run, by a column of its key, goes on from; 0 where it starts anew."""
    kept = select(func.coalesce(func.max(resume.c.step), 0)).where(resume.c.run == run)
    return kept.correlate_except(resume).scalar_subquery()


def cut(c: Connection, keys: Sequence[str]) -> None:
    """Leave of what runs have stored that which was before the step that they go on from, which is their step now."""
    mine = resume.c.run == measurements.c.run
    kept = select(func.coalesce(func.max(resume.c.step), -1)).where(mine).correlate_except(resume).scalar_subquery()
    c.execute(delete(measurements).where(measurements.c.run.in_(keys), measurements.c.step > kept))
    c.execute(delete(series).where(series.c.run.in_(keys), series.c.first >= step_of(series.c.run)))
    c.execute(delete(artifacts).where(artifacts.c.run.in_(keys)))
    c.execute(runs.update().where(runs.c.key.in_(keys)).values(step=step_of(runs.c.key)))


def tidy(url: URL, keys: Sequence[str], step: int | None = None) -> None:
    """Remove the files of runs but for those of `step`; after the transaction, as it may be rolled back."""
    for key in keys:
        folder = checkpoint_folder(url) / key
        for path in folder.glob(FILES):
            if path.name != f"resume-{step}.pt":
                path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or none
            folder.rmdir()


def _write(path: Path, data: bytes) -> None:
    private(path.parent)
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _bytes(url: URL, row: Row[Any]) -> bytes:
    if row.data is not None:
        return bytes(row.data)
    try:
        return (checkpoint_folder(url) / row.run / str(row.file)).read_bytes()
    except OSError:  # on another machine, or removed
        return b""
