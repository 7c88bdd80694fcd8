"""What strangers send is taken, or refused in one line: some hundred inputs here, ten thousand a door by a command."""

import io
import json
import re
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, update

from sam_dash.problems.arrays import DataError
from sam_dash.problems.own_files import keep
from sam_dash.results.files import brought, export, texts
from sam_dash.runs import merge as merging
from sam_dash.runs.merge import merge
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import SpecError, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import measurements
from tests.strangers.__main__ import tried
from tests.strangers.doors import DOORS, parts

COUNTS = {"specifications": 150, "links": 100, "arrays": 200, "bundles": 40, "audits": 200}
EVIL = "![x](http://127.0.0.1:8798/a.png)"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


@pytest.mark.parametrize("door", DOORS)
def test_a_door_takes_an_input_or_refuses_it_in_one_line(door, tmp_path) -> None:
    found = tried(DOORS[door], tmp_path, COUNTS[door], seed=0)
    assert found["inputs"] >= COUNTS[door] / 2
    assert min(found["taken"], found["refused"]) > 0, "both sides of the door are seen"


def zipped(files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("name", ["curves.csv", "config.json"])
def test_a_bundle_that_is_small_only_as_long_as_it_is_packed_is_refused_before_it_is_unpacked(name) -> None:
    content = zipped(parts() | {name: b"0," * 10**8})
    assert len(content) < 300_000
    before = memory()
    with pytest.raises(SpecError, match=rf"{name} unpacks to \d+ times its size, as no study does"):
        brought.read("a.zip", content)
    assert memory() - before < 20e6


def test_a_bundle_with_more_rows_than_are_taken_in_is_refused_before_they_are_read(monkeypatch) -> None:
    monkeypatch.setattr(brought, "MAX_ROWS", 200)
    line = parts()["curves.csv"].splitlines(keepends=True)[1]
    with pytest.raises(SpecError, match=r"curves.csv has 201 rows; at most 200"):
        brought.read("a.zip", zipped(parts() | {"curves.csv": line * 201}))


def test_arrays_that_are_not_what_they_say_are_refused_before_they_are_unpacked() -> None:
    zeros = io.BytesIO()
    np.savez_compressed(zeros, x_train=np.zeros((300, 10**5), "f4"), y_train=np.zeros(300, "i8"))
    before = memory()
    with pytest.raises(DataError, match=r"unpacks to 120 MB, .* times its size; at most"):
        keep("a.npz", zeros.getvalue())
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + "\n"
    forged = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64
    with pytest.raises(DataError, match=r"x_train.npy says it has 8e\+12 bytes, and has 192"):
        keep("a.npz", zipped({"x_train.npy": forged}))
    assert memory() - before < 150e6


def test_a_study_of_strangers_makes_the_server_read_no_file(tmp_path, monkeypatch) -> None:
    secret = tmp_path / "secret.npz"
    x, y = np.random.default_rng(0).normal(size=(64, 4)), np.arange(64) % 2
    np.savez(secret, x_train=x, y_train=y, x_test=x, y_test=y)
    config = SweepSpec(variants=("sgd",)).to_dict()
    config["problem"] |= {"dataset": f"npz:{secret}", "data_hash": ""}
    opened = []
    through = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: (opened.append(path), through(path, *a, **k))[1])
    content = zipped(parts() | {"config.json": json.dumps(config)})
    with pytest.raises(SpecError, match=r"its data are a file of another machine, 'npz:/"):
        brought.read("a.zip", content)
    with pytest.raises(SpecError, match=r"config.json does not describe"):
        brought.read("a.zip", content, own=True)  # it came past that, on one's own command line
    assert [path for path in opened if path == secret]
    opened.clear()
    with pytest.raises(SpecError):
        brought.read("a.zip", content)
    assert opened == []


# taken in piece by piece


MANY = SweepSpec(variants=("sgd",), seeds=tuple(range(12)), training=Training(epochs=1))


def foreign(rows):
    """Runs with so many numbers each."""
    return [
        merging.Foreign(
            spec.key, "done", "", 1.0,
            [Measurement(i / 7, 0.0, "imported", 1, step=i, epoch=i / 9, quantity="test_acc") for i in range(rows)],
            {"g_norm": np.arange(5, dtype=np.float32)},
        )
        for spec in MANY.runs()
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(("rows", "chunk", "transactions"), [(20, 10_000, 3), (20, 60, 8), (20, 7, 50)])
def test_an_import_holds_the_store_for_a_piece_at_a_time(store, monkeypatch, rows, chunk, transactions) -> None:
    """All at once; two runs a time; and each run in three pieces, with what marks it as half and as whole."""
    monkeypatch.setattr(merging, "CHUNK", chunk)
    began = []
    through = store.write
    monkeypatch.setattr(store, "write", lambda: (began.append(1), through())[1])
    merged = merge(store, [MANY], foreign(rows), source="a.zip")
    assert len(began) == transactions
    assert len(merged.new) == 12
    assert merged.kept == 0
    assert len(store.measurements(MANY.key)) == 12 * rows
    assert [row["key"] for row in store.runs(MANY.key)] == [spec.key for spec in MANY.runs()]
    assert {row["status"] for row in store.runs()} == {"done"}
    assert merge(store, [MANY], foreign(rows), source="a.zip") == ([MANY.key], [], 12)
    assert len(store.measurements(MANY.key)) == 12 * rows


@pytest.mark.parametrize("after", range(2, 9))
def test_an_import_that_was_ended_is_completed_by_the_next_and_shows_nothing_half_as_done(
    store, monkeypatch, after
) -> None:
    monkeypatch.setattr(merging, "CHUNK", 7)
    through, began = store.write, []

    def write():
        began.append(1)
        if len(began) > after:
            raise KeyboardInterrupt
        return through()

    monkeypatch.setattr(store, "write", write)
    with pytest.raises(KeyboardInterrupt):
        merge(store, [MANY], foreign(20), source="a.zip")
    monkeypatch.setattr(store, "write", through)
    for row in store.runs():
        whole = len(store.measurements(keys=[row["key"]])) == 20
        assert row["status"] == ("done" if whole and row["error"] == "" else "interrupted")
    merge(store, [MANY], foreign(20), source="a.zip")
    assert {row["status"] for row in store.runs(MANY.key)} == {"done"}
    assert {len(store.measurements(keys=[spec.key])) for spec in MANY.runs()} == {20}


def test_others_wait_for_an_import_less_than_a_second(store) -> None:
    """Ten thousand rows in one transaction, the most that there is."""
    import time

    held = []
    through = store.write

    class Timed:
        def __enter__(self):
            self.inner = through()
            found = self.inner.__enter__()
            self.since = time.thread_time()
            return found

        def __exit__(self, *of):
            out = self.inner.__exit__(*of)
            held.append(time.thread_time() - self.since)
            return out

    store.write = Timed
    merge(store, [MANY], foreign(3000), source="a.zip")
    assert len(held) == 6
    assert max(held) < 1


# shown


def test_foreign_text_is_text_in_every_table_that_is_written(store) -> None:
    import pandas as pd

    merge(store, [MANY], foreign(2), source="a.zip")
    for preset in ("=cmd|'/c calc'!A1", "+1", "@SUM(A1)", "\t=1", "-2+3"):
        with store.write() as c:
            c.execute(update(studies_table()).values(preset=preset))
            c.execute(insert(measurements).values(
                run=MANY.runs()[0].key, step=9, epoch=1.0, quantity="test_loss", value=1.0, stderr=0.0, method=preset,
                budget=1, converged=True, dof=1.0,
            ))  # fmt: skip
        for frame in (export.runs_frame(store), export.estimators_frame(store), export.curves_frame(store)):
            written = export.csv(frame)
            assert not re.search(r"(^|,)\"?\s*[=+@]", written, re.MULTILINE), written[:400]
        assert f"'{preset}" in export.csv(export.runs_frame(store))
    table = pd.DataFrame({f"a{EVIL}": [EVIL, "<img src=x>", "[a](javascript:b)", "a|b", "`c`"]})
    shown = texts.markdown(table, f"From {EVIL} and <b>.")
    assert "![" not in shown.replace("\\[", "")
    assert "<" not in shown.replace("\\<", "")
    assert r"\textbackslash{}input\{/etc/passwd\}" in texts.latex(pd.DataFrame({"a": ["\\input{/etc/passwd}"]}))


def studies_table():
    from sam_dash.runs.tables import sweeps

    return sweeps
