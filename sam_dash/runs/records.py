"""What runs have measured, read back from an open connection: a null number is nan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Select, Subquery, Update, and_, case, func, or_, select

from sam_dash.runs.recording import MARK
from sam_dash.runs.report import Measurement
from sam_dash.runs.tables import measurements as measured
from sam_dash.runs.tables import members
from sam_dash.runs.tables import series as chunks

MISSING_STEP = np.float32(np.nan).tobytes()
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
        last = _last(sweep_id, keys)
        which = or_(last.c.only == "", measured.c.quantity == last.c.only)
        wanted = wanted.join(last, and_(measured.c.run == last.c.run, measured.c.step == last.c.step, which))
    if quantities is not None:
        wanted = wanted.where(measured.c.quantity.in_(quantities))
    names = [column.name for column in columns]
    rows = c.execute(wanted.order_by(measured.c.run, measured.c.step, measured.c.id)).all()
    return [Measurement.read(dict(zip(names, row, strict=True))) for row in rows]


def quantities(c: Connection, sweep_id: str) -> list[str]:
    """See `Store.quantities`."""
    asked: Select[Any] = of(select(measured.c.quantity).distinct(), measured.c.run, sweep_id, None)
    return sorted(c.scalars(asked))


def _last(sweep_id: str | None, keys: Sequence[str] | None) -> Subquery:
    """The last step of each run; of a recorded one that of each of its quantities, which it need not log together."""
    only = case((measured.c.run.startswith(MARK), measured.c.quantity), else_="").label("only")
    step = func.max(measured.c.step).label("step")
    asked: Select[Any] = of(select(measured.c.run, only, step), measured.c.run, sweep_id, keys)
    return asked.group_by(measured.c.run, "only").subquery()


def series(c: Connection, keys: Sequence[str], quantities: Sequence[str] | None) -> dict[str, dict[str, np.ndarray]]:
    """See `Store.series`."""
    columns = chunks.c.run, chunks.c.quantity, chunks.c.first, chunks.c.data
    wanted: Select[Any] = of(select(*columns), chunks.c.run, None, keys)
    if quantities is not None:
        wanted = wanted.where(chunks.c.quantity.in_(quantities))
    parts: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[tuple[str, str], int] = defaultdict(int)
    for run, quantity, first, data in c.execute(wanted.order_by(*columns[:3])):
        gap = first - steps[run, quantity]  # steps that a recorder left out
        parts[run][quantity] += [MISSING_STEP * gap, data]
        steps[run, quantity] = first + len(data) // len(MISSING_STEP)
    return {
        run: {q: np.frombuffer(b"".join(pieces), "<f4").copy() for q, pieces in by.items()} for run, by in parts.items()
    }
