"""The page Experiments through app.py: never empty, from its link, and from one's own runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.experiments.paper import RECIPES
from sam_dash.runs import presets
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store
from tests import synthetic
from tests.synthetic import every, fill
from tests.ui.test_pages import charts, text_of

Visit = Callable[..., AppTest]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_link_shows_claim_rule_limits_and_the_runs_that_ship(visit: Visit, name: str) -> None:
    experiment = EXPERIMENTS[name]
    at = visit("experiments", experiment=experiment.title)
    text = text_of(at)
    assert not at.error
    assert len(charts(at)) == 1
    for part in (experiment.claim, experiment.source, experiment.rule, experiment.limits, "ship with sam-dash"):
        assert part in text


def test_ones_own_runs_of_several_networks_are_compared(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = synthetic.values

    def values(run: RunSpec, share: float = 1.0) -> dict[str, float]:
        found, width = plain(run, share), int(run.problem.network.removeprefix("mlp:"))
        return found | {"test_acc": 0.4 + 0.01 * width * (run.variant == "sam")}

    monkeypatch.setattr(synthetic, "values", values)
    wide = presets.get("overparameterisation").sweep
    fill(store, replace(wide, networks=wide.networks[:3], seeds=(0, 1), knobs={"rho": (0.1, 0.2)}))
    at = visit("experiments", experiment=EXPERIMENTS["overparameterisation"].title, result_tab="Data")
    assert not at.error
    assert len(charts(at)) == 1
    frame = next(d.value for d in at.dataframe if "panel" in d.value)
    assert set(frame["x"]) == {310.0, 610.0, 1210.0}
    text = text_of(at)
    assert "SAM, m = B = 64: gain grows with the number of parameters" in text
    assert "Spearman's correlation with d within a seed: +1.00 [+1.00, +1.00], n = 2. From " in text
    assert "points at d = 310 to +" in text


def test_until_ones_own_runs_have_a_result_those_that_ship_are_shown(store: Store, visit: Visit) -> None:
    sweep = presets.get("which-sharpness").sweep
    fill(store, sweep, every(sweep, "stopped"))
    at = visit("experiments", experiment=EXPERIMENTS["which-sharpness"].title)
    text = text_of(at)
    assert "Your study has no result yet" in text
    assert "These runs ship with sam-dash" in text
    assert len(charts(at)) == 1


def test_ones_own_runs_of_the_preset_take_the_place_of_those_that_ship(store: Store, visit: Visit) -> None:
    own = fill(store, presets.get("which-sharpness").sweep)
    at = visit("experiments", experiment=EXPERIMENTS["which-sharpness"].title)
    assert not at.exception
    assert f"Your study {own[:6]}" in text_of(at)


def test_an_experiment_of_several_sweeps_is_started_watched_and_stopped_as_one(store: Store, visit: Visit) -> None:
    experiment = EXPERIMENTS["heavy-tails"]
    sweeps = presets.get("heavy-tails").sweeps
    at = visit("experiments", experiment=experiment.title)
    assert f"**{sum(len(s.runs()) for s in sweeps)} runs** to train" in text_of(at)
    assert "run --preset heavy-tails" in at.code[0].value
    at.button(key="go").click().run()
    assert not at.exception
    assert {row["id"] for row in store.sweeps()} == {s.key for s in sweeps}
    assert f"0 of {len(sweeps)} training settings finished" in text_of(at)
    assert len(charts(at)) == 1, "what ships is shown until there is a result"
    assert "ship with sam-dash" in text_of(at)
    at.button(key="stop_all").click().run()
    assert not at.exception
    assert {status for row in store.sweeps() for status in row["counts"]} == {"stopped"}


def test_ones_own_settings_are_shown_as_far_as_they_have_got(store: Store, visit: Visit) -> None:
    sweeps = presets.get("heavy-tails").sweeps
    own = [fill(store, replace(sweep, seeds=(0, 1)), quantities={"w_tail": 4.0}) for sweep in sweeps[:4]]
    at = visit("experiments", experiment=EXPERIMENTS["heavy-tails"].title)
    assert not at.exception
    text = text_of(at)
    assert all(key[:6] in text for key in own)
    assert "the tail index falls with the learning rate, at B = 16" in text
    assert "Batch size, at lr" not in text


@pytest.mark.parametrize("key", RECIPES)
def test_a_recipe_of_the_paper_shows_its_claim_its_numbers_and_our_runs(visit: Visit, key: str) -> None:
    recipe = RECIPES[key]
    at = visit("paper", recipe=recipe.title)
    text = text_of(at)
    assert not at.error
    assert len(charts(at)) == 1
    for part in (recipe.claim, recipe.at_scale, recipe.rule, recipe.limits, "ship with sam-dash"):
        assert part in text
    tables = [d.value for d in at.dataframe if "RW-SAM" in d.value]
    assert [len(t) for t in tables] == [len({n.setting for n in recipe.numbers})] * bool(recipe.numbers)


def test_a_recipe_is_started_by_its_button_and_then_shows_ones_own_runs(store: Store, visit: Visit) -> None:
    recipe = RECIPES["paper-noise"]
    at = visit("paper", recipe=recipe.title)
    assert at.code[0].value == "python -m sam_dash paper --only paper-noise"
    at.button(key="go").click().run()
    assert not at.exception
    assert {row["id"] for row in store.sweeps()} == {s.key for s in recipe.sweeps}


def test_ones_own_runs_of_a_recipe_take_the_place_of_those_that_ship(store: Store, visit: Visit) -> None:
    recipe = RECIPES["paper-fine-tuning"]
    own = [fill(store, sweep) for sweep in recipe.sweeps]
    text = text_of(visit("paper", recipe=recipe.title))
    assert all(sweep_id[:6] in text for sweep_id in own)
