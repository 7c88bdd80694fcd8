"""Names and tags of runs and studies: kept, refused, searched, taken away and taken in, and gone with what had them."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sam_dash.results.files import brought, bundle, export
from sam_dash.results.numbers import study as studies
from sam_dash.runs import labels
from sam_dash.runs.labels import Label
from sam_dash.runs.merge import merge
from sam_dash.runs.spec import SpecError, SweepSpec
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill

KEYS = [r.key for r in SWEEP.runs()]


def test_a_study_and_a_run_keep_their_names_and_tags_and_lose_them(store: Store) -> None:
    store.submit(SWEEP)
    labels.put(store, "study", {SWEEP.key: Label(" Fig.  2 ", ("paper", "paper", "to do"))})
    labels.put(store, "run", {KEYS[0]: Label("=best"), KEYS[1]: Label("", ("odd",)), "0123456789ab": Label("none")})
    assert labels.of(store, "study") == {SWEEP.key: Label("Fig. 2", ("paper", "to do"))}
    assert labels.of(store, "run") == {KEYS[0]: Label("=best"), KEYS[1]: Label("", ("odd",))}
    assert (store.sweeps()[0]["name"], store.sweeps()[0]["tags"]) == ("Fig. 2", ("paper", "to do"))
    study = studies.from_store(store, SWEEP.key)
    assert study is not None
    assert study.name == "Fig. 2"
    labels.put(store, "study", {SWEEP.key: Label()})
    assert labels.of(store, "study") == {}
    assert (store.sweeps()[0]["name"], store.sweeps()[0]["tags"]) == ("", ())


def test_tags_are_added_to_several_runs_and_taken_from_them_and_names_stay(store: Store) -> None:
    store.submit(SWEEP)
    labels.put(store, "run", {KEYS[0]: Label("best", ("old",))})
    labels.tag(store, KEYS[:2], add=("new",), remove=("old",))
    assert labels.of(store, "run") == {KEYS[0]: Label("best", ("new",)), KEYS[1]: Label("", ("new",))}


BAD = {
    "a long name": (Label("x" * 61), "at most 60"),
    "a control character": (Label("a\x00b"), "printable"),
    "no text": (Label(3), "expected a text"),  # type: ignore[arg-type]
    "a long tag": (Label("", ("x" * 31,)), "at most 30"),
    "a comma": (Label("", ("a,b",)), "without a comma"),
    "many tags": (Label("", tuple(map(str, range(13)))), "13 tags; at most 12"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_label_is_refused_and_the_old_one_stays(store: Store, case: str) -> None:
    label, message = BAD[case]
    store.submit(SWEEP)
    labels.put(store, "run", {KEYS[0]: Label("x" * 60, ("y" * 30, *map(str, range(11))))})
    before = labels.of(store, "run")
    with pytest.raises(SpecError, match=message):
        labels.put(store, "run", {KEYS[1]: Label("fine"), KEYS[0]: label})
    assert labels.of(store, "run") == before != {}


def test_what_is_deleted_loses_its_label_and_the_rest_keeps_theirs(store: Store) -> None:
    few = replace(SWEEP, variants=("sgd",), m=(), knobs={})
    fill(store, few)
    other = fill(store, replace(few, seeds=(7,)))
    keys = [r.key for r in few.runs()]
    labels.put(store, "study", {few.key: Label("a"), other: Label("b")})
    labels.put(store, "run", {key: Label(key) for key in keys})
    store.delete(keys[:1])
    assert set(labels.of(store, "run")) == set(keys[1:])
    store.delete(keys[1:])
    assert labels.of(store, "run") == {}
    assert labels.of(store, "study") == {other: Label("b")}


def test_labels_go_with_a_zip_and_what_was_said_there_stays(store: Store, tmp_path: Path) -> None:
    study = studies.from_store(store, fill(store, SWEEP))
    assert study is not None
    assert len(export.write_study(store, study.id, tmp_path / "plain")) == 5
    labels.put(store, "study", {study.id: Label("Fig. 2", ("paper",))})
    labels.put(store, "run", {KEYS[0]: Label("![x](y)"), KEYS[1]: Label("mine")})
    content = bundle.write(study, store, None)
    other = Store(tmp_path / "other.db")
    merge(other, *brought.read("a.zip", content))
    assert labels.of(other, "study") == labels.of(store, "study")
    assert labels.of(other, "run") == labels.of(store, "run")
    labels.put(other, "run", {KEYS[0]: Label("theirs"), KEYS[1]: Label()})
    merge(other, *brought.read("a.zip", content))
    assert labels.of(other, "run") == {KEYS[0]: Label("theirs"), KEYS[1]: Label("mine")}
    other.close()
    written = {path.name for path in export.write_study(store, None, tmp_path / "named")}
    assert "labels.json" in written


@pytest.mark.parametrize(
    "said", [[], {"x": {}}, {"run": 1}, {"run": {"a": 1}}, {"run": {"a": {"name": 1}}}, {"study": []}]
)
def test_labels_of_strangers_are_checked_before_anything_is_taken_in(store: Store, said: object) -> None:
    study = studies.from_store(store, fill(store, SWEEP))
    assert study is not None
    out = io.BytesIO(bundle.write(study, store, None))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("labels.json", json.dumps(said))
    with pytest.raises(SpecError, match=r"bad\.zip: "):
        brought.read("bad.zip", out.getvalue())


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        (SWEEP, "4 variants · 3 λ · 4 m · 3 seeds"),
        (replace(SWEEP, variants=("sam", "rwsam"), knobs={"rho": (0.1, 0.2)}, m=(8, 4, 1)),
         "SAM, RW-SAM · 2 ρ · 3 m · 3 seeds"),
        (SweepSpec(variants=("sgd",), seeds=(0,)), "SGD"),
        (SweepSpec(variants=("sgd",), seeds=(0,), networks=("mlp:4", "mlp:8")), "SGD · 2 networks"),
    ],
)  # fmt: skip
def test_a_study_is_described_by_what_differs(sweep: SweepSpec, line: str) -> None:
    assert studies.differs(sweep) == line
