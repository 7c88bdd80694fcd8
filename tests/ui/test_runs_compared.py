"""Runs are filtered, named, compared and pinned on the page Runs; those selected stay selected whatever is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.runs import labels, marks
from sam_dash.runs.labels import Label
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill
from tests.ui.test_pages import charts, text_of

Visit = Callable[..., AppTest]
TWO = replace(SWEEP, variants=("sgd", "sam"), knobs={"rho": (0.1, 0.2)})
RUNS = TWO.runs()


def table(at: AppTest) -> pd.DataFrame:
    return next(d.value for d in at.dataframe if "status" in d.value)


def keys(*, rho: float = 0.1, seeds: tuple[int, ...] = (0, 1)) -> list[str]:
    return [r.key for r in RUNS if r.variant == "sam" and r.knobs["rho"] == rho and r.seed in seeds]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({"runs_m": ["8", "1"], "runs_rho": ["0.2"]}, {(8, 0.2), (1, 0.2)}),
        ({"runs_m": ["–"]}, {(None, None)}),
        ({"runs_status": ["failed"]}, {(8, 0.1)}),
        ({"runs_text": "odd ONE"}, {(4, 0.1)}),
        ({"runs_text": "seed nowhere"}, set()),
    ],
)
def test_runs_are_filtered_by_their_settings_and_found_by_words(
    store: Store, visit: Visit, query: dict[str, object], kept: set[tuple[float | None, float | None]]
) -> None:
    first, odd = keys()[0], keys()[2]
    study = fill(store, TWO, {first: "failed"})
    labels.put(store, "run", {odd: Label("The odd one", ("x",))})
    shown = table(visit("runs", study=study, **query))
    none = lambda v: None if v != v else v  # noqa: E731
    assert {(none(m), none(rho)) for m, rho in zip(shown["m"], shown["rho"], strict=True)} == kept


def test_a_range_of_accuracies_leaves_out_what_is_outside_and_what_has_none(store: Store, visit: Visit) -> None:
    study = fill(store, TWO, {keys()[0]: "failed"})
    at = visit("runs", study=study)
    whole = table(at)
    assert whole["test_acc"].isna().sum() == 1
    slider = at.slider(key="runs_score")
    low, high = slider.value
    shown = table(slider.set_range(75.0, high).run())
    assert len(shown) == (whole["test_acc"] >= 75).sum() < len(whole)
    assert shown["test_acc"].min() >= 75 > low


def test_eight_runs_are_compared_also_those_that_a_filter_hides(store: Store, visit: Visit) -> None:
    study = fill(store, TWO)
    at = visit("runs", study=study, run=keys(), runs_m=["1"])
    assert not at.exception
    text = text_of(at)
    assert "8 runs of 4 settings, of which 2 seeds are common to all" in text
    assert "6 of 27 runs" in text
    assert "6 selected are not among those shown" in text
    assert len({t["name"][0] for t in charts(at)[0]["data"]}) == 8
    paired = next(d.value for d in at.dataframe if "So" in d.value)
    assert set(paired["Seeds"]) == {2}
    assert set(paired["Setting"]) == {"SAM, m = 4", "SAM, m = 2", "SAM, m = 1"}
    assert at.query_params["run"] == keys()
    assert at.multiselect(key="runs_m").value == ["1"]


def test_a_pinned_run_is_the_reference_of_what_is_selected_next_in_other_studies_too(
    store: Store, visit: Visit
) -> None:
    study, other = fill(store, TWO), fill(store, replace(TWO, training=replace(TWO.training, lr=0.05)))
    pinned, second = keys()[0], keys()[2]
    at = visit("runs", study=study, run=[pinned])
    at.button(key="pin").click().run()
    assert at.query_params["reference"] == [pinned] or at.query_params["reference"] == pinned
    theirs = next(r["key"] for r in store.runs(other) if r["spec"]["variant"] == "sam")
    for of, key in ((study, second), (other, theirs)):
        at = visit("runs", study=of, run=[key], reference=pinned)
        assert "A is the reference, pinned." in text_of(at)
        assert at.button(key="unpin")
    at.button(key="unpin").click().run()
    assert "pinned" not in text_of(at)
    assert "reference" not in at.query_params
    at = visit("runs", study=study, run=[second], reference="0123456789ab")
    assert "reference" not in at.query_params


def test_a_run_is_named_and_several_are_tagged_where_they_are_selected(store: Store, visit: Visit) -> None:
    study, (a, b) = fill(store, TWO), keys()[:2]
    marks.note(store, b, "a note")
    at = visit("runs", study=study, run=[a])
    at.text_input(key=f"name_run_{a}").input("My [best](x)").run()
    assert not at.exception
    assert labels.of(store, "run") == {a: Label("My [best](x)")}
    assert table(at).set_index("run").loc[a, "name"] == "My [best](x)"
    at = visit("runs", study=study, run=[a, b])
    assert "My \\[best\\](x)" in text_of(at)
    at.text_input(key="add_tags").input("odd, paper").run()
    assert labels.of(store, "run") == {a: Label("My [best](x)", ("odd", "paper")), b: Label("", ("odd", "paper"))}
    at.text_input(key="remove_tags").input("odd").run()
    assert {of.tags for of in labels.of(store, "run").values()} == {("paper",)}
    assert at.text_input(key="add_tags").value == ""
