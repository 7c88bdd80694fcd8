"""Pages on a study of several networks: one at a time, in the URL, and no mean over seeds pools them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store
from sam_dash.ui import fields
from tests import synthetic
from tests.synthetic import SWEEP, every, fill
from tests.ui.test_pages import PAGES, charts, text_of

Visit = Callable[..., AppTest]
NETWORKS = ("mlp:4", "mlp:8")
MANY = replace(SWEEP, networks=NETWORKS)
FIGURES = (
    "study", "sharpness", "m_sharpness", "rho_m", "matched", "correlation", "rw_sam", "weights", "noise", "dynamics",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_a_study_of_several_networks_without_pooling_them(
    store: Store, visit: Visit, page: str
) -> None:
    fill(store, MANY)
    at = visit(page, **{f"{key}_tab": "Data" for key in FIGURES})
    assert not at.error
    assert not at.warning
    for frame in (d.value for d in at.dataframe):
        if {"kind", "n"} <= set(frame):
            assert frame.loc[frame["kind"] == "mean", "n"].max() == 3


def test_the_network_is_chosen_in_the_url_and_its_numbers_are_shown(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = synthetic.values
    width = {"mlp:4": 4, "mlp:8": 8}

    def values(run: RunSpec, share: float = 1.0) -> dict[str, float]:
        return {q: v * width[run.problem.network] for q, v in plain(run, share).items()}

    monkeypatch.setattr(synthetic, "values", values)
    fill(store, MANY)
    first, second = (visit("sharpness", at_network=name, sharpness_tab="Data") for name in NETWORKS)
    assert second.selectbox(key="at_network").value == "mlp:8"
    assert "network mlp:8" in text_of(second)
    assert "this study with this network" in text_of(second)
    shown = [next(d.value for d in at.dataframe if "kind" in d.value) for at in (first, second)]
    assert list(shown[0]["y"]) != list(shown[1]["y"])
    alone = fill(store, replace(SWEEP, problem=replace(SWEEP.problem, network="mlp:8")))
    at = visit("sharpness", study=alone, sharpness_tab="Data")
    assert "at_network" not in [s.key for s in at.selectbox]
    assert list(next(d.value for d in at.dataframe if "kind" in d.value)["y"]) == list(shown[1]["y"])


def test_a_running_study_draws_one_network_and_lists_the_runs_of_all(store: Store, visit: Visit) -> None:
    study = fill(store, MANY, every(MANY, "running", 6) | {MANY.runs()[-1].key: "queued"})
    at = visit("run", study=study)
    assert "Curves of mlp:4, which is furthest of those in training." in text_of(at)
    table = next(d.value for d in at.dataframe if "Progress" in d.value)
    assert set(table["Network"]) == set(NETWORKS)
    assert len(table) == len(MANY.runs())


def test_the_runs_are_listed_with_their_network_and_narrowed_by_it(store: Store, visit: Visit) -> None:
    fill(store, MANY)
    at = visit("runs", runs_network="mlp:8")
    table = next(d.value for d in at.dataframe if "seed" in d.value)
    assert set(table["network"]) == {"mlp:8"}
    assert len(table) == len(MANY.runs()) / 2


def test_the_form_takes_several_networks_and_a_link_fills_it(store: Store, visit: Visit) -> None:
    query: dict[str, Any] = {"network": "mlp:4, mlp:8", "seeds": "2", "epochs": "2", "m": ["64"], "variants": ["SAM"]}
    at = visit("run", **query)
    at.button(key="go").click().run()
    (made,) = store.sweeps()
    assert made["spec"]["networks"] == list(NETWORKS)
    assert len(store.runs(made["id"])) == 4
    assert fields.query(MANY)["network"] == "mlp:4, mlp:8"


def test_all_runs_of_this_problem_are_those_of_the_same_network(store: Store, visit: Visit) -> None:
    fill(store, MANY)
    wider = replace(SWEEP, problem=replace(SWEEP.problem, network="mlp:8"), knobs={"rho": (0.2,)}, variants=("sam",))
    study = fill(store, wider)
    at = visit("rho_m", study=study, pool="true", rho_m_tab="Data")
    assert not at.exception
    assert len(charts(at)) == 1
    frame = next(d.value for d in at.dataframe if "rho" in d.value)
    assert set(frame["rho"]) == {0.1, 0.2}
