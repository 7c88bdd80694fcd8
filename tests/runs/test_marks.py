"""Notes and hidden runs, and the upgrade of a store from before them."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest

from sam_dash.results.numbers import study as studies
from sam_dash.runs import marks
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill

KEYS = [r.key for r in SWEEP.runs()]


def test_a_note_is_kept_changed_and_taken_away(store: Store) -> None:
    store.submit(SWEEP)
    marks.note(store, KEYS[0], " =1+1 \r\nsecond line")
    assert marks.notes(store) == {KEYS[0]: "=1+1 \nsecond line"}
    marks.note(store, KEYS[0], "")
    assert marks.notes(store) == {}
    marks.note(store, "0123456789ab", "no such run")
    assert marks.notes(store) == {}


@pytest.mark.parametrize(("text", "message"), [("x" * 2001, "2001 characters; at most 2000"), ("a\x00b", "control")])
def test_a_bad_note_is_refused_and_the_old_one_stays(store: Store, text: str, message: str) -> None:
    store.submit(SWEEP)
    marks.note(store, KEYS[0], "old")
    with pytest.raises(SpecError, match=message):
        marks.note(store, KEYS[0], text)
    assert marks.notes(store) == {KEYS[0]: "old"}


def test_a_hidden_run_is_left_out_of_its_study_and_counted_and_comes_back(store: Store) -> None:
    sweep = fill(store, SWEEP)
    marks.hide(store, KEYS[:2])
    assert marks.hidden(store) == set(KEYS[:2])
    study = studies.from_store(store, sweep, marks.hidden(store))
    assert study is not None
    assert (study.hidden, len(study.runs)) == (2, len(KEYS) - 2)
    assert not set(study.finals["run"]) & set(KEYS[:2])
    marks.hide(store, KEYS[:1], False)
    assert marks.hidden(store) == set(KEYS[1:2])


def test_deleting_a_run_deletes_its_marks_and_running_it_again_keeps_them(store: Store) -> None:
    fill(store, SWEEP, {KEYS[1]: "failed"})
    marks.note(store, KEYS[0], "gone soon")
    marks.note(store, KEYS[1], "kept")
    store.requeue([KEYS[1]])
    store.delete([KEYS[0]])
    assert marks.notes(store) == {KEYS[1]: "kept"}


def test_a_store_from_before_the_marks_is_upgraded_with_all_its_runs(tmp_path: Path) -> None:
    old = Store(tmp_path / "old.db")
    fill(old, SWEEP)
    before = old.measurements()
    old.close()
    with sqlite3.connect(tmp_path / "old.db") as c:  # what version 1 was
        c.execute("drop table marks")
        c.execute("update meta set value = '1' where name = 'schema'")
    c.close()
    for _ in range(2):  # and is one of this version from then on
        store = Store(tmp_path / "old.db")
        assert store.measurements() == before or str(store.measurements()) == str(before)
        marks.note(store, KEYS[0], "new")
        assert marks.notes(store) == {KEYS[0]: "new"}
        store.close()


def test_a_store_from_before_degrees_of_freedom_is_upgraded_with_all_its_runs(tmp_path: Path) -> None:
    old = Store(tmp_path / "old.db")
    fill(old, SWEEP)
    before = old.measurements()
    assert len(before) > 10
    old.close()
    with sqlite3.connect(tmp_path / "old.db") as c:  # what version 2 was
        c.execute("alter table measurements drop column dof")
        c.execute("update meta set value = '2' where name = 'schema'")
    c.close()
    for _ in range(2):
        store = Store(tmp_path / "old.db")
        assert str(store.measurements()) == str([row | {"dof": math.inf} for row in before])
        store.close()


def test_an_old_version_number_on_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as c:
        c.execute("create table meta (name varchar(32) primary key, value varchar(32))")
        c.execute("insert into meta values ('schema', '1')")
    c.close()
    with pytest.raises(RuntimeError, match="schema version 1"):
        Store(tmp_path / "x.db")
