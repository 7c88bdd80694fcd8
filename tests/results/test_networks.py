"""A study of several networks: one at a time, and never pooled in a mean over seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_dash.results import words
from sam_dash.results.claims import claim as claims
from sam_dash.results.drawing import cells
from sam_dash.results.files import brought, bundle, gallery, texts
from sam_dash.results.numbers import recorded, tables
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs.spec import Problem, SweepSpec, Training
from sam_dash.runs.store import Store
from tests.synthetic import fill

SWEEP = SweepSpec(
    variants=("sgd", "sam"), m=(8, 1), seeds=(0, 1, 2), networks=("mlp:4", "mlp:8"),
    problem=Problem(label_noise=0.4), training=Training(batch=8, epochs=2),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store.db"))


@pytest.fixture
def study(store: Store) -> Study:
    found = studies.from_store(store, fill(store, SWEEP))
    assert found is not None
    return found


def test_each_part_holds_the_runs_of_its_network_and_is_the_study_of_that_network_alone(study: Study) -> None:
    parts = study.parts()
    assert [p.network for p in parts] == ["mlp:4", "mlp:8"]
    for part in parts:
        assert set(part.runs["run"]) == {r.key for r in part.spec.runs()}
        assert set(part.finals["run"]) == set(part.runs["run"])
        frame = tables.summary(part.finals, part.runs, words.SHARPNESS)
        assert set(frame.loc[frame["kind"] == "mean", "n"]) == {3}
    assert sum(len(p.runs) for p in parts) == len(study.runs) == 18


def test_a_mean_over_several_networks_is_refused(study: Study) -> None:
    with pytest.raises(ValueError, match=r"runs of 2 networks \(mlp:4, mlp:8\) in one mean"):
        tables.summary(study.finals, study.runs, ("tr_H",))
    with pytest.raises(ValueError, match="2 networks"):
        cells.Looks(study.finals, 8)


def test_hidden_runs_are_counted_by_network(store: Store) -> None:
    gone = [r.key for r in SWEEP.runs() if r.problem.network == "mlp:8"][:2]
    study = studies.from_store(store, fill(store, SWEEP), gone)
    assert study is not None
    assert (study.hidden, study.at("mlp:4").hidden, study.at("mlp:8").hidden) == (2, 0, 2)
    assert claims.left_out(study.runs, set(), study.at("mlp:8").hidden).startswith("Left out: 2 hidden")


def test_tables_and_figures_to_take_away_are_by_network(study: Study) -> None:
    table = texts.results(study)
    assert list(table["Network"]) == ["mlp:4"] * 3 + ["mlp:8"] * 3
    assert set(table["n"]) == {3}
    alone = texts.results(study.at("mlp:8"))
    assert list(table)[1:] == list(alone)
    short = studies.Study(study.id, study.spec, study.runs, study.finals[study.finals["m"].isna()])
    assert list(texts.results(short)) == ["Network", *(c for c in alone if c not in ("m", "ρ"))]
    some = study.finals[study.finals["m"].isna() | (study.finals["network"] == "mlp:8")]
    mixed = texts.results(studies.Study(study.id, study.spec, study.runs, some))
    assert list(mixed) == list(table), "m keeps its place though the first network has none"
    pictures = gallery.pictures(study, recorded.among(tables.curves_frame([])))
    assert [p.name for p in pictures if "sharpness" in p.name] == ["sharpness-mlp-4", "sharpness-mlp-8"]
    assert "with this network" in pictures[0].caption
    assert "2 networks from mlp:4 to mlp:8" in texts.caption(study)
    assert study.name == "digits · mlp:4 … mlp:8"


def test_a_bundle_of_several_networks_is_taken_in_whole(store: Store, study: Study) -> None:
    (sweep,), runs, _ = brought.read("study.zip", bundle.write(study, store, None))
    assert sweep == SWEEP
    assert {r.key for r in runs} == {r.key for r in SWEEP.runs()}


def test_a_study_of_one_network_is_its_own_part(store: Store) -> None:
    study = studies.from_store(store, fill(store, SweepSpec(variants=("sgd",), seeds=(0,))))
    assert study is not None
    assert study.parts() == [study]
