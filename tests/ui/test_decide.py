"""The page Decide: nothing yet, a decision under way, and one with its answer."""

from __future__ import annotations

import os

import pytest

from sam_dash.decide.record import folder
from tests.decide import records


@pytest.fixture
def data(store):
    return folder()


def test_without_a_decision_the_page_says_how_to_begin_one(data, visit) -> None:
    at = visit("decide")
    assert [info.value for info in at.info] == ["No decision yet."]
    assert "sam_dash decide my_problem.py" in at.code[0].value


def test_the_answer_is_the_first_sentence_and_the_newest_decision_is_chosen(data, visit) -> None:
    older = records.written(data / "a.jsonl", gain=0.3, margin=0.5, score="acc")
    newer = records.written(data / "b.jsonl")
    os.utime(data / "a.jsonl", (1, 1))
    at = visit("decide")
    box = at.selectbox(key="decision")
    assert box.value.endswith(" · b")
    bold = next(m.value for m in at.markdown if m.value.startswith("**"))
    assert newer.sentence.split(":")[0] in bold
    box.select(box.options[1]).run()
    bold = next(m.value for m in at.markdown if m.value.startswith("**"))
    assert older.sentence.split(":")[0] in bold
    assert not at.exception


def test_one_under_way_says_when_it_was_last_heard_of(data, visit) -> None:
    records.written(data / "a.jsonl", until="look")
    at = visit("decide")
    assert not at.exception
    assert any("Under way. Last line of its record" in c.value for c in at.caption)
    assert any("no look yet" in m.value for m in at.markdown)
    os.utime(data / "a.jsonl", (1, 1))
    assert any("the same again goes on" in c.value for c in visit("decide").caption)


def test_a_problem_whose_name_is_markdown_is_shown_as_it_is(data, visit) -> None:
    records.written(data / "a.jsonl")
    path = data / "a.jsonl"
    path.write_text(path.read_text().replace("tuned settings", "![x](http://a.b/c.png) settings"))
    shown = [m.value for m in visit("decide").markdown if "a.b/c.png" in m.value]
    assert shown
    for text in shown:
        assert "![x](" not in text
