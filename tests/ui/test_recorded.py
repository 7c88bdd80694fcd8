"""Recorded runs on the pages: live, marked, compared by m, taken away and in again, and never offered to be run."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from sam_dash import cli
from sam_dash.maths.estimate import Estimate
from sam_dash.results.files import brought, bundle, export
from sam_dash.results.numbers import study as studies
from sam_dash.runs.ledger import Entry, Ledger
from sam_dash.runs.merge import merge
from sam_dash.runs.recording import RecordedProblem, RecordedRun, RecordedStudy, RecordedTraining
from sam_dash.runs.report import Measurement
from sam_dash.runs.store import Store

PAGES = ("overview", "sharpness", "rho_m", "matched", "rw_sam", "noise", "dynamics", "claims", "estimators", "runs",
         "export", "experiments", "run")  # fmt: skip
OFFERS = ("resume", "again", "stop", "stop_one")
SETTINGS = {"lr": 0.1, "weight decay": 5e-4}


def study(name: str = "mine", steps_per_epoch: int = 10) -> RecordedStudy:
    training = RecordedTraining(batch=64, steps_per_epoch=steps_per_epoch, settings=SETTINGS)
    return RecordedStudy(name=name, problem=RecordedProblem(network="my CNN"), training=training)


def record(
    store: Store, of: RecordedStudy, m: int | None, seed: int, status: str = "done", variant: str = "sam"
) -> str:
    """Have a run recorded with invented numbers; its key."""
    knobs = {} if variant == "sgd" else {"rho": 0.1}
    one = RecordedRun(name=of.name, variant=variant, m=m, seed=seed, knobs=knobs, training=of.training)
    book, rng = Ledger(store), np.random.default_rng([m or 0, seed])
    book.open(of, one, 40)
    last = 40 if status == "done" else 20
    per_epoch = of.training.steps_per_epoch or math.nan
    rows = []
    for step in range(0, last + 1, 5):
        low = math.exp(-step / 20) * (1 + 0.02 * rng.standard_normal())
        found = {"train_loss": 2 * low, "test_acc": 0.9 - 0.5 * low, "my/metric": low}
        measured = {q: Estimate(v, 0.01 * v, "measured", 64) for q, v in (("tr_H", (m or 99) * low), ("lam_max", low))}
        logged = {q: Estimate(v, math.nan, "logged", 1) for q, v in found.items()}
        rows += Measurement.at(step, step / per_epoch, logged | measured)
    assert book.write(one.key, 1, Entry(last, rows, {"eps_norm": (0, np.full(last, 0.1))}))
    if status != "running":
        book.close(
            one.key, status, "" if status == "done" else "RuntimeError: lost", 2.0, {"torch": "invented"}, "line"
        )
    return one.key


@pytest.fixture
def filled(store: Store) -> RecordedStudy:
    """SGD and SAM at three m, two seeds each, one of them twice, and one that failed."""
    of = study()
    for m, variant in ((None, "sgd"), (64, "sam"), (8, "sam"), (1, "sam")):
        for seed in (0, 1):
            record(store, of, m, seed, variant=variant)
    record(store, of, 8, 0)
    record(store, of, 8, 2, "failed")
    return of


def texts(at) -> str:
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.header, at.subheader)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_draws_recorded_runs_and_offers_none_of_them(visit, filled, page) -> None:
    at = visit(page, study=filled.key)
    assert [b.key for b in at.button if b.key in OFFERS] == []
    links = [e.proto.query_string for e in at.get("page_link") if e.proto.page == "run"]
    assert [link for link in links if "my" in link] == []


def test_the_page_take_away_does_not_say_that_they_can_be_repeated(visit, filled) -> None:
    said = texts(visit("export", study=filled.key))
    assert "they cannot be repeated from it" in said
    assert "repeats it from config.json" not in said


def test_the_picker_and_the_table_say_that_they_are_recorded(visit, filled) -> None:
    at = visit("runs", study=filled.key)
    options = next(b.options for b in at.selectbox if b.label == "Study")
    assert "mine · my CNN · SGD, SAM · 3 m · 3 seeds · 10 recorded runs" in options[0]
    table = next(d.value for d in at.dataframe if "origin" in d.value)
    assert set(table["origin"]) == {"recorded"}
    assert len(table) == 10  # the earlier run of a setting and seed too


def test_sharpness_over_m_is_drawn_of_the_last_run_of_each_setting_and_seed(visit, filled) -> None:
    at = visit("sharpness", study=filled.key)
    said = texts(at)
    assert "Recorded runs: mine, network my CNN, lr 0.1, weight decay 0.0005, B = 64" in said
    assert "clean labels" not in said  # nobody has said so
    assert "1 failed and 1 earlier of a setting and seed that was recorded again, excluded" in said
    assert "tr(H) falls from" in said
    assert len(at.get("plotly_chart")) >= 1


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_a_run_that_has_not_ended_has_its_curves_in_dynamics(visit, store, status) -> None:
    of = study()
    record(store, of, 8, 0, status)
    at = visit("dynamics", study=of.key)
    assert len(at.get("plotly_chart")) == 1
    assert f"1 {status}, each as far as it got" in texts(at)
    assert "not yet included" not in texts(at)
    assert "what has finished so far" not in texts(at)


def test_a_study_of_which_some_runs_go_on_says_that_their_curves_are_drawn(visit, store) -> None:
    of = study()
    record(store, of, 8, 0)
    record(store, of, 8, 1, "running")
    told = "1 of 2 runs finished; 1 running. "
    assert f"{told}The curves show all of them, each as far as it got." in texts(visit("dynamics", study=of.key))
    assert f"{told}The figures show what has finished so far." in texts(visit("sharpness", study=of.key))


def test_a_run_that_said_no_epochs_is_drawn_over_its_steps(visit, store) -> None:
    of = study(steps_per_epoch=0)
    record(store, of, 8, 0)
    at = visit("dynamics", study=of.key)
    assert next(b.value for b in at.selectbox if b.key == "clock") == "Step"
    assert len(at.get("plotly_chart")) == 1


def test_a_running_loop_is_followed_live_and_not_stopped(visit, store) -> None:
    of = study()
    key = record(store, of, 8, 0, "running")
    at = visit("run", study=of.key)
    assert len(at.get("vega_lite_chart")) + len(at.get("arrow_vega_lite_chart")) == 4
    assert [b.key for b in at.button if b.key in OFFERS] == []
    Ledger(store).close(key, "done", "", 1.0, {})


def test_one_run_says_where_it_is_from_and_what_its_recording_took(visit, store, filled) -> None:
    key = store.runs(filled.key)[-1]["key"]
    at = visit("runs", study=filled.key, run=key)
    assert "RuntimeError: lost (step 20 of 40)" in texts(at)
    assert "No weights were saved" in texts(at)


def test_what_is_taken_away_says_recorded_and_is_taken_in_elsewhere(store, filled, tmp_path) -> None:
    of = studies.from_store(store, filled.key)
    content = bundle.write(of, store, None)
    archive = zipfile.ZipFile(io.BytesIO(content))
    files = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist()}
    assert "recorded in loops of their own" in files["README.md"]
    assert "sam_dash run" not in files["README.md"]
    assert "origin" in files["runs.csv"].partition("\n")[0].split(",")
    assert json.loads(files["config.json"])["recorded"] == "mine"
    other = Store(tmp_path / "other.db")
    record(other, filled, 4, 5)  # it has a run of the same study
    merged = merge(other, *brought.read("a.zip", content), source="a.zip")
    assert (merged.sweeps, len(merged.new), merged.kept) == ([filled.key], 10, 0)
    again = studies.from_store(other, filled.key)
    assert len(again.runs) == 10
    assert again.repeated == 1
    assert len(other.sweep(filled.key).runs()) == 11
    mine = of.finals.set_index(["run", "quantity"])["value"].sort_index()
    theirs = again.finals[again.finals["run"].isin(of.runs["run"])].set_index(["run", "quantity"])["value"].sort_index()
    assert theirs.to_dict() == pytest.approx(mine.to_dict())
    assert merge(other, *brought.read("a.zip", content), source="a.zip").new == []
    other.close()


def test_the_command_line_exports_recorded_runs_and_refuses_to_run_them(store, filled, tmp_path, capsys) -> None:
    export.write_study(store, filled.key, tmp_path / "out")
    assert studies.from_folder(tmp_path / "out") is not None
    assert cli.main(["run", str(tmp_path / "out" / "config.json")]) == 2
    assert "recorded in a loop of its own" in capsys.readouterr().err
    assert cli.main(["export", "--out", str(tmp_path / "all"), "--store", store.url]) == 0


def test_methods_of_any_name_are_drawn_by_their_m(visit, store) -> None:
    of = replace(study(), name="theirs")
    for m in (8, 4):
        record(store, of, m, 0, variant="Friendly [SAM](x)")
    at = visit("dynamics", study=of.key)
    assert len(at.get("plotly_chart")) == 1
    frame = studies.from_store(store, of.key).runs
    assert sorted(frame["m"]) == [4, 8]


CSV = (
    b"name,_step,val/acc,train/loss,grad norm,lr\na,1,50,1.5,1,.1\na,2,60,0.5,2,.1\nb,1,55,1.4,1,.1\nb,2,65,0.4,2,.1\n"
)


def upload(visit, content: bytes, name: str = "theirs.csv"):
    at = visit("export")
    uploader = next(e for e in at.get("file_uploader") if e.proto.label == "A CSV of another tool")
    return uploader.upload(name, content, "text/csv").run() if hasattr(uploader, "upload") else None


def test_a_csv_of_another_tool_is_mapped_on_a_form_and_taken_in(visit, store) -> None:
    at = upload(visit, CSV)
    assert at is not None
    boxes = {b.key: b.value for b in at.selectbox if b.key and b.key.startswith("csv_")}
    assert (boxes["csv_run"], boxes["csv_step"], boxes["csv_test_acc"]) == ("name", "_step", "val/acc")
    next(b for b in at.multiselect if b.key == "csv_more").set_value(["grad norm"])
    next(t for t in at.text_input if t.key == "csv_all_variant").set_value("sam")
    next(b for b in at.button if b.key and "csv_go" in b.key).click().run()
    assert not at.exception
    assert "2 runs taken in as recorded elsewhere" in "".join(e.value for e in at.success)
    (sweep,) = store.sweeps()
    found = studies.from_store(store, sweep["id"])
    assert found.name == "theirs"
    assert set(found.finals["quantity"]) == {"test_acc", "train_loss", "grad-norm", "gap_loss", "gap_acc"} & set(
        found.finals["quantity"]
    )
    assert sorted(found.finals.loc[found.finals["quantity"] == "test_acc", "value"]) == [0.6, 0.65]
    table = visit("runs", study=sweep["id"])
    assert {"recorded elsewhere: theirs.csv"} == set(
        next(d.value for d in table.dataframe if "origin" in d.value)["origin"]
    )


@pytest.mark.parametrize("content", [b"", b"\x89PNG\x00", b"a,b\n1\n2,3,4,5\n", b"a\n"])
def test_a_file_that_is_no_csv_is_said_in_one_line_on_the_page(visit, store, content) -> None:
    at = upload(visit, content)
    assert at is not None
    assert not at.exception
    assert len(at.error) == 1
    assert "\n" not in at.error[0].value.strip()
    assert store.sweeps() == []
