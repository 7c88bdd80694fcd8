"""The zip of a study: complete, read back to the last bit, and nothing else is let in."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from sam_dash.results.files import brought, bundle, gallery
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs import cost
from sam_dash.runs.merge import merge
from sam_dash.runs.spec import SpecError, SweepSpec, from_dict
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill

KEYS = [r.key for r in SWEEP.runs()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    found = Store(tmp_path_factory.mktemp("bundle") / "store.db")
    fill(found, SWEEP, {KEYS[0]: "failed", KEYS[-1]: "queued"})
    yield found
    found.close()


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    found = studies.from_store(store, SWEEP.key)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def content(store: Store, study: Study) -> bytes:
    return bundle.write(study, store, lambda _, kind: kind.encode())


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "other.db")
    yield found
    found.close()


def files(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_it_holds_all_that_repeats_and_explains_the_study(content: bytes, study: Study, store: Store) -> None:
    found = files(content)
    pictures = gallery.pictures(study, bundle.curves(study, store))
    assert {p.name for p in pictures} == {
        "sharpness", "rw-sam", "matched-train-loss", "matched-gradients", "matched-seconds", "correlation", "noise",
        "weights", "dynamics",
    }  # fmt: skip
    figures = {f"figures/{p.name}.{e}" for p in pictures for e in ("svg", "pdf", "csv")}
    plain = {"runs.csv", "curves.csv", "estimators.csv", "config.json", "environment.json", "README.md"}
    assert set(found) == plain | figures | {"table.md", "table.tex"}
    assert from_dict(SweepSpec, json.loads(found["config.json"])).key == SWEEP.key
    readme = found["README.md"].decode()
    assert all(p.caption in readme for p in pictures)
    assert "python -m sam_dash run config.json" in readme
    assert "1 failed" in readme


def test_the_numbers_beside_a_figure_are_those_of_the_figure(content: bytes, study: Study, store: Store) -> None:
    for picture in gallery.pictures(study, bundle.curves(study, store)):
        back = pd.read_csv(io.BytesIO(files(content)[f"figures/{picture.name}.csv"]))
        numbers = [c for c in picture.frame if picture.frame[c].dtype == float]
        assert "y" in numbers
        for c in numbers:
            assert back[c].astype(float).equals(picture.frame[c].reset_index(drop=True)), (picture.name, c)


def test_without_a_chrome_the_zip_says_why_it_has_no_figures(store: Store, study: Study) -> None:
    found = files(bundle.write(study, store, None, "There is no Chrome."))
    assert not any(name.endswith((".svg", ".pdf")) for name in found)
    assert "There is no Chrome." in found["README.md"].decode()


def test_it_is_taken_in_to_the_last_bit(content: bytes, store: Store, other: Store) -> None:
    merged = merge(other, *brought.read("a.zip", content))
    assert len(merged.new) == len(KEYS)
    assert merged.kept == 0
    ours, theirs = store.measurements(keys=KEYS[1:-1]), other.measurements(keys=KEYS[1:-1])
    assert str(ours) == str(theirs)
    a, b = store.series(KEYS), other.series(KEYS)
    assert {r: {q: list(x) for q, x in s.items()} for r, s in a.items()} == {
        r: {q: list(x) for q, x in s.items()} for r, s in b.items()
    }
    status = {r["key"]: r["status"] for r in other.runs(SWEEP.key)}
    assert status[KEYS[0]] == "failed"
    assert status[KEYS[-1]] == "interrupted"  # it was queued there: nothing waits for it here
    assert list(status.values()).count("done") == len(KEYS) - 2


def test_what_is_there_already_is_not_touched(content: bytes, other: Store) -> None:
    fill(other, SWEEP, {KEYS[1]: "diverged"})
    before = str(other.runs()), str(other.measurements())
    merged = merge(other, *brought.read("a.zip", content))
    assert (merged.new, merged.kept) == ([], len(KEYS))
    assert (str(other.runs()), str(other.measurements())) == before


def test_taken_in_twice_is_taken_in_once(content: bytes, other: Store) -> None:
    for _ in range(2):
        merge(other, *brought.read("a.zip", content))
    assert len(other.runs()) == len(KEYS)


def test_imported_runs_do_not_say_how_fast_this_machine_is(content: bytes, other: Store) -> None:
    merge(other, *brought.read("a.zip", content))
    assert other.speed() == cost.UNKNOWN


def test_an_export_without_estimators_is_taken_in_too(content: bytes, other: Store) -> None:
    parts = {k: v for k, v in files(content).items() if k != "estimators.csv"}
    merge(other, *brought.read("a.zip", zipped(parts)))
    assert {m["method"] for m in other.measurements()} == {"imported"}


def _without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda parts: {k: v for k, v in parts.items() if k != name}


def _swap(name: str, old: str, new: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda parts: parts | {name: re.sub(old.encode(), new.encode(), parts[name], count=1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("config.json"), "no config.json in it"),
        (_without("curves.csv"), "no curves.csv in it"),
        (_swap("config.json", r"\{", "{{"), "cannot be read"),
        (_swap("config.json", '"sgd"', '"sgdd"'), "unknown variant"),
        (_swap("runs.csv", KEYS[1], "0123456789ab"), "a run '0123456789ab' that config.json does not describe"),
        (_swap("runs.csv", "failed", "fine"), "a status 'fine'"),
        (_swap("curves.csv", "stderr", "error"), "no column 'stderr'"),
        (_swap("curves.csv", r",0\.0,", ",zero,"), "not all numbers"),
        (lambda p: p | {"more/config.json": p["config.json"]}, "config.json is in it 2 times"),
        (lambda p: p | {f"{i}.txt": b"" for i in range(1001)}, "more than 1000 files"),
    ],
)
def test_a_bad_bundle_is_refused_in_words(
    content: bytes, change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as error:
        brought.read("bad.zip", zipped(change(files(content))))
    assert str(error.value).startswith("bad.zip: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"PK not a zip", b"\x00" * 100])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    with pytest.raises(SpecError, match=r"bad.zip: not a readable zip"):
        brought.read("bad.zip", data)


def test_the_bundled_example_is_a_bundle_too(other: Store) -> None:
    study = studies.from_folder(studies.EXAMPLE)
    assert study is not None
    merged = merge(other, *brought.read("example.zip", bundle.write(study, None, None)))
    back = studies.from_store(other, merged.sweeps[0])
    assert back is not None
    columns = ["run", "quantity", "value"]
    ours = study.finals[study.finals["method"].ne("mean over steps")][columns]
    both = ours.merge(back.finals[columns], on=["run", "quantity"])
    assert len(both) == len(ours)
    assert (both["value_x"] == both["value_y"]).all()
