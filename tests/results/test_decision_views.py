"""The sentences and figures of a decision, against the pairs that it is made of."""

from __future__ import annotations

import pytest

from sam_dash.results.views import halving, race
from tests.decide import records


def test_the_race_draws_every_pair_of_every_look_and_where_further_looks_may_be(tmp_path) -> None:
    at = records.written(tmp_path / "a.jsonl", gain=0.3, margin=0.5, score="acc")
    frame = race.VIEW.frame(at)
    drawn = frame[frame["kind"] == "mean"]
    expected = {(p.sam, of.n, p.mean, p.low, p.high) for of in at.looks for p in of.pairs}
    assert set(zip(*(drawn[c] for c in ("panel", "x", "y", "low", "high")), strict=True)) == expected
    assert set(frame.loc[frame["kind"] == race.PLANNED, "x"]) == set(at.plan.bounds)
    fig = race.VIEW.figure(frame, at, 6)
    levels = [shape.y0 for shape in fig.layout.shapes]
    assert levels == [0.0, at.margin] * len(at.plan.sam)


def test_the_first_sentence_is_the_answer_and_the_others_say_who_is_out_in_the_scores_unit(tmp_path) -> None:
    at = records.written(tmp_path / "a.jsonl", gain=0.3, margin=0.5, score="acc")
    said = race.VIEW.findings(race.VIEW.frame(at), at)
    assert said[0] == at.sentence
    assert said[0].startswith("No: ")
    gone = [(of.n, sam) for of in at.looks for sam in of.out]
    assert len(gone) == 3
    for (n, sam), text in zip(gone, said[1:], strict=True):
        assert text.startswith(f"{sam} is out after {n} seeds: ")
        assert text.endswith(" is below the margin.")
        assert "points [" in text


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("sam", "The finalists are not known yet"), ("look", "no look yet, 21 pairs are planned"),
        ("answer", "After 6 of 21 pairs, over the base finalist that is closest: sam 4: +"),
    ],
)  # fmt: skip
def test_a_decision_under_way_says_how_far_it_is(tmp_path, until, said) -> None:
    at = records.written(tmp_path / "a.jsonl", until=until)
    at.verdict = at.sentence = ""
    assert said in race.standing(at)


def test_halving_names_the_best_and_greys_the_rest(tmp_path) -> None:
    at = records.written(tmp_path / "a.jsonl", score="acc")
    frame = halving.VIEW.frame(at)
    assert len(frame) == sum(len(rung.means) for rungs in at.rungs.values() for rung in rungs)
    kept = {family: set(rungs[-1].kept[:3]) for family, rungs in at.rungs.items()}
    assert set(frame.loc[frame["kept"], "line"]) == {f"{family}: {arm}" for family, of in kept.items() for arm in of}
    fig = halving.VIEW.figure(frame, at, 6)
    assert {trace.name for trace in fig.data if trace.showlegend} == set(frame.loc[frame["kept"], "line"])
    first = halving.VIEW.findings(frame, at)[0]
    best = max(at.rungs["base"][-1].means.items(), key=lambda of: of[1])
    assert first.startswith(f"Best of the base after 12 seeds: {best[0]}, {100 * best[1]:.1f} %.")
    assert "12 s of training" in first


def test_names_are_shortened_by_what_they_share() -> None:
    names = ["sam, rho = 0.1, lr = 0.1, 20 epochs", "sam, rho = 0.2, lr = 0.1, 20 epochs"]
    assert list(race.shortened(names).values()) == ["rho = 0.1", "rho = 0.2"]
    assert race.shortened(["one, alone"]) == {"one, alone": "one, alone"}
