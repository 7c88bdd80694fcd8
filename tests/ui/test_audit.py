"""The page Audit: nothing yet, reports that were kept, and one that is uploaded."""

from __future__ import annotations

import json
import os

import pytest

from sam_dash.audit import Line, Report
from sam_dash.audit.kept import KEPT, files, folder, keep, read

WRONG = Line("m", "32, all ranks", "red", "Put the first forward inside no_sync()", "m = 16", "1 - cos 1.6e-12")
GOOD = Line("weights put back", "exactly", "green")
REPORT = Report(32, (0.05, 0.05), True, 0.0, 3, 2, (GOOD, WRONG))


@pytest.fixture
def data(store):
    return folder()


def test_without_a_report_the_page_says_how_to_make_one(data, visit) -> None:
    at = visit("audit")
    assert [info.value for info in at.info] == ["No audit yet."]
    assert "sam_dash audit train.py:audited" in at.code[0].value


def test_what_is_wrong_is_the_first_sentence_and_the_first_card(data, visit) -> None:
    os.utime(keep(Report(8, (0.1,), None, 0.0, 1, 1, (GOOD,)), "old.py:loop"), (1, 1))
    keep(REPORT, "train.py:audited")
    at = visit("audit")
    texts = [m.value for m in at.markdown]
    assert "**m = 32; 1 fault (m): 32, all ranks; expected m = 16.**" in texts
    cards = [i for i, text in enumerate(texts) if "A fault, or" in text or "As it should be" in text]
    assert "A fault" in texts[cards[0]]
    assert "no\\_sync" in texts[cards[0] + 1]
    assert "weights put back" in texts[cards[1] + 1]
    box = at.selectbox(key="audit")
    assert box.value.startswith("train.py:audited · ")
    box.select(box.options[1]).run()
    assert any("m = 8, and nothing is wrong" in m.value for m in at.markdown)


def test_texts_of_strangers_are_shown_as_they_are(data, visit) -> None:
    evil = "![x](http://127.0.0.1/a.png) <b> $x$"
    keep(Report(8, (), None, None, 1, 1, (Line(evil, evil, "amber", evil, evil, evil),)), evil)
    shown = [m.value for m in visit("audit").markdown if "127.0.0.1" in m.value]
    assert len(shown) == 2
    for text in shown:
        assert "![x]" not in text
        assert "\\!\\[x\\]" in text


def test_a_report_is_read_again_as_it_was_written(data) -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT
    path = keep(REPORT, "a.py:b")
    assert read(path).report == REPORT
    path.write_text("{}")
    assert read(path) is None


def test_old_reports_are_forgotten(data, monkeypatch) -> None:
    monkeypatch.setattr("sam_dash.audit.kept.KEPT", 2)
    kept = [keep(REPORT, f"{i}.py:a") for i in range(4)]
    assert KEPT > 2
    assert sorted(files()) == kept[2:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"m": 0}, "m: expected a whole number from 1 on, or null"), ({"m": True}, "m: expected"),
        ({"rho": [0.1, "a"]}, "rho: expected a list of numbers"), ({"steps": 0}, "steps: expected"),
        ({"lines": [{"what": "m"}]}, "lines: expected objects with"), ({"common": 2}, "common: expected"),
        ({"lines": [{**vars(GOOD), "light": "blue"}]}, "light: expected green, amber, red"),
        ({"lines": [{**vars(GOOD), "found": "a" * 2001}]}, "lines: expected short texts"), ({"left": "x"}, "left: "),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_in_one_line(change, said) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        Report.from_json(json.dumps({**json.loads(REPORT.to_json()), **change}))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 10_000, "no JSON"), ("nothing", "no JSON"), ("[]", "an object"), ("{}", "the names m, rho")],
)
def test_what_is_no_json_of_ours_is_refused(text, said) -> None:
    with pytest.raises(ValueError, match=said):
        Report.from_json(text)
    with pytest.raises(ValueError, match=r"2.0 MB; a report has at most 1 MB"):
        Report.from_json(" " * 2_000_000)


def test_the_headline_says_faults_before_doubts_before_m() -> None:
    doubt = Line("ρ", "cannot be told", "amber")
    assert Report(4, (), None, None, 1, 1, (GOOD, doubt)).headline() == "m = 4; 1 doubt (ρ): cannot be told."
    m = Line("m", "4, the local batch", "green")
    assert Report(4, (), None, None, 1, 1, (m,)).headline() == "m = 4, and nothing is wrong: 4, the local batch."
    assert (
        Report(None, (), None, None, 1, 1, (doubt, doubt, WRONG))
        .headline()
        .startswith("m cannot be told; 1 fault (m): ")
    )
