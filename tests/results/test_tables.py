"""The frame that a figure and its CSV share, on twelve rows made by hand."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.drawing import cells
from sam_dash.results.numbers import further, tables
from sam_dash.results.numbers import study as studies
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


def rows(variant: str, m: float | None, values: list[float], **known: object) -> list[dict[str, object]]:
    """A row a seed, of tr(H)."""
    plain = {"network": "mlp:8", "variant": variant, "m": m, "rho": None, "lam": None, "quantity": "tr_H"}
    more = {"stderr": 0.0, "converged": True, "status": "done"}
    return [plain | more | {"run": f"{variant}{m}{s}", "seed": s, "value": v} | known for s, v in enumerate(values)]


def test_the_error_of_a_mean_is_the_root_mean_square_of_those_known_and_it_converged_where_all_did() -> None:
    finals = pd.DataFrame(rows("sgd", None, [1.0, 2.0, 3.0]) + rows("sam", 4, [1.0, 2.0]) + rows("sam", 1, [5.0]))
    finals["stderr"] = [0.3, 0.4, math.nan, 0.1, 0.1, math.nan]
    finals["converged"] = [True, False, True, True, True, True]
    frame = tables.summary(finals, finals, ("tr_H",))
    means = frame[frame["kind"] == "mean"]
    assert list(means["stderr"])[:2] == pytest.approx([math.sqrt((0.09 + 0.16) / 2), 0.1])
    assert math.isnan(means["stderr"].iloc[2])
    assert list(means["converged"]) == [False, True, True]
    assert list(frame.loc[frame["kind"] == "seed", "converged"]) == list(finals["converged"])


def test_a_mean_is_of_the_finite_values_and_says_how_many_of_the_runs_gave_none() -> None:
    runs = pd.DataFrame(rows("sam", 4, [0.0] * 4) + rows("sam", 1, [0.0] * 2))
    finals = pd.DataFrame(rows("sam", 4, [1.0, math.inf, 3.0]))
    frame = tables.summary(finals, runs, ("tr_H", "tr_V"))
    assert list(frame["kind"]) == ["mean", "seed", "seed"]
    assert (frame["y"][0], frame["n"][0], frame["missing"][0]) == (2.0, 2, 2)
    assert list(frame["seed"][1:]) == [0, 2]


def test_runs_of_two_networks_are_not_pooled() -> None:
    two = pd.DataFrame(rows("sgd", None, [1.0]) + rows("sgd", None, [1.0], network="mlp:9"))
    with pytest.raises(ValueError, match=r"runs of 2 networks \(mlp:8, mlp:9\)"):
        tables.summary(two, two, ("tr_H",))
    tables.one_network(two.drop(columns="network"))
    tables.one_network(two[:1])


def test_full_batches_are_m_b_and_no_m_and_a_variant_swept_over_a_knob_is_left_out() -> None:
    finals = pd.DataFrame(
        rows("sgd", None, [1.0]) + rows("sam", 4, [1.0]) + rows("sam", 1, [1.0], rho=0.1)
        + [r for lam in (0.0, 1.0) for r in rows("rwsam", 4, [1.0], lam=lam)] + rows("asam", 4, [1.0], lam=0.5)
    )  # fmt: skip
    assert list(tables.at_full_batch(finals, 4)["variant"]) == ["sgd", "sam", "rwsam", "rwsam", "asam"]
    kept, runs = tables.without_swept(finals, finals[::-1], "lam")
    assert list(kept["variant"]) == ["sgd", "sam", "sam", "asam"]
    assert list(runs["variant"]) == ["asam", "sam", "sam", "sgd"]


def test_a_curve_is_the_mean_over_the_seeds_that_have_got_there() -> None:
    runs = pd.DataFrame(rows("sam", 4, [0.0] * 2) + rows("sgd", None, [0.0]))
    points = [("sam40", 1, 2.0), ("sam41", 1, 4.0), ("sam40", 2, 6.0), ("sam41", 2, math.nan), ("sgdNone0", 1, 7.0)]
    curves = pd.DataFrame(points, columns=["run", "step", "value"]).assign(quantity="tr_H", epoch=0.5)
    found = tables.curve_means(runs, pd.concat([curves, curves.assign(quantity="tr_V", value=9.0)]), "tr_H")
    assert [(r["variant"], r["step"], r["value"], r["n"]) for r in tables.records(found)] == [
        ("sam", 1, 3.0, 2), ("sam", 2, 6.0, 1), ("sgd", 1, 7.0, 1),
    ]  # fmt: skip


def test_what_is_recorded_at_every_step_is_averaged_and_what_was_not_is_no_row() -> None:
    found = tables.series_means({"a": {"ess": [1.0, 2.0, 6.0], "eps_norm": []}})
    assert tables.records(found) == [{"run": "a", "quantity": "ess", "value": 3.0}]
    assert tables.curves_frame([{"run": "a", "quantity": "tr_H", "value": 1}])["dof"][0] == math.inf


def test_a_slope_takes_two_m() -> None:
    one, two = rows("sam", 4, [1.0, 2.0]), rows("sam", 1, [3.0, 5.0])
    assert tables.slopes(pd.DataFrame(one), ("tr_H",)).empty
    (found,) = tables.records(tables.slopes(pd.DataFrame(one + two + rows("sgd", None, [9.0])), ("tr_H", "tr_V")))
    assert (found["variant"], found["slope"], found["n"], found["levels"]) == ("sam", -1.25, 2, 2)


def test_a_further_sweep_keeps_what_the_study_has_and_adds_to_it() -> None:
    study = frames.study()
    assert further.extended(study, seeds=(2, 3)) == replace(study.spec, seeds=(2, 3))
    one = replace(study, spec=replace(study.spec, measures=replace(study.spec.measures, what=("trace",))))
    more = further.extended(one, variants=("sam", "rwsam"), knobs={"lam": (0.5,)}, measures={"what": ("noise",)})
    assert more.knobs == {"rho": (0.1,), "lam": (0.5,)}
    assert set(more.measures.what) == {*one.spec.measures.what, "noise"} > set(one.spec.measures.what)
    assert further.seeds(replace(study, spec=replace(study.spec, seeds=(0, 2, 5)))) == (1, 3, 4)
    told = [further.seeds_text(replace(study.spec, seeds=tuple(range(n)))) for n in (1, 2)]
    assert told == ["1 further seed", "2 further seeds"]
