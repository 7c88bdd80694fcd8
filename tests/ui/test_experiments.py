"""The page Experiments through app.py: never empty, from its link, and from one's own runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.runs import presets
from sam_dash.runs.store import Store
from tests.synthetic import fill
from tests.ui.test_pages import charts, words

Visit = Callable[..., AppTest]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_link_shows_claim_rule_limits_and_the_runs_that_ship(visit: Visit, name: str) -> None:
    experiment = EXPERIMENTS[name]
    at = visit("experiments", experiment=experiment.title)
    text = words(at)
    assert not at.error
    assert len(charts(at)) == 1
    for part in (experiment.claim, experiment.source, experiment.rule, experiment.limits, "ship with sam-dash"):
        assert part in text


def test_ones_own_runs_of_the_preset_take_the_place_of_those_that_ship(store: Store, visit: Visit) -> None:
    own = fill(store, presets.get("which-sharpness").sweep)
    at = visit("experiments", experiment=EXPERIMENTS["which-sharpness"].title)
    assert not at.exception
    assert f"Your study {own[:6]}" in words(at)
