"""The tables of the store, and where it is. `sam_dash.runs.opening` opens it."""

from __future__ import annotations

import os
import time
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sam_dash.runs.report import Measurement
from sam_dash.surroundings import data_dir

VERSION = "6"
OLDER = ("1", "2", "3", "4", "5")  # versions that lack tables or columns only: these are added
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
    sa.Column("person", sa.String(200)),  # who has asked for it first; null: not known
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
    sa.Column("person", sa.String(200)),  # whose turn in the queue it takes; null: nobody's in particular
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

# where an unfinished run stood after `step` steps: bytes, or the file that has them (`sam_dash.runs.resume`)
resume = sa.Table(
    "resume", metadata,
    sa.Column("run", sa.ForeignKey("runs.key"), primary_key=True),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary),
    sa.Column("file", sa.Text),
)  # fmt: skip

DATA = (measurements, series, artifacts, resume)

# what a person says of a run; nothing that was measured
marks = sa.Table(
    "marks", metadata,
    sa.Column("run", sa.ForeignKey("runs.key"), primary_key=True),
    sa.Column("hidden", sa.Boolean, nullable=False, default=False),
    sa.Column("note", sa.Text, nullable=False, default=""),
)  # fmt: skip


def _labels(name: str, of: str) -> sa.Table:
    """What people call something: a name, and tags with commas between them."""
    return sa.Table(
        name, metadata,
        sa.Column("of", sa.ForeignKey(of), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
    )  # fmt: skip


run_labels = _labels("run_labels", "runs.key")
study_labels = _labels("study_labels", "sweeps.id")


class StoreError(RuntimeError):
    """A store that cannot be used: where it is, what is wrong and what to do, in one line."""


class StoreGoneError(StoreError):
    """A store whose file was deleted, or replaced by another, since it was opened."""


PASSING = (OperationalError, InterfaceError, PoolTimeout)  # a lock, a full disk, a lost connection: tried again


def passing(error: Exception) -> bool:
    """Whether what a store has refused may do at another try; of one that cannot be opened its words tell."""
    words = ("locked", "full", "busy", "disk I/O", "connect")
    return isinstance(error, PASSING) or (isinstance(error, StoreError) and any(word in str(error) for word in words))


def default_path() -> Path:
    """$XDG_DATA_HOME/sam-dash/store.db."""
    return data_dir() / "store.db"


def locate(store: str | Path | URL | None) -> URL:
    """The URL of a store given as a URL, a path, or by SAM_DASH_STORE; StoreError for a malformed one."""
    if isinstance(store, URL):
        return store
    text = str(store or os.environ.get("SAM_DASH_STORE") or default_path())
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except ArgumentError:
        raise StoreError(f"store {text!r}: neither a path nor a database URL; {ELSEWHERE}") from None
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).expanduser().absolute()))
    return url


def checkpoint_folder(url: URL) -> Path:
    """Where what is too large for a row is kept, such as weights of recorded runs: beside the store, of a server's in
    the user's data directory.
    """
    beside = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database if beside and url.database else default_path()).with_suffix(".checkpoints")


def insert_missing(c: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose primary key is new."""
    dialect = import_module(f"sqlalchemy.dialects.{c.dialect.name}")
    if rows:
        c.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def now() -> float:
    """Seconds since 1970; for people to read, never compared between machines."""
    return time.time()
