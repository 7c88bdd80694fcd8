"""What people call runs and studies: a name and tags of each. Nothing that was measured changes, nor any key.

Names and tags are text of strangers: whoever shows them takes them literally.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from sam_dash.problems.problem import check
from sam_dash.runs.store import Store
from sam_dash.runs.tables import members, run_labels, runs, study_labels, sweeps

MAX_NAME, MAX_TAG, MAX_TAGS = 60, 30, 12
TABLES = {"run": (run_labels, runs.c.key), "study": (study_labels, sweeps.c.id)}
"""Where the labels of each kind are, and the keys that there are."""


class Label(NamedTuple):
    """A name, "" for none, and tags."""

    name: str = ""
    tags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Name and tags in a line, for searching."""
        return " ".join((self.name, *self.tags))


def tags_of(text: str) -> tuple[str, ...]:
    """The tags of a text with commas between them, each once."""
    return tuple(dict.fromkeys(" ".join(tag.split()) for tag in text.split(",") if tag.strip()))


def checked(name: Any, tags: Any) -> Label:
    """A label as it may be kept; SpecError for one that is no text, long, or has control characters."""
    check(isinstance(name, str), f"name = {str(name)[:MAX_NAME]!r}: expected a text")
    check(isinstance(tags, list | tuple), f"tags = {str(tags)[:MAX_NAME]!r}: expected a list of texts")
    name = " ".join(name.split())
    check(
        len(name) <= MAX_NAME and name.isprintable(),
        f"name {name[:MAX_NAME]!r}: expected at most {MAX_NAME} printable characters, got {len(name)}",
    )
    for tag in tags:
        good = isinstance(tag, str) and len(tag) <= MAX_TAG and tag.isprintable() and "," not in tag
        check(good, f"tag {str(tag)[:MAX_TAG]!r}: expected at most {MAX_TAG} printable characters without a comma")
    found = tuple(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    check(len(found) <= MAX_TAGS, f"{len(found)} tags; at most {MAX_TAGS}")
    return Label(name, found)


def of(store: Store, kind: str) -> dict[str, Label]:
    """The labels of runs, or of studies, by key; those without one are left out."""
    with store.read() as c:
        return _of(c, kind)


def of_runs(store: Store) -> dict[str, str]:
    """What the runs of each study are called, as a text to search in; studies without named runs are left out."""
    named = select(members.c.sweep, run_labels.c.name, run_labels.c.tags)
    out: dict[str, str] = {}
    with store.read() as c:
        for study, name, tags in c.execute(named.join(run_labels, members.c.run == run_labels.c.of)):
            out[study] = f"{out.get(study, '')} {name} {tags}"
    return out


def _of(c: Connection, kind: str, where: ColumnElement[bool] | None = None) -> dict[str, Label]:
    table, _ = TABLES[kind]
    rows = select(table.c.of, table.c.name, table.c.tags)
    found = c.execute(rows if where is None else rows.where(where))
    return {of: Label(name, tags_of(tags)) for of, name, tags in found}


def put(store: Store, kind: str, labels: Mapping[str, Label]) -> None:
    """Give these runs, or studies, these labels in the place of what they have; an empty one takes it away.

    SpecError, before anything is changed, for a label that cannot be kept. Keys that there are not are passed over.
    """
    good = {key: checked(*label) for key, label in labels.items()}
    with store.write() as c:
        _put(c, kind, good)


def _put(c: Connection, kind: str, good: Mapping[str, Label]) -> None:
    table, keys = TABLES[kind]
    there = set(c.scalars(select(keys).where(keys.in_(list(good)))))
    c.execute(delete(table).where(table.c.of.in_(there)))
    rows = [
        {"of": key, "name": label.name, "tags": ",".join(label.tags)}
        for key, label in good.items() if key in there and any(label)
    ]  # fmt: skip
    if rows:
        c.execute(insert(table), rows)


def tag(store: Store, keys: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Add tags to runs and take others from them; names stay. SpecError as of `put`."""
    gone, new = set(remove), tuple(add)
    with store.write() as c:
        have = _of(c, "run", run_labels.c.of.in_(list(keys)))
        labels = {key: have.get(key, Label()) for key in keys}
        _put(c, "run", {
            key: checked(of.name, [*(t for t in of.tags if t not in gone), *new]) for key, of in labels.items()
        })  # fmt: skip


def exported(store: Store, studies: Iterable[str], keys: Iterable[str]) -> dict[str, Any]:
    """The labels of some studies and runs as plain JSON values; {} where there are none."""
    found = {}
    for kind, wanted in (("study", set(studies)), ("run", set(keys))):
        found[kind] = {key: label._asdict() for key, label in of(store, kind).items() if key in wanted}
    return found if any(found.values()) else {}


def read(data: Any) -> dict[str, dict[str, Label]]:
    """The labels of `exported`, by kind; SpecError for anything else."""
    check(isinstance(data, Mapping) and set(data) <= set(TABLES), "labels: expected those of studies and runs")
    for rows in data.values():
        check(isinstance(rows, Mapping) and all(isinstance(r, Mapping) for r in rows.values()), "labels: not by key")
    return {
        kind: {str(key): checked(row.get("name", ""), row.get("tags", [])) for key, row in rows.items()}
        for kind, rows in data.items()
    }


def take(store: Store, found: Mapping[str, Mapping[str, Label]]) -> None:
    """Take in labels of what has none here: what was said here stays."""
    for kind, labels in found.items():
        have = of(store, kind)
        put(store, kind, {key: label for key, label in labels.items() if key not in have})
