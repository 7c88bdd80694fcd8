"""How a database is opened: created for its user alone, checked, copied before it is upgraded, never overwritten."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from sam_dash.runs.tables import BUSY, ELSEWHERE, OLDER, VERSION, StoreError, meta, metadata
from sam_dash.surroundings import private_file


def connect(url: URL, busy: float = BUSY) -> sa.Engine:
    """Open the database, creating the tables in an empty one; StoreError if it is not a store of this version."""
    where = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
    try:
        db = _engine(url, busy)
        with db.execution_options(write=True).begin() as c:
            _check(c, str(where))
        _write_ahead(db)
    except ModuleNotFoundError as error:
        raise StoreError(f"store {where}: needs the package {error.name!r}: install it, or {ELSEWHERE}") from None
    except (OSError, SQLAlchemyError) as error:
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(f"store {where}: cannot be opened ({why}); {ELSEWHERE}") from None
    return db


def _engine(url: URL, busy: float) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if url.database:
        private_file(Path(url.database))
    db = sa.create_engine(url, connect_args={"timeout": busy})

    @sa.event.listens_for(db, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA synchronous = NORMAL")

    @sa.event.listens_for(db, "begin")
    def _begin(c: sa.Connection) -> None:
        write = c.get_execution_options().get("write")  # taken at once: a late upgrade could not wait
        c.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return db


def _check(c: sa.Connection, where: str) -> None:
    if c.dialect.name == "postgresql":
        c.exec_driver_sql("SELECT pg_advisory_xact_lock(7267)")  # two may create the tables at once
    found = set(sa.inspect(c).get_table_names())
    if not found:
        metadata.create_all(c)
        c.execute(sa.insert(meta).values(name="schema", value=VERSION))
        return
    version = None
    if "meta" in found:
        version = c.scalar(sa.select(meta.c.value).where(meta.c.name == "schema"))
        if version in OLDER and "runs" in found:
            _copy(c, f"schema-{version}")
            _add_what_is_missing(c)
            version = VERSION
            c.execute(sa.update(meta).where(meta.c.name == "schema").values(value=version))
            found = set(metadata.tables)
    if version is None or (version == VERSION and not set(metadata.tables) <= found):
        raise StoreError(f"store {where}: a database, but not one of sam-dash; {ELSEWHERE}")
    if version != VERSION:
        raise StoreError(
            f"store {where}: has schema version {version}, this sam-dash reads {VERSION}; "
            f"use the sam-dash that wrote it, or {ELSEWHERE}"
        )


def _copy(c: sa.Connection, suffix: str) -> None:
    """Copy a file, which is locked, beside itself: STORE.schema-3.db; a copy that is there stays."""
    where = c.engine.url.database
    if c.dialect.name != "sqlite" or not where or where == ":memory:":
        return  # a server's are copied by its own means
    to = Path(where).with_suffix(f".{suffix}{Path(where).suffix}")
    try:
        if not to.exists():
            copy(Path(where), to)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"store {where}: of an earlier version; it is not upgraded, as it cannot be copied to {to} before ({error})"
        ) from None


def copy(path: Path, to: Path) -> None:
    """Copy a store in a file, whole and as of one moment, to a new file; others may write to it meanwhile."""
    temporary = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        temporary.touch(mode=0o600)
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(temporary)) as target,
        ):
            source.backup(target)
        os.replace(temporary, to)
    finally:
        temporary.unlink(missing_ok=True)


def _add_what_is_missing(c: sa.Connection) -> None:
    """Tables and columns that a store of an older version lacks; nothing that is there is touched."""
    metadata.create_all(c)
    inspector = sa.inspect(c)
    for table in metadata.tables.values():
        have = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in have:
                new = CreateColumn(column).compile(dialect=c.dialect)
                c.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {new}")


def _write_ahead(db: sa.Engine) -> None:
    """Let readers and a writer work side by side (a property of the file, set once)."""
    if db.dialect.name != "sqlite":
        return
    with closing(db.raw_connection()) as connection, suppress(sqlite3.OperationalError):
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            cursor.execute("PRAGMA journal_mode = WAL")  # busy: another process is at it
