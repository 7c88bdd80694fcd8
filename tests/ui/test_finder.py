"""Studies are named where they are seen, and found again by words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.results.numbers.search import matching
from sam_dash.runs import labels
from sam_dash.runs.labels import Label
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill

Visit = Callable[..., AppTest]
FEW = replace(SWEEP, variants=("sgd",), m=(), knobs={})


def study_box(at: AppTest) -> list[str]:
    return next(s for s in at.selectbox if s.label == "Study").options


def found(at: AppTest) -> list[str]:
    (frame,) = [d.value for d in at.dataframe if "What differs" in d.value]
    return list(frame["Study"])


def test_a_study_is_named_in_place_and_found_by_it_by_its_tags_and_by_its_runs(store: Store, visit: Visit) -> None:
    first, second = fill(store, FEW), fill(store, replace(SWEEP, variants=("sam",), knobs={"rho": (0.1, 0.2)}))
    at = visit("runs", study=first)
    at.text_input(key=f"name_study_{first}").input("Plain SGD").run()
    at.text_input(key=f"tags_study_{first}").input("Base, paper").run()
    assert not at.exception
    assert labels.of(store, "study") == {first: Label("Plain SGD", ("Base", "paper"))}
    labels.put(store, "run", {FEW.runs()[0].key: Label("the odd one")})
    options = study_box(at)
    assert any(option.startswith("Plain SGD · SGD · 3 seeds · 3 runs · ") for option in options)
    assert any("SAM · 2 ρ · 4 m · 3 seeds · 24 runs" in option for option in options)
    for words, ids in (
        ("paper base", [first]), ("ODD one", [first]), ("rho", []), ("2 ρ", [second]), ("", [second, first]),
        ("plain nothing", []),
    ):  # fmt: skip
        assert found(_searched(visit, words)) == ids, words
    assert [s["name"] for s in store.sweeps()] == ["", "Plain SGD"]


def _searched(visit: Visit, words: str) -> AppTest:
    if words:
        return visit("runs", find_study=words)
    at = visit("runs", find_study="x")
    return at.text_input(key="find_study").input("").run()


def test_a_name_that_cannot_be_kept_is_said_and_the_old_one_stays(store: Store, visit: Visit) -> None:
    study = fill(store, FEW)
    labels.put(store, "study", {study: Label("old", ("a",))})
    at = visit("runs", study=study)
    at.text_input(key=f"tags_study_{study}").input("x" * 31).run()
    assert "at most 30" in at.error[0].value
    assert labels.of(store, "study") == {study: Label("old", ("a",))}


@pytest.mark.parametrize(("words", "kept"), [("", [0, 1]), ("b a", [0]), ("(", [1]), ("A", [0]), ("z", [])])
def test_every_word_must_be_there_anywhere(words: str, kept: list[int]) -> None:
    assert list(matching(pd.Series(["ab c", "x(y"]), words).pipe(lambda keep: keep[keep].index)) == kept
