"""What runs have measured, read back from an open connection: a null number is nan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Select, Update, and_, func, select

from sam_dash.runs.report import Measurement
from sam_dash.runs.tables import measurements as measured
from sam_dash.runs.tables import members
from sam_dash.runs.tables import series as chunks

Query = TypeVar("Query", Select[Any], Update)


def of(query: Query, run: Any, sweep_id: str | None, keys: Sequence[str] | None) -> Query:
    """The query restricted to a sweep's runs, or to some runs, or to both, by its column `run`."""
    if sweep_id is not None:
        query = query.where(run.in_(select(members.c.run).where(members.c.sweep == sweep_id)))
    return query if keys is None else query.where(run.in_(keys))


def measurements(
    c: Connection, sweep_id: str | None, keys: Sequence[str] | None, quantities: Sequence[str] | None, final: bool
) -> list[dict[str, Any]]:
    """See `Store.measurements`."""
    columns = [column for column in measured.c if column.name != "id"]
    wanted: Select[Any] = of(select(*columns), measured.c.run, sweep_id, keys)
    if final:
        last = select(measured.c.run, func.max(measured.c.step).label("step")).group_by(measured.c.run).subquery()
        wanted = wanted.join(last, and_(measured.c.run == last.c.run, measured.c.step == last.c.step))
    if quantities is not None:
        wanted = wanted.where(measured.c.quantity.in_(quantities))
    names = [column.name for column in columns]
    rows = c.execute(wanted.order_by(measured.c.run, measured.c.step, measured.c.id)).all()
    return [Measurement.read(dict(zip(names, row, strict=True))) for row in rows]


def series(c: Connection, keys: Sequence[str], quantities: Sequence[str] | None) -> dict[str, dict[str, np.ndarray]]:
    """See `Store.series`."""
    wanted: Select[Any] = of(select(chunks.c.run, chunks.c.quantity, chunks.c.data), chunks.c.run, None, keys)
    if quantities is not None:
        wanted = wanted.where(chunks.c.quantity.in_(quantities))
    parts: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    for run, quantity, data in c.execute(wanted.order_by(chunks.c.run, chunks.c.quantity, chunks.c.first)):
        parts[run][quantity].append(data)
    return {
        run: {q: np.frombuffer(b"".join(pieces), "<f4").copy() for q, pieces in by.items()} for run, by in parts.items()
    }
