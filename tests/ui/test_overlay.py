"""Overlays through app.py: all ρ, panels by a setting, other studies and all networks beside; from the URL alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from streamlit.testing.v1 import AppTest

from sam_dash.results.numbers import study as studies
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill
from tests.ui.test_pages import text_of

Visit = Callable[..., AppTest]
RHOS = replace(SWEEP, variants=("sgd", "sam", "rwsam"), m=(8, 1), knobs={"rho": (0.1, 0.2), "lam": (0.0, 1.0)})
WIDE = replace(RHOS, problem=replace(RHOS.problem, network="mlp:16"))
CLEAN = replace(RHOS, problem=replace(RHOS.problem, label_noise=0.0), networks=("mlp:8", "mlp:16"))


def data(at: AppTest) -> Any:
    return next(d.value for d in at.dataframe if "kind" in d.value)


def test_all_rho_are_one_figure_with_its_best_cell_and_tables_of_each_line(store: Store, visit: Visit) -> None:
    study = fill(store, RHOS)
    at = visit("sharpness", study=study, at_rho="All", facet="ρ", sharpness_tab="Data")
    assert set(data(at)["rho"].dropna()) == {0.1, 0.2}
    assert "Test accuracy is highest of 5 settings for SAM, m = 1, ρ = 0." in text_of(at)
    assert "At ρ = 0.1 and 0.2, each drawn by itself." in text_of(at)
    slopes = next(d.value for d in at.dataframe if "Reading" in d.value)
    assert set(slopes["Variant"]) == {"SAM, ρ = 0.1", "SAM, ρ = 0.2"}
    at = visit("rw_sam", study=study, at_rho="All", rw_sam_tab="Data")
    assert set(data(at)["rho"].dropna()) == {0.1, 0.2}
    assert any("of one ρ: choose one above" in i.value for i in at.info)


def test_studies_of_two_networks_and_two_noise_levels_are_one_figure(store: Store, visit: Visit) -> None:
    first, wide, clean = (fill(store, sweep) for sweep in (RHOS, WIDE, CLEAN))
    offered = visit("sharpness", study=first).multiselect(key="beside")
    assert offered.value == []
    assert [o.partition(" · ")[0] for o in offered.options] == [
        "2 networks from mlp:8 to mlp:16, clean labels", "width 16",
    ]  # fmt: skip
    at = visit("sharpness", study=first, at_rho="0.1", sharpness_tab="Data", **{"with": f"{wide},{clean}"})
    names = {f"width {w}, {noise}" for w, noise in ((8, "40 % label noise"), (16, "40 % label noise"),
                                                    (8, "clean labels"), (16, "clean labels"))}  # fmt: skip
    shown = data(at)
    assert set(shown["study"]) == names
    for sweep, name in ((wide, "width 16, 40 % label noise"), (first, "width 8, 40 % label noise")):
        own = studies.from_store(store, sweep)
        assert own is not None
        of = own.finals[(own.finals["variant"] == "sgd") & (own.finals["quantity"] == "tr_H")]
        mean = shown[(shown["study"] == name) & (shown["variant"] == "sgd") & (shown["kind"] == "mean")]
        assert mean.loc[mean["quantity"] == "tr_H", "y"].item() == of["value"].mean()


def test_a_choice_is_kept_from_page_to_page_and_taken_back(store: Store, visit: Visit) -> None:
    first, wide = fill(store, RHOS), fill(store, WIDE)
    at = visit("sharpness", study=first)
    at.multiselect(key="beside").set_value([wide]).run()
    assert not at.exception
    assert at.query_params["with"] == wide
    assert "beside it the same with: width 16" in text_of(at)
    at.multiselect(key="beside").set_value([]).run()
    assert "with" not in at.query_params
    assert "beside it" not in text_of(at)


def test_all_networks_of_a_study_are_one_figure(store: Store, visit: Visit) -> None:
    study = fill(store, CLEAN)
    at = visit("sharpness", study=study, at_network="All", at_rho="All", facet="Study", sharpness_tab="Data")
    assert set(data(at)["study"]) == {"width 8", "width 16"}
