"""A store looked after: how it stands, whether it is whole, copied, and made small. Torch-free."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

import sam_dash
from sam_dash.runs import journal, opening, presence, tables
from sam_dash.runs.queue import RECORDED
from sam_dash.runs.resume import FILES
from sam_dash.runs.spec import RunSpec, SpecError, from_dict
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError, checkpoint_folder, measurements, meta, resume, runs, series


def status(store: Store) -> dict[str, Any]:
    """How a store stands, as plain JSON values; see docs/commands.md.

    An engine of this machine and user is known to be there or not; of one elsewhere `alive` is None: its runs become
    interrupted when their heartbeat has stood still for 20 s.
    """
    now = tables.now()
    with store.read() as c:
        counts = {s: n for s, n in c.execute(select(runs.c.status, func.count()).group_by(runs.c.status))}
        oldest = c.scalar(select(func.min(runs.c.created)).where(runs.c.status == "queued"))
        held = select(runs.c.claim, func.count()).where(runs.c.status == "running", ~RECORDED)
        claims = c.execute(held.group_by(runs.c.claim)).all()
        schema = c.scalar(select(meta.c.value).where(meta.c.name == "schema"))
    running: Counter[str] = Counter()
    for claim, n in claims:
        running[str(claim).partition(".")[0]] += n
    where = _named(store)
    here = {engine.name: engine for engine in presence.here() if engine.store == where}
    engines = [
        {
            "name": name, "running": running[name],
            "pid": here[name].pid if name in here else None, "workers": here[name].workers if name in here else None,
            "alive": True if name in here else False if presence.gone(f"{name}.0") else None,
        }
        for name in sorted({*here, *running})
    ]  # fmt: skip
    path = store.file
    sizes = [p.stat().st_size for p in _files(path)] if path else []
    alive = [engine["alive"] for engine in engines]
    return {
        "sam-dash": sam_dash.__version__, "store": where, "schema": schema,
        "engine": True if True in alive else None if None in alive else False, "engines": engines,
        "runs": counts,
        "queue": {"runs": counts.get("queued", 0), "oldest_seconds": max(0.0, now - oldest) if oldest else None},
        "disk": {
            "bytes": sum(sizes) if path else None, "free": shutil.disk_usage(path.parent).free if path else None,
        },
        "log": str(journal.place()),
    }  # fmt: skip


def check(store: Store) -> list[str]:
    """What is wrong in a store, a line each; [] if it is whole.

    The file's own integrity; numbers that are there twice or of no run; curves with gaps; keys that are not those of
    their specification; finished runs without all their steps; places to go on from whose file is gone.
    """
    with store.read() as c:
        found = []
        if c.dialect.name == "sqlite":
            found += [f"file: {line}" for (line,) in c.exec_driver_sql("PRAGMA integrity_check") if line != "ok"]
            orphans = c.exec_driver_sql("PRAGMA foreign_key_check").all()
            found += [f"{n} rows of {table} are of no run" for table, n in Counter(row[0] for row in orphans).items()]
        same = measurements.c.run, measurements.c.step, measurements.c.quantity
        twice = select(measurements.c.run, func.count()).group_by(*same).having(func.count() > 1).subquery()
        for run, n in c.execute(select(twice.c.run, func.count()).group_by(twice.c.run)):
            found.append(f"run {run}: {n} measurements are there more than once")
        columns = series.c.run, series.c.quantity, series.c.first, func.length(series.c.data)
        ends: dict[tuple[str, str], int] = {}
        torn = set()
        for run, quantity, first, size in c.execute(select(*columns).order_by(*columns[:3])):
            if first != ends.get((run, quantity), 0):
                torn.add(run)
            ends[run, quantity] = first + size // 4
        mine = select(runs.c.key, runs.c.spec, runs.c.status, runs.c.step, runs.c.steps, runs.c.environment)
        for row in c.execute(mine.where(~RECORDED)):
            if row.key in torn:
                found.append(f"run {row.key}: a curve has a gap, or steps twice")
            elif row.status == "done" and {n for (run, _), n in ends.items() if run == row.key} - {row.steps}:
                found.append(f"run {row.key}: done, but not with the curves of all its {row.steps} steps")
            try:
                named = from_dict(RunSpec, json.loads(row.spec)).key
            except (SpecError, ValueError):  # of another version, or on a file that has been moved
                continue
            if named != row.key:
                found.append(f"run {row.key}: its specification is that of {named}")
        for run, file in c.execute(select(resume.c.run, resume.c.file).where(resume.c.file.is_not(None))):
            if not (checkpoint_folder(store.db.url) / run / file).is_file():
                found.append(f"run {run}: the file that it goes on from is gone; it will start anew")
    return found


def backup(store: Store, to: Path) -> list[Path]:
    """Copy a store in a file as of one moment, and the files beside it; the copies. StoreError where that cannot be."""
    path = store.file
    if path is None:
        raise StoreError(f"store {_named(store)}: a server's is backed up by its own means, such as pg_dump")
    beside = checkpoint_folder(store.db.url)
    copies = [to, *([to.with_suffix(".checkpoints")] if beside.is_dir() else [])]
    for copy in copies:
        if copy.exists():
            raise StoreError(f"{copy} exists; choose another name")
    if not to.parent.is_dir():
        raise StoreError(f"{to.parent} is no folder; make it, or choose another place")
    try:
        if beside.is_dir():  # first: what is removed in between is known to be of no use
            shutil.copytree(beside, copies[1])
        opening.copy(path, to)
    except sqlite3.Error as error:
        raise StoreError(f"{to}: the copy failed ({error})") from None
    return copies


def vacuum(store: Store) -> tuple[int, int]:
    """Give back the room of what was deleted, and remove files that no run goes on from; bytes before and after."""
    folder = checkpoint_folder(store.db.url)
    with store.read() as c:
        kept = {(run, file) for run, file in c.execute(select(resume.c.run, resume.c.file))}
        busy = set(c.scalars(select(runs.c.key).where(runs.c.status == "running")))
    before = _size(store)
    for path in [*folder.glob(f"*/{FILES}"), *folder.glob("*/resume-*.new")]:
        if (path.parent.name, path.name) not in kept and path.parent.name not in busy:
            path.unlink(missing_ok=True)
    with store.db.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        if c.dialect.name != "sqlite":
            c.exec_driver_sql("VACUUM")
    if where := store.file:
        with closing(sqlite3.connect(where, timeout=tables.BUSY, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, _size(store)


def _named(store: Store) -> str:
    """A store without its password."""
    return store.db.url.render_as_string()


def _files(path: Path) -> list[Path]:
    """A store's file, and those that SQLite has beside it."""
    return [p for p in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))) if p.is_file()]


def _size(store: Store) -> int:
    path, folder = store.file, checkpoint_folder(store.db.url)
    kept = [p for p in folder.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in [*(_files(path) if path else []), *kept])
