"""Every page through app.py, on an empty, a tiny, a partial and a failed store, and by stale links."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from streamlit.testing.v1 import AppTest

from sam_dash.problems import own_files
from sam_dash.results import words
from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.files import export
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.views import quality
from sam_dash.runs import gpus, limits, presets
from sam_dash.runs.leases import Leases
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.runs.tables import sweeps
from sam_dash.runs.worker import run_group
from sam_dash.ui import router
from tests.synthetic import SWEEP, every, fill
from tests.ui.conftest import ALONE

PAGES = (
    "overview", "run", "sharpness", "rho_m", "matched", "rw_sam", "noise", "dynamics", "claims", "estimators", "runs",
    "export",
)  # fmt: skip
ROOT = Path(__file__).parents[2]
Visit = Callable[..., AppTest]


def text_of(at: AppTest) -> str:
    """All text of a page."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success")
    return "\n".join(str(e.value) for kind in kinds for e in at.get(kind))


def edited(at: AppTest) -> dict[str, list[str]]:
    """The form's values behind Edit."""
    return parse_qs(next(link.proto.query_string for link in at.get("page_link") if link.proto.label == "Edit"))


def charts(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(c.proto.spec) for c in at.get("plotly_chart")]


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_invites_to_a_first_run(visit: Visit, page: str) -> None:
    at = visit(page)
    text = text_of(at)
    assert len(at.title) == 1
    assert ("**27 runs** to train" if page == "run" else "The default preset takes about a minute") in text
    assert not at.error


@pytest.mark.parametrize("page", PAGES)
def test_a_full_store_shows_a_page_without_warnings(store: Store, visit: Visit, page: str) -> None:
    fill(store, SWEEP)
    at = visit(page)
    assert not at.error
    assert not at.warning


def test_the_sharpness_figure_is_the_frame_of_its_csv(store: Store, visit: Visit) -> None:
    study = studies.from_store(store, fill(store, SWEEP))
    assert study is not None
    at = visit("sharpness", study=study.id, sharpness_tab="Data")
    frame = tables.summary(*tables.without_swept(study.finals, study.runs, "lam"), words.PANELS)
    shown = next(d.value for d in at.dataframe if "kind" in d.value)
    assert list(shown["y"]) == list(frame["y"])
    assert len(charts(at)) == 1
    text = text_of(at)
    assert "Mean over 3 seeds; bars and bands: 95 % t-interval over seeds" in text
    assert "At this ρ = 0.1" in text
    assert "tr(H) falls from" in text


def test_the_numbers_of_a_figure_are_sent_when_their_tab_is_opened(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    closed, opened = (visit("sharpness", study=study, **tab) for tab in ({}, {"sharpness_tab": "Data"}))
    assert charts(closed) == charts(opened)
    assert [closed.get("plotly_chart")[0].proto.alt] == [c.proto.alt for c in opened.get("plotly_chart")]
    assert not any("kind" in d.value for d in closed.dataframe)
    assert len([d for d in opened.dataframe if "kind" in d.value]) == 1


def test_the_interval_comes_from_the_link(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    assert "± 1 standard error over seeds" in text_of(visit("sharpness", study=study, interval="SE"))
    assert "95 % t-interval over seeds" in text_of(visit("sharpness", study=study, interval="nonsense"))


def test_a_difference_is_paired_and_says_so(store: Store, visit: Visit) -> None:
    at = visit("sharpness", study=fill(store, SWEEP), show="Difference from SGD", sharpness_tab="Data")
    assert "Mean difference from SGD, paired by seed, over 3 seeds" in text_of(at)
    sgd = next(d.value for d in at.dataframe if "kind" in d.value).query("variant == 'sgd'")
    assert (sgd["y"] == 0).all()


def test_several_rho_are_shown_one_at_a_time(store: Store, visit: Visit) -> None:
    study = fill(store, replace(SWEEP, variants=("sgd", "sam"), knobs={"rho": (0.1, 0.2)}))
    assert "At this ρ = 0.1;" in text_of(visit("sharpness", study=study))
    at = visit("sharpness", study=study, at_rho="0.2", sharpness_tab="Data")
    assert "At this ρ = 0.2;" in text_of(at)
    assert set(next(d.value for d in at.dataframe if "kind" in d.value)["rho"].dropna()) == {0.2}


def test_modes_of_rw_sam_are_series_of_their_own(store: Store, visit: Visit) -> None:
    knobs = {"rho": (0.1,), "lam": (0.0, 1.0), "norms": ("one-probe", "exact")}
    at = visit("rw_sam", study=fill(store, replace(SWEEP, variants=("rwsam",), knobs=knobs)))
    names = {t["name"] for t in charts(at)[0]["data"]}
    assert names == {"RW-SAM, norms = exact", "RW-SAM, norms = one-probe"}
    assert "RW-SAM, norms = exact: tr(H)" in text_of(at)


def test_rw_sam_shows_effective_sample_size_and_perturbation_length(store: Store, visit: Visit) -> None:
    at = visit("rw_sam", study=fill(store, SWEEP))
    titles = [a["text"] for a in charts(at)[0]["layout"]["annotations"]]
    assert titles[-2:] == ["Effective sample size", "Mean ‖ε‖"]
    assert {"RW-SAM", f"SAM, m = B = {SWEEP.training.batch}", "SGD"} <= {t["name"] for t in charts(at)[0]["data"]}


def test_a_study_without_rw_sam_says_how_to_add_it(store: Store, visit: Visit) -> None:
    at = visit("rw_sam", study=fill(store, replace(SWEEP, variants=("sgd", "sam"), knobs={"rho": (0.1,)})))
    assert "This study has no RW-SAM runs" in text_of(at)
    assert not charts(at)


def test_a_partial_study_plots_what_has_finished_and_says_so(store: Store, visit: Visit) -> None:
    runs = SWEEP.runs()
    fate = {runs[0].key: "failed", runs[1].key: "failed", runs[-1].key: "queued"}
    at = visit("sharpness", study=fill(store, SWEEP, fate))
    assert at.info[0].value.startswith("24 of 27 runs finished; 1 queued and 2 failed")
    text = text_of(at)
    assert "2 failed, excluded; 1 queued, not yet included" in text
    assert len(charts(at)) == 1


@pytest.mark.parametrize("page", ["sharpness", "rw_sam", "run", "claims", "estimators", "export"])
@pytest.mark.parametrize("fate", ["failed", "diverged", "stopped", "interrupted"])
def test_a_study_in_which_nothing_finished_has_no_figure_but_a_reason(
    store: Store, visit: Visit, page: str, fate: str
) -> None:
    at = visit(page, study=fill(store, SWEEP, every(SWEEP, fate)))
    assert "No run of this study finished" in at.error[0].value
    assert f"27 {fate}" in text_of(at)
    assert not charts(at)


@pytest.mark.parametrize("page", ["run", "sharpness", "rw_sam", "claims", "estimators", "runs", "export"])
def test_a_stale_link_is_said_to_be_one(store: Store, visit: Visit, page: str) -> None:
    fill(store, SWEEP)
    at = visit(page, study="../../etc/passwd")
    assert "There is no study “../../etc/passwd” in this store. This is the newest one instead." in at.warning[0].value


def test_a_failed_run_shows_its_message_its_log_and_a_way_to_try_again(store: Store, visit: Visit) -> None:
    key = SWEEP.runs()[0].key
    study = fill(store, SWEEP, {key: "failed"})
    at = visit("runs", study=study, run=key)
    assert "RuntimeError: invented failure" in at.error[0].value
    assert any("line 2" in c.value for c in at.code)
    at.button(key="again").click().run()
    assert store.statuses([key]) == {key: "queued"}


def test_a_link_to_a_run_that_does_not_exist_is_answered(store: Store, visit: Visit) -> None:
    at = visit("runs", study=fill(store, SWEEP), run="../../x")
    assert "There is no run “../../x” among these." in at.warning[0].value


def test_runs_can_be_filtered_by_the_link(store: Store, visit: Visit) -> None:
    at = visit("runs", study=fill(store, SWEEP), runs_variant=["SGD"])
    assert "3 of 27 runs" in text_of(at)


def _no_stop() -> None:
    raise AssertionError("st.stop() drops what a live view was asked")


@pytest.mark.parametrize("page", ["run", "experiments"])
def test_a_page_with_a_live_view_reaches_its_end(
    store: Store, visit: Visit, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = presets.get("which-sharpness").sweep
    study = fill(store, sweep, every(sweep, "running"))
    monkeypatch.setattr(st, "stop", _no_stop)
    assert visit(page, study=study).button(key="stop").label == "Stop study"


def test_a_running_study_shows_progress_counts_and_stop(store: Store, visit: Visit) -> None:
    runs = SWEEP.runs()
    study = fill(store, SWEEP, {runs[0].key: "running", runs[1].key: "queued"})
    at = visit("run", study=study)
    assert "25 of 27 runs finished" in at.get("progress")[0].proto.text
    at.button(key="stop").click().run()
    assert store.statuses([runs[1].key]) == {runs[1].key: "stopped"}


def test_the_form_starts_the_sweep_of_its_link(store: Store, visit: Visit) -> None:
    at = visit("run", network="mlp:8", epochs="2", m=["64", "4"], seeds="2", variants=["SGD", "SAM"])
    assert "**6 runs** to train" in text_of(at)
    at.button(key="go").click().run()
    assert not at.exception
    (sweep,) = store.sweeps()
    assert sweep["counts"] == {"queued": 6}
    assert at.query_params["study"] in (sweep["id"], [sweep["id"]])
    assert sweep["spec"]["problem"]["network"] == "mlp:8"
    assert (sweep["spec"]["m"], sweep["spec"]["seeds"]) == ([64, 4], [0, 1])


def test_a_started_study_takes_the_forms_place_and_edit_brings_its_values_back(store: Store, visit: Visit) -> None:
    at = visit("run", network="mlp:8", epochs="2", m=["64", "4"], seeds="2", variants=["SGD", "SAM"])
    at.button(key="go").click().run()
    assert not [b for b in at.button if b.key == "go"]
    assert "You have this study" not in text_of(at)
    asked = edited(at)
    assert "study" not in asked
    again = visit("run", **asked)
    assert again.text_input(key="network").value == "mlp:8"
    assert sorted(again.session_state["m"]) == [4, 64]
    assert "You have this study" not in [link.proto.label for link in again.get("page_link")]
    watch = [link.proto.label for link in again.get("page_link") if link.proto.label.startswith("Watch ")]
    assert len(watch) == 1
    assert "6 runs · running" in watch[0]


def test_the_overview_starts_the_first_preset_by_one_button_that_says_runs_and_time(store: Store, visit: Visit) -> None:
    at = visit()
    button = at.button(key="yourself")
    assert re.fullmatch(r"Run this yourself \(27 runs, \d+ (s|min)( to \d+ (s|min))?\)", button.label)
    button.click().run()
    assert not at.exception
    (sweep,) = store.sweeps()
    assert (sweep["id"], sweep["counts"]) == (presets.get(presets.FIRST).sweep.key, {"queued": 27})
    assert at.query_params["study"] in (sweep["id"], [sweep["id"]])
    assert visit().button(key="yourself").label == "Watch your 27 runs"


def test_what_is_trained_already_is_opened_by_the_overview(store: Store, visit: Visit) -> None:
    fill(store, presets.get(presets.FIRST).sweep)
    assert visit().button(key="yourself").label == "Open your own 27 runs"


def test_what_a_slow_browser_still_shows_is_not_taken_for_a_choice(store: Store, visit: Visit) -> None:
    """The live view asks for itself each second, with the state of all widgets, be the new ones drawn or not."""
    before = fill(store, SWEEP)
    at = visit("run", study=before)
    box = next(s for s in at.selectbox if s.label == "Study")
    assert box.value == before
    old = at._tree.get_widget_states()
    at = visit("run", network="mlp:8", epochs="2", m=["64", "4"], seeds="2", variants=["SGD", "SAM"])
    at.button(key="go").click().run()
    (started,) = {s["id"] for s in store.sweeps()} - {before}
    at._run(old)
    assert at.query_params["study"] in (started, [started])
    box = next(s for s in at.selectbox if s.label == "Study")
    assert box.value == started
    box.select(before).run()
    assert at.query_params["study"] in (before, [before])
    assert next(s for s in at.selectbox if s.label == "Study").value == before


def of_another_version(store: Store, **columns: str) -> str:
    """A study with a knob that is no more."""
    study, old = fill(store, SWEEP), SWEEP.to_dict() | {"knobs": {"learn": [True]}}
    with store.write() as c:
        c.execute(update(sweeps).where(sweeps.c.id == study).values(spec=json.dumps(old), **columns))
    return study


@pytest.mark.parametrize("page", sorted(set(router.PAGES) - ALONE))
def test_a_study_of_another_version_is_said_to_be_one_and_its_runs_are_not_lost(
    store: Store, visit: Visit, page: str, tmp_path: Path
) -> None:
    study = of_another_version(store)
    at = visit(page, study=study, **({"theory_part": "On a study's runs"} if page == "theory" else {}))
    (told,) = at.error
    assert "This study is of another version of sam-dash" in told.value
    assert "knob 'learn'" in told.value.replace("\\", "")
    assert len(export.write_study(store, study, tmp_path / "out")) == 5
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == len(SWEEP.runs())


def test_an_experiment_leaves_out_a_study_of_another_version(store: Store, visit: Visit) -> None:
    e = EXPERIMENTS["fine-tuning"]
    study = of_another_version(store, preset=e.preset)
    at = visit("experiments", experiment=e.title)
    assert not at.error
    assert study[:6] not in text_of(at)


def test_a_start_that_the_store_refuses_says_so(store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OperationalError("insert", {}, Exception("database or disk is full"))

    at = visit("run", network="mlp:8")
    monkeypatch.setattr(Store, "submit", full)
    at.button(key="go").click().run()
    assert not at.exception
    assert "Nothing was queued: the store failed" in at.error[0].value
    assert store.sweeps() == []


def test_what_is_in_the_store_is_not_counted_again(store: Store, visit: Visit) -> None:
    fill(store, SWEEP)
    query: dict[str, Any] = {"network": "mlp:8", "batch": "8", "epochs": "4", "m": ["8", "4"], "variants": ["SAM"]}
    at = visit("run", **query)
    assert "All 6 runs are in the store already" in text_of(at)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rho", "0.1, x", "ρ = 'x': expected a number in [0, 100]"),
        ("rho", "-1", "ρ = '-1': expected a number in [0, 100]"),
        ("seeds", "many", "seeds = 'many'"),
        ("seeds", "9" * 4999, "expected seeds such as 0-4"),
        ("network", "mlp", "network 'mlp': expected widths"),
        ("batch", "2000", "fewer than one batch of B = 2000"),
    ],
)
def test_a_bad_field_disables_start_and_says_why(visit: Visit, field: str, value: str, message: str) -> None:
    at = visit("run", **{field: value})
    assert message in at.error[0].value.replace("\\", "")
    assert at.button(key="go_off").disabled


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch", "1e400", "batch = '1e400': expected a whole number in [1, 4096]"),
        ("epochs", "inf", "epochs = 'inf': expected a whole number in [1, 10000]"),
        ("epochs", "99999", "epochs = '99999': expected a whole number in [1, 10000]"),
        ("lr", "nan", "lr = 'nan': expected a number in"),
        ("schedule", "step", "schedule = 'step': expected one of cosine, constant"),
    ],
)
def test_what_no_field_can_hold_is_taken_out_of_a_link_and_said(
    visit: Visit, field: str, value: str, message: str
) -> None:
    at = visit("run", **{field: value})
    assert message in at.warning[0].value.replace("\\", "")
    assert not at.button(key="go").disabled
    assert field not in at.query_params


def test_a_number_of_seeds_is_spelled_out_in_the_field(visit: Visit) -> None:
    at = visit("run", seeds="5")
    assert at.text_input(key="seeds").value == "0-4"
    at.text_input(key="seeds").set_value("7").run()
    assert at.text_input(key="seeds").value == "0-6"
    assert "**63 runs** to train" in text_of(at)
    at.text_input(key="seeds").set_value("5-5").run()
    assert "**9 runs** to train" in text_of(at)


@pytest.mark.parametrize("field", ["network", "seeds", "rho", "epochs", "dataset", "study"])
def test_text_of_a_link_is_shown_and_not_run(visit: Visit, store: Store, field: str) -> None:
    fill(store, SWEEP)
    at = visit("run", **{field: "![x](http://127.0.0.1/a.png):red[y]<b>$z$`"})
    shown = [e.value for e in (*at.error, *at.warning)]
    assert shown or field == "dataset"
    for text in shown:
        assert not re.search(r"(?<!\\)[\[\]<>`$]|(?<!\\)!(?=\\?\[)|(?<!\\):(?=red|//)", text), text


@pytest.fixture
def pixels(store: Store, tmp_path: Path) -> str:
    """An uploaded file of images without channels, whole numbers from 0 to 255; its name as a data set."""
    x, y = np.arange(80 * 36).reshape(80, 6, 6).astype(np.uint8), np.arange(80) % 3
    np.savez(tmp_path / "pixels.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return own_files.keep("pixels.npz", (tmp_path / "pixels.npz").read_bytes())


def test_own_data_start_plain_on_the_form_and_it_says_what_it_has_changed(
    store: Store, visit: Visit, pixels: str
) -> None:
    at = visit("run")
    assert at.number_input(key="label_noise").value == 0.4
    at.selectbox(key="dataset").set_value(pixels).run()
    assert not at.exception
    assert at.number_input(key="label_noise").value == 0
    assert at.selectbox(key="scaling").value == "standardise"
    assert "Your own data start plain: label noise 0 (was 0.4), scaling standardise (was none)" in text_of(at)
    assert "uint8 from 0 to 255, mean 1" in text_of(at).replace("\\", "")
    assert not at.warning
    at.selectbox(key="scaling").set_value("none").run()
    assert "Inputs are not scaled: uint8 from 0 to 255" in at.warning[0].value.replace("\\", "")
    at.number_input(key="label_noise").set_value(0.2).run()
    at.button(key="go").click().run()
    made = store.sweeps()[0]["spec"]["problem"]
    assert (made["label_noise"], "scaling" in made, made["dataset"]) == (0.2, False, pixels)
    at = visit("run", **edited(at))
    assert (at.number_input(key="label_noise").value, at.selectbox(key="dataset").value) == (0.2, pixels)
    at.selectbox(key="dataset").set_value("digits").run()
    assert at.selectbox(key="scaling").value == "none"


def test_a_bare_link_to_own_data_starts_plain_too(visit: Visit, pixels: str) -> None:
    at = visit("run", dataset=pixels, preset="escape")
    assert at.selectbox(key="start").value == "init"
    assert at.selectbox(key="scaling").value == "standardise"
    gone = visit("run", dataset="npz:/nowhere.npz")
    assert "expected a built-in one, or an upload of yours" in gone.warning[0].value


def test_a_table_is_used_once_its_column_of_labels_is_named_and_a_bad_one_changes_nothing(visit: Visit) -> None:
    rows = "\n".join(f"{i},{i % 7},{'abc'[i % 3]}" for i in range(100))
    at = visit("run", network="mlp:8", batch="16", m="16")
    at.file_uploader(key="npz_file").set_value(
        ("flowers.csv", f"size,petals,kind\n{rows}\n".encode(), "text/csv")
    ).run()
    assert at.selectbox(key="csv_target").value == "kind", "the last column, where none is called a label"
    next(button for button in at.button if button.label == "Use this table").click().run()
    assert not at.exception
    assert "80 training and 20 test samples, 3 classes" in text_of(at)
    kept = at.selectbox(key="dataset").value
    assert kept in own_files.known()
    at.file_uploader(key="npz_file").set_value(("numbers.csv", b"1,2,3\n4,5,6\n", "text/csv")).run()
    assert any("its first line is numbers" in error.value.replace("\\", "") for error in at.error)
    assert at.selectbox(key="dataset").value == kept


@pytest.mark.parametrize("network", ["cnn:4-4", "mlp:8, cnn:4-4"])
def test_data_and_a_network_that_do_not_fit_disable_start_and_say_why(visit: Visit, pixels: str, network: str) -> None:
    at = visit("run", dataset=pixels, network=network)
    said = at.error[0].value.replace("\\", "")
    assert "needs images of at least 4x4 pixels at every stage, got (1, 6, 6), of which stage 2 sees (2, 2)" in said
    assert at.button(key="go_off").disabled


def test_what_takes_above_a_day_is_asked_for_again(store: Store, visit: Visit, monkeypatch) -> None:
    at = visit("run", network="mlp:8", epochs="2", seeds="2", variants=["SGD"])
    assert "MB of memory a worker" in text_of(at)
    assert not [box for box in at.checkbox if box.key == "long"]
    monkeypatch.setattr(limits, "DAY", 0.01)
    at = visit("run", network="mlp:8", epochs="2", seeds="2", variants=["SGD"])
    assert at.button(key="go").disabled
    at.checkbox(key="long").check().run()
    at.button(key="go").click().run()
    assert store.sweeps()[0]["counts"] == {"queued": 2}


def test_more_memory_than_there_is_disables_start_and_says_so(visit: Visit, monkeypatch) -> None:
    monkeypatch.setattr(limits, "room", lambda: 1000)
    at = visit("run")
    assert "of memory, and this machine has" in at.error[0].value
    assert at.button(key="go_off").disabled


@pytest.mark.parametrize("page", ["run", "experiments", "paper"])
def test_what_is_wrong_in_the_environment_disables_start_and_is_said(visit: Visit, monkeypatch, page: str) -> None:
    monkeypatch.setattr(gpus, "_listed", lambda: [["GPU-a"]])
    monkeypatch.setenv("SAM_DASH_GPU_SLOTS", "many")
    at = visit(page)
    assert "SAM_DASH_GPU_SLOTS = 'many': expected a whole number" in at.error[0].value
    assert at.button(key="go_off").disabled
    monkeypatch.setenv("SAM_DASH_GPU_SLOTS", "2")
    assert not visit(page).error


def test_choosing_a_preset_fills_the_form(visit: Visit) -> None:
    at = visit("run")
    at.selectbox(key="preset").set_value("mnist-cnn").run()
    assert not at.exception
    assert at.text_input(key="network").value == "cnn:12"
    assert at.number_input(key="batch").value == 50
    assert at.text_input(key="rho").value == "0.05"
    assert not at.error


def test_an_unusable_store_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Store) -> None:
    (tmp_path / "file.db").write_text("not a database")
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "file.db"))
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30).run()
    assert not at.exception
    assert "file.db" in at.error[0].value


@pytest.fixture
def example(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> studies.Study:
    """An example folder as `python -m sam_dash export` writes it, of invented numbers."""
    other = Store(tmp_path / "other.db")
    sweep_id = fill(other, SWEEP)
    monkeypatch.setattr(studies, "EXAMPLE", tmp_path / "example")
    export.write_study(other, sweep_id, studies.EXAMPLE)
    study = studies.from_store(other, sweep_id)
    other.close()
    assert study is not None
    return study


def test_the_example_is_read_back_as_it_was_in_its_store(example: studies.Study) -> None:
    read = studies.from_folder(studies.EXAMPLE)
    assert read is not None
    assert read.counts == {"done": 27}
    columns = ["run", "quantity", "value"]
    ours, theirs = (s.finals[columns].sort_values(columns[:2]).reset_index(drop=True) for s in (read, example))
    assert list(ours["run"] + ours["quantity"]) == list(theirs["run"] + theirs["quantity"])
    assert list(ours["value"]) == pytest.approx(list(theirs["value"]), rel=1e-6)
    how = ["quantity", "method", "budget_min", "runs", "error_worst", "not_converged"]
    assert quality.by_quantity(read.finals)[how].equals(quality.by_quantity(example.finals)[how])
    assert quality.UNKNOWN not in set(quality.by_quantity(read.finals)["method"])


def test_the_overview_shows_the_example_and_what_it_does_not_show(example: studies.Study, visit: Visit) -> None:
    at = visit("overview", example_tab="Data")
    frame = tables.summary(*tables.without_swept(example.finals, example.runs, "lam"), words.SHARPNESS)
    assert list(next(d.value for d in at.dataframe if "kind" in d.value)["y"]) == pytest.approx(list(frame["y"]))
    text = text_of(at)
    assert "What it does not show" in text
    assert "memorises fewer wrong labels" in text
    assert "over 3 seeds" in text


@pytest.mark.parametrize("page", ["sharpness", "rw_sam", "claims", "estimators", "runs", "export"])
def test_without_a_study_of_ones_own_the_example_is_there(example: studies.Study, visit: Visit, page: str) -> None:
    at = visit(page, study="example", run=example.runs["run"][0])
    assert not at.error
    assert not at.warning
    assert "27" in text_of(at)


def test_the_run_page_does_not_take_the_example_for_progress(example: studies.Study, visit: Visit) -> None:
    at = visit("run", study="example")
    assert at.button(key="go").label == "Start"
    assert not at.warning
    assert not charts(at)


def test_no_page_imports_torch_or_dask(tmp_path: Path) -> None:
    code = f"""
import os, sys
os.environ["SAM_DASH_STORE"] = {str(tmp_path / "s.db")!r}
from streamlit.testing.v1 import AppTest
from sam_dash.runs import launch
launch.start = lambda *a, **k: type("No", (), {{"alive": True, "close": lambda self: None}})()
from tests.synthetic import SWEEP, fill
from sam_dash.runs.store import Store
fill(Store(), SWEEP)
at = AppTest.from_file("app.py", default_timeout=30).run()
assert not at.exception, at.exception
for page in {PAGES!r}:
    at.switch_page(f"pages/{{page}}.py").run()
    assert not at.exception, (page, at.exception)
bad = [m for m in ("torch", "dask", "distributed", "pyhessian", "sklearn") if m in sys.modules]
assert not bad, bad
print("looked at", len({PAGES!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert f"looked at {len(PAGES)}" in done.stdout, done.stderr[-2000:]


def test_the_spectral_density_of_one_seed_is_drawn_where_it_was_measured(store: Store, visit: Visit) -> None:
    sweep = SweepSpec(
        variants=("sgd", "sam"), m=(8,), seeds=(0, 1), problem=Problem(network="mlp:4"),
        training=Training(epochs=1), measures=Measures(what=("density",)),
    )  # fmt: skip
    store.submit(sweep)
    leases = Leases(store)
    while keys := leases.claim("test"):
        run_group(store.url, keys, "test")
    at = visit("sharpness", study=sweep.key)
    assert not at.exception
    assert "Spectral density of H on the training samples, one seed (0), 2 runs." in text_of(at)
    assert not any("density" in option for option in at.multiselect(key="panels").options)
