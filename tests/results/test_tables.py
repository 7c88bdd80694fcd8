"""The frame that a figure and its CSV share, on twelve rows made by hand."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.drawing import cells
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.views import opinions
from sam_dash.runs.store import Store
from tests import synthetic
from tests.results import frames


def mean(frame: pd.DataFrame, quantity: str, variant: str, m: float | None = None) -> pd.Series:
    rows = frame[(frame["kind"] == "mean") & (frame["quantity"] == quantity) & (frame["variant"] == variant)]
    return (rows if m is None else rows[rows["m"] == m]).iloc[0]


def test_twelve_values_give_six_means_and_twelve_dots() -> None:
    frame = frames.summary()
    assert len(frames.study().finals) == 12
    assert frame["kind"].value_counts().to_dict() == {"seed": 12, "mean": 6}


def test_means_and_intervals_are_those_of_the_values() -> None:
    row = mean(frames.summary(), "tr_H", "sam", 4)
    half = float(stats.t.ppf(0.975, 1)) * stats.sem([70, 74])
    assert (row["y"], row["n"], row["missing"]) == (72, 2, 0)
    assert row["high"] == pytest.approx(72 + half)
    assert row["low"] == pytest.approx(72 - half)
    assert row["stderr"] == 0.5


def test_a_failed_run_is_left_out_and_counted() -> None:
    row = mean(frames.summary("failed"), "tr_H", "sam", 1)
    assert (row["y"], row["n"], row["missing"]) == (24, 1, 1)
    assert math.isnan(row["low"])


def test_a_difference_is_taken_within_each_seed() -> None:
    frame = frames.summary(against={"variant": "sgd"})
    assert mean(frame, "tr_H", "sam", 1)["y"] == ((24 - 100) + (25 - 104)) / 2
    assert mean(frame, "tr_H", "sgd")["y"] == 0


def test_a_difference_uses_only_seeds_that_have_the_reference() -> None:
    frame = frames.summary("failed", against={"variant": "sam", "m": 1.0})
    assert mean(frame, "tr_H", "sgd")["n"] == 1


def test_the_csv_gives_back_every_bit() -> None:
    frame = frames.summary()
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    for column in ("y", "low", "high", "n", "m"):
        pd.testing.assert_series_equal(again[column].astype(float), frame[column].astype(float), check_exact=True)


def test_slopes_are_per_variant_and_quantity() -> None:
    rows = tables.slopes(frames.study().finals, ("tr_H", "test_acc")).set_index("quantity")
    assert list(rows["variant"]) == ["sam", "sam"]
    assert rows.loc["tr_H", "slope"] == pytest.approx(((70 - 24) / 2 + (74 - 25) / 2) / 2)
    assert rows.loc["tr_H", "monotone"] == 2


def test_selecting_a_rho_keeps_what_has_none() -> None:
    finals = frames.study().finals
    assert len(tables.select(finals, {"rho": 0.1})) == 12
    assert set(tables.select(finals, {"rho": 0.3})["variant"]) == {"sgd"}


def test_the_second_opinion_is_joined_run_by_run() -> None:
    finals = frames.study().finals
    other = finals[finals["quantity"] == "tr_H"].assign(quantity="tr_H_pyhessian", stderr=2.0)
    rows = opinions.paired(pd.concat([finals, other.assign(value=other["value"] + 1)]))
    assert len(rows) == 6
    assert list(rows["value_pyhessian"] - rows["value"]) == [1.0] * 6
    assert set(rows["stderr_pyhessian"]) == {2.0}
    assert set(opinions.table(rows, cells.Looks(rows, 4))["Setting"]) == {of["line"] for of in cells.Looks(rows, 4)}
    assert opinions.paired(finals).empty


def test_a_study_from_the_store_has_the_final_values_and_the_means_over_steps(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    runs = synthetic.SWEEP.runs()
    study = studies.from_store(store, synthetic.fill(store, synthetic.SWEEP, {runs[0].key: "failed"}))
    assert study is not None
    assert study.counts == {"done": 26, "failed": 1}
    assert runs[0].key not in set(study.finals["run"])
    row = study.finals[(study.finals["run"] == runs[3].key)].set_index("quantity")
    assert row.loc["tr_H", "value"] == pytest.approx(synthetic.values(runs[3])["tr_H"])
    assert row.loc["eps_norm", "value"] == pytest.approx(0.1)
    assert studies.from_store(store, "0" * 12) is None


def test_a_folder_without_an_export_is_no_study(tmp_path: Path) -> None:
    assert studies.from_folder(tmp_path) is None
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "runs.csv").write_text("run,status,seconds\n")
    (tmp_path / "curves.csv").write_text("run,step\n")
    assert studies.from_folder(tmp_path) is None


def test_frames_have_columns_for_the_knobs_that_are_there_and_cells_are_told_apart_by_those() -> None:
    study = frames.study("done")
    every = [*tables.CELL, *tables.knob_names()]
    full = study.runs.reindex(columns=["run", *every])
    assert tables.cell(study.runs) == [c for c in every if c in tables.CELL or full[c].notna().any()]
    assert set(tables.settings(study.runs)) == {*tables.cell(study.runs), *tables.ALWAYS}
    assert tables.settings(study.finals) == tables.settings(study.runs)
    groups = [
        {tuple(of["run"]) for _, of in frame.groupby(by, dropna=False)}
        for frame, by in ((full, every), (study.runs, tables.cell(study.runs)))
    ]
    assert groups[0] == groups[1]


def test_records_are_those_of_pandas() -> None:
    for frame in (frames.study("failed").runs, frames.study().finals, frames.summary()):
        plain = frame.to_dict("records")
        assert repr(tables.records(frame)) == repr(plain)
    assert tables.records(frames.summary()[:0]) == []
