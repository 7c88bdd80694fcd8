"""Claims, Estimators, Runs and Take away, and what the Run page does after a study has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.results.claims import claim as claims
from sam_dash.results.drawing import paper
from sam_dash.results.files import bundle
from sam_dash.results.numbers import study as studies
from sam_dash.runs import marks
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.ui import figure, take_away
from sam_dash.ui.fields import query
from tests.synthetic import SWEEP, every, fill
from tests.ui.test_pages import text_of

Visit = Callable[..., AppTest]
KEYS = [r.key for r in SWEEP.runs()]


def links(at: AppTest) -> list[tuple[str, dict[str, Any]]]:
    return [(e.proto.label, e.proto) for e in at.get("page_link")]


def test_every_claim_has_its_verdict_rule_and_link(store: Store, visit: Visit) -> None:
    at = visit("claims", study=fill(store, SWEEP, {KEYS[0]: "diverged"}))
    text = text_of(at)
    for claim in claims.CLAIMS.values():
        assert f"**{claim.says}**" in text
        assert f"Rule: {claim.rule}" in text
    assert "Left out: 1 diverged" in text
    assert "claims are tested at once" in text
    assert [label for label, _ in links(at)].count("See the plot") == len(claims.CLAIMS)
    query = next(p.query_string for label, p in links(at) if label == "See the plot")
    assert f"study={SWEEP.key}" in query
    assert "panels=tr" in query


def test_the_example_ships_with_rw_sam_not_supported() -> None:
    at = AppTest.from_string(
        "from sam_dash.results.claims import verdicts\n"
        "from sam_dash.results.numbers import study\n"
        "from sam_dash.ui import scorecard\n"
        "s = study.from_folder(study.EXAMPLE)\n"
        "found = verdicts.judge(s.finals, 64)\n"
        "scorecard.overview(found, 'caption', s)\n",
        default_timeout=30,
    ).run()
    table = at.dataframe[0].value.set_index("Claim")
    assert table.loc["RW-SAM is more accurate than SAM", "Verdict"] == "✕ not supported"
    assert table.loc["RW-SAM is flatter than SAM (tr(H))", "Verdict"] == "✕ not supported"


def test_hidden_runs_are_left_out_of_figures_and_every_page_says_so(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("runs", study=study, run=[KEYS[0], KEYS[1]])
    at.button(key="hide").click().run()
    assert not at.exception
    assert marks.hidden(store) == set(KEYS[:2])
    assert "2 more hidden by you, excluded" in text_of(visit("sharpness", study=study))
    assert "Left out: 2 hidden by you" in text_of(visit("claims", study=study))
    at = visit("runs", study=study, run=[KEYS[0]])
    assert "27 of 27 runs" in text_of(at)
    at.button(key="unhide").click().run()
    assert marks.hidden(store) == {KEYS[1]}


def test_deleting_takes_a_confirmation(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("runs", study=study, run=KEYS[0])
    assert at.button(key="delete").disabled
    at.checkbox(key="sure").check().run()
    assert store.run(KEYS[0]) is not None
    at.button(key="delete").click().run()
    assert not at.exception
    assert store.run(KEYS[0]) is None
    assert "26 of 26 runs" in text_of(at)


def test_a_note_is_written_shown_and_safe_in_the_csv(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("runs", study=study, run=KEYS[0])
    at.text_area(key=f"note_{KEYS[0]}").input("=HYPERLINK()").run()
    assert marks.notes(store) == {KEYS[0]: "=HYPERLINK()"}
    table = next(d.value for d in at.dataframe if "seed" in d.value and "note" in d.value)
    assert table["note"][0] == "'=HYPERLINK()"
    from sam_dash.results.files import export

    frame = export.runs_frame(store, study).assign(note="=1")
    assert b",'=1" in figure.csv(frame)


def test_two_runs_are_compared_by_what_differs(store: Store, visit: Visit) -> None:
    at = visit("runs", study=fill(store, SWEEP), run=[KEYS[6], KEYS[9]])
    table = next(d.value for d in at.dataframe if "Setting" in d.value)
    assert list(table["Setting"]) == ["m"]
    assert "One pair of runs is one replicate" in text_of(at)
    at.toggle(key="only_different").set_value(False).run()
    assert len(next(d.value for d in at.dataframe if "Setting" in d.value)) > 15


def test_a_run_without_weights_says_so(store: Store, visit: Visit) -> None:
    at = visit("runs", study=fill(store, SWEEP), run=KEYS[0])
    button = next(b for b in at.get("download_button") if b.proto.label == "Weights")
    assert button.proto.disabled
    assert "No weights are kept" in button.proto.help


def test_only_the_missing_cells_are_resumed(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP, {KEYS[0]: "stopped", KEYS[1]: "failed"})
    store.delete([KEYS[2]])
    at = visit("run", study=study)
    resume = at.button(key="resume")
    assert resume.label == "Resume: run the 3 missing"
    resume.click().run()
    assert not at.exception
    assert store.statuses(KEYS[:4]) == dict.fromkeys(KEYS[:3], "queued") | {KEYS[3]: "done"}


def test_a_failure_is_readable_on_the_run_page(store: Store, visit: Visit) -> None:
    at = visit("run", study=fill(store, SWEEP, every(SWEEP, "failed", 2)))
    assert "SGD, seed 0 and 1 more**: RuntimeError: invented failure" in text_of(at)
    assert any("line 2" in c.value for c in at.code)
    assert "Open this run" in [label for label, _ in links(at)]


def test_the_queue_shows_each_place_and_a_single_run_can_be_stopped(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP, {KEYS[0]: "running", KEYS[1]: "queued", KEYS[2]: "queued"})
    at = visit("run", study=study)
    table = next(d.value for d in at.dataframe if "In the queue" in d.value)
    assert list(table["In the queue"][:4]) == ["–", "1 of 2", "2 of 2", "–"]
    at.selectbox(key="stop_which").set_value(KEYS[2]).run()
    at.button(key="stop_one").click().run()
    assert store.statuses(KEYS[1:3]) == {KEYS[1]: "queued", KEYS[2]: "stopped"}


def test_a_study_that_exists_can_be_opened_and_its_command_copied(store: Store, visit: Visit) -> None:
    at = visit("run", network="mlp:8", epochs="2", m=["64", "4"], seeds="2", variants=["SGD", "SAM"])
    assert "You have this study: open it" not in [label for label, _ in links(at)]
    assert any(c.value.startswith("python -m sam_dash run --preset digits") for c in at.code)
    at.button(key="go").click().run()
    store.stop(store.sweeps()[0]["id"])
    at = visit("run", network="mlp:8", epochs="2", m=["64", "4"], seeds="2", variants=["SGD", "SAM"])
    link = next(p for label, p in links(at) if label == "You have this study: open it")
    assert f"study={store.sweeps()[0]['id']}" in link.query_string


def test_the_export_page_has_the_table_and_the_zip(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("export", study=study, interval="SE")
    assert "half of the ± 1 standard error" in text_of(at)
    assert any(c.value.startswith(r"\begin{table}") for c in at.code)
    assert any(c.value.startswith("| Variant | m |") for c in at.code)
    labels = [b.proto.label for b in at.get("download_button")]
    assert {"Download the study", "Download a report", "LaTeX file", "Markdown file"} <= set(labels)


def test_without_a_chrome_print_formats_are_disabled_with_the_reason(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "chrome", lambda: None)
    study = fill(store, SWEEP)
    at = visit("sharpness", study=study)
    buttons = {b.proto.label: b.proto.disabled for b in at.get("download_button")}
    assert buttons["PDF"]
    assert not buttons["CSV"]
    assert paper.NO_CHROME in text_of(at)
    assert f"Without figures: {paper.NO_CHROME}" in text_of(visit("export", study=study))


def test_a_bundle_is_taken_in_and_a_bad_one_is_answered(store: Store, visit: Visit, tmp_path: Any) -> None:
    other = Store(tmp_path / "there.db")
    study = studies.from_store(other, fill(other, SWEEP))
    assert study is not None
    text, sweep = take_away.take_in("a.zip", bundle.write(study, other, None))
    other.close()
    assert text == "a.zip: 27 runs taken in."
    assert "Mean over 3 seeds" in text_of(visit("sharpness", study=sweep))
    with pytest.raises(SpecError, match="not a readable zip"):
        take_away.take_in("b.zip", b"nonsense")


def test_estimators_show_what_did_not_converge(store: Store, visit: Visit) -> None:
    from sqlalchemy import update

    from sam_dash.runs.tables import measurements

    study = fill(store, SWEEP)
    where = measurements.c.run.in_([KEYS[3], KEYS[-1]]) & (measurements.c.quantity == "lam_max")
    with store.write() as c:
        c.execute(update(measurements).where(where).values(converged=False, residual=0.01))
    at = visit("estimators", study=study)
    assert "Not converged: 2 of λ_max (hollow in figures)" in text_of(at)
    loose = next(d.value for d in at.dataframe if "Relative residual" in d.value)
    assert dict(zip(loose["Run"], loose["Setting"], strict=True)) == {KEYS[3]: "n-SAM", KEYS[-1]: "RW-SAM, λ = 1"}
    assert "This study did not ask for it" in text_of(at)
    spec = store.sweep(study)
    assert spec is not None
    wanted = replace(spec, measures=replace(spec.measures, what=(*spec.measures.what, "pyhessian")))
    assert "Set up this study with PyHessian" in [label for label, _ in links(at)]
    form = visit("run", **query(wanted))
    assert f"**{len(wanted.runs())} runs** to train" in text_of(form)
