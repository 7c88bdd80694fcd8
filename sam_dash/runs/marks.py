"""What a person says of runs: hide one from the figures, write a note. Nothing that was measured changes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.runs.tables import insert_missing, marks, runs

MAX_NOTE = 2000  # characters


def hidden(store: Store) -> frozenset[str]:
    """The keys of the runs that are hidden."""
    with store.read() as c:
        return frozenset(c.scalars(select(marks.c.run).where(marks.c.hidden)))


def hide(store: Store, keys: Sequence[str], hide: bool = True) -> None:
    """Hide runs: figures, tables and verdicts leave them out and say how many they are; or show them again."""
    _set(store, keys, hidden=hide)


def notes(store: Store) -> dict[str, str]:
    """The notes by run, empty ones left out."""
    with store.read() as c:
        return {key: text for key, text in c.execute(select(marks.c.run, marks.c.note).where(marks.c.note != ""))}


def note(store: Store, key: str, text: str) -> None:
    """Write a note on a run, or take it away with an empty text; SpecError for one that is too long or no text."""
    text = text.replace("\r\n", "\n").strip()
    if len(text) > MAX_NOTE:
        raise SpecError(f"a note of {len(text)} characters; at most {MAX_NOTE}")
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        raise SpecError("a note with control characters; write plain text")
    _set(store, [key], note=text)


def _set(store: Store, keys: Sequence[str], **values: bool | str) -> None:
    with store.write() as c:
        there = list(c.scalars(select(runs.c.key).where(runs.c.key.in_(list(keys)))))
        insert_missing(c, marks, [{"run": key, "hidden": False, "note": ""} for key in there])
        c.execute(update(marks).where(marks.c.run.in_(there)).values(**values))
        c.execute(delete(marks).where(marks.c.note == "", marks.c.hidden.is_(False)))
