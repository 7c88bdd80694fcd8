"""The tables of the store, and how a database is opened: created, checked, never overwritten."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from sam_dash.runs.report import Measurement

VERSION = "3"
OLDER = ("1", "2")  # versions that lack tables or columns only: these are added
BUSY = 30.0  # seconds that a writer waits for another
ELSEWHERE = "choose another place with --store or SAM_DASH_STORE"
metadata = sa.MetaData()

meta = sa.Table(
    "meta", metadata,
    sa.Column("name", sa.String(32), primary_key=True), sa.Column("value", sa.String(32), nullable=False),
)  # fmt: skip

sweeps = sa.Table(
    "sweeps", metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("preset", sa.String(64), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)  # fmt: skip

members = sa.Table(
    "sweep_runs", metadata,
    sa.Column("sweep", sa.ForeignKey("sweeps.id"), primary_key=True),
    sa.Column("run", sa.ForeignKey("runs.key"), primary_key=True, index=True),
    sa.Column("position", sa.Integer, nullable=False),
)  # fmt: skip

# `claim` is the lease of an engine, `owner` that of one attempt under it (null: not begun);
# `predicted` and `seconds` are a run's share of its stack of `stack` runs; `created` and `position`
# order the queue.
runs = sa.Table(
    "runs", metadata,
    sa.Column("key", sa.String(12), primary_key=True),
    sa.Column("group", sa.String(12), nullable=False, index=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("claim", sa.String(64)),
    sa.Column("owner", sa.String(80)),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("heartbeat", sa.Integer, nullable=False, default=0),
    sa.Column("cancel", sa.Boolean, nullable=False, default=False),
    sa.Column("step", sa.Integer, nullable=False, default=0),
    sa.Column("steps", sa.Integer, nullable=False, default=0),
    sa.Column("phase", sa.String(16), nullable=False, default=""),
    sa.Column("error", sa.Text, nullable=False, default=""),
    sa.Column("log", sa.Text, nullable=False, default=""),
    sa.Column("seconds", sa.Double),
    sa.Column("predicted", sa.Double, nullable=False),
    sa.Column("stack", sa.Integer, nullable=False, default=1),
    sa.Column("environment", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Index("queue", "status", "created", "position"),
)  # fmt: skip

COLUMN: dict[str, Any] = {"int": sa.Integer, "float": sa.Double, "str": sa.String(64), "bool": sa.Boolean}

# one column a field of `Measurement`; null is nan: SQLite has no other
measurements = sa.Table(
    "measurements", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.ForeignKey("runs.key"), nullable=False),
    *(sa.Column(f.name, COLUMN[str(f.type)], nullable=f.type == "float") for f in fields(Measurement)),
    sa.Index("measured", "run", "step"),
)  # fmt: skip

series = sa.Table(
    "series", metadata,
    sa.Column("run", sa.ForeignKey("runs.key"), primary_key=True),
    sa.Column("quantity", sa.String(64), primary_key=True),
    sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),  # float32, little-endian
)  # fmt: skip

artifacts = sa.Table(
    "artifacts", metadata,
    sa.Column("run", sa.ForeignKey("runs.key"), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)  # fmt: skip

DATA = (measurements, series, artifacts)

# what a person says of a run; nothing that was measured
marks = sa.Table(
    "marks", metadata,
    sa.Column("run", sa.ForeignKey("runs.key"), primary_key=True),
    sa.Column("hidden", sa.Boolean, nullable=False, default=False),
    sa.Column("note", sa.Text, nullable=False, default=""),
)  # fmt: skip


class StoreError(RuntimeError):
    """A store that cannot be used: where it is, what is wrong and what to do, in one line."""


def default_path() -> Path:
    """$XDG_DATA_HOME/sam-dash/store.db."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "sam-dash" / "store.db"


def locate(store: str | Path | None) -> URL:
    """The URL of a store given as a URL, a path, or by SAM_DASH_STORE; StoreError for a malformed one."""
    text = str(store or os.environ.get("SAM_DASH_STORE") or default_path())
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except ArgumentError:
        raise StoreError(f"store {text!r}: neither a path nor a database URL; {ELSEWHERE}") from None
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).expanduser().absolute()))
    return url


def connect(url: URL) -> sa.Engine:
    """Open the database, creating the tables in an empty one; StoreError if it is not a store of this version."""
    where = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
    try:
        db = _engine(url)
        with db.execution_options(write=True).begin() as c:
            _check(c, str(where))
        _write_ahead(db)
    except ModuleNotFoundError as error:
        raise StoreError(f"store {where}: needs the package {error.name!r}: install it, or {ELSEWHERE}") from None
    except (OSError, SQLAlchemyError) as error:
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(f"store {where}: cannot be opened ({why}); {ELSEWHERE}") from None
    return db


def _engine(url: URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    db = sa.create_engine(url, connect_args={"timeout": BUSY})

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


def insert_missing(c: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose primary key is new."""
    dialect = import_module(f"sqlalchemy.dialects.{c.dialect.name}")
    if rows:
        c.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def now() -> float:
    """Seconds since 1970; for people to read, never compared between machines."""
    return time.time()
