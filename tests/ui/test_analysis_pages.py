"""The analysis pages through app.py: figures equal their CSV, links fill the Run form, controls come from the URL."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from sam_dash.results import words
from sam_dash.results.numbers import beside, further
from sam_dash.results.numbers import study as studies
from sam_dash.results.views import dynamics
from sam_dash.runs import presets, spec
from sam_dash.runs.spec import Measures, RunSpec, SweepSpec, from_dict
from sam_dash.runs.store import Store
from sam_dash.runs.tables import measurements
from sam_dash.ui import fields
from tests import synthetic
from tests.synthetic import SWEEP, every, fill
from tests.ui.test_pages import charts, text_of

Visit = Callable[..., AppTest]
NEW = ("rho_m", "matched", "noise", "dynamics")
RHOS = replace(SWEEP, variants=("sgd", "sam"), knobs={"rho": (0.1, 0.2, 0.4)})


def shown(at: AppTest, column: str) -> Any:
    return next(d.value for d in at.dataframe if column in d.value)


@pytest.mark.parametrize("page", NEW)
@pytest.mark.parametrize("fate", ["failed", "diverged", "stopped"])
def test_where_nothing_finished_there_is_a_reason_and_no_figure(
    store: Store, visit: Visit, page: str, fate: str
) -> None:
    at = visit(page, study=fill(store, SWEEP, every(SWEEP, fate)))
    assert "No run of this study finished" in at.error[0].value
    assert not charts(at)


@pytest.mark.parametrize("page", NEW)
def test_a_partial_study_is_drawn_and_said_to_be_one(store: Store, visit: Visit, page: str) -> None:
    runs = RHOS.runs()
    at = visit(page, study=fill(store, RHOS, {runs[0].key: "failed", runs[-1].key: "queued"}))
    assert "runs finished; 1 queued and 1 failed" in at.info[0].value
    assert charts(at)


@pytest.mark.parametrize("page", NEW)
def test_a_stale_link_is_answered(store: Store, visit: Visit, page: str) -> None:
    fill(store, RHOS)
    assert "There is no study" in visit(page, study="../x").warning[0].value


def test_one_seed_is_said_to_have_no_interval(store: Store, visit: Visit, richer: None) -> None:
    study = fill(store, replace(SWEEP, seeds=(0,)))
    for page in ("noise", "dynamics", "sharpness"):
        captions = [c.value for c in visit(page, study=study).caption if c.value.startswith("Mean over")]
        assert captions
        assert [c for c in captions if not c.startswith("Mean over 1 seed: no interval.")] == []
    assert "Set up this study with 1 further seed" in [
        e.proto.label for e in visit("noise", study=study).get("page_link")
    ]


@pytest.mark.parametrize("seeds", [(0,), (5,), (2**31 - 1,), (0, 1, 3)])
def test_the_link_to_further_seeds_offers_seeds_that_the_study_does_not_have(
    store: Store, visit: Visit, richer: None, seeds: tuple[int, ...]
) -> None:
    study = studies.from_store(store, fill(store, replace(SWEEP, seeds=seeds)))
    assert study is not None
    form = visit("run", **fields.query(further.extended(study, seeds=further.seeds(study))))
    form.button(key="go").click().run()
    made = next(s["spec"] for s in store.sweeps() if s["id"] != study.id)
    assert len(made["seeds"]) == len(seeds)
    assert not set(made["seeds"]) & set(seeds)
    assert len(store.statuses([r.key for r in from_dict(SweepSpec, made).runs()])) == len(made["seeds"]) * 9


@pytest.mark.parametrize("page", [*NEW, "sharpness", "rw_sam"])
def test_one_seed_and_bad_controls_do_no_harm(store: Store, visit: Visit, page: str) -> None:
    study = fill(store, replace(SWEEP, seeds=(0,)))
    at = visit(page, study=study, interval="x", quantity="y", clock="z", ema="7", scale="q", against="w", settings="v")
    assert not at.error


def test_m_train_and_m_eval_have_a_panel(richer: None, store: Store, visit: Visit) -> None:
    at = visit("sharpness", study=fill(store, SWEEP), m_sharpness_tab="Data")
    text = text_of(at)
    assert len(charts(at)) == 2
    assert "Measured at m = 1, the m-sharpness is lowest for SAM, m = 1" in text
    assert "One ascent step of ρ = 0.05 per disjoint micro-batch" in text
    frame = shown(at, "m_train")
    assert set(frame["x"]) == {1, 2, 4, 8}
    assert set(frame["m_train"].dropna()) == {1, 2, 4, 8}


def test_trend_statistics_stand_beside_the_slopes(store: Store, visit: Visit) -> None:
    at = visit("sharpness", study=fill(store, SWEEP))
    table = shown(at, "Page's L")
    assert list(table["Quantity"]) == ["tr(H)", "λ_max", "tr(V)", "Test accuracy", "Accuracy gap", "Train loss"]
    assert table["p (Page, two-sided)"].iloc[0] < 0.001
    assert "at this ρ = 0.1" in text_of(at)


def test_what_was_not_measured_comes_with_a_link_that_measures_it(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("sharpness", study=study)
    assert "m-sharpness was not measured in this study" in text_of(at)
    spec = store.sweep(study)
    assert spec is not None
    wanted = replace(spec, measures=Measures(what=(*spec.measures.what, "m_sharpness")))
    form = visit("run", **fields.query(wanted))
    assert f"**{len(wanted.runs())} runs** to train" in text_of(form)
    form.button(key="go").click().run()
    made = next(s for s in store.sweeps() if s["id"] != study)
    assert made["spec"]["measures"]["what"] == ["trace", "lam_max", "noise", "m_sharpness"]
    assert (made["spec"]["knobs"], made["spec"]["m"]) == ({"rho": [0.1], "lam": [0.0, 0.5, 1.0]}, [8, 4, 2, 1])


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_a_link_fills_the_form_with_its_sweep(store: Store, visit: Visit, name: str) -> None:
    sweep = presets.get(name).sweep
    form = visit("run", **fields.query(sweep))
    form.button(key="go").click().run()
    assert store.sweeps()[0]["id"] == sweep.key


def test_the_map_is_the_frame_of_its_csv(store: Store, visit: Visit) -> None:
    at = visit("rho_m", study=fill(store, RHOS), quantity="tr(H)", rho_m_tab="Data")
    frame = shown(at, "best")
    assert len(frame) == 12
    assert (frame["quantity"] == "tr_H").all()
    assert frame.groupby("m")["best"].sum().tolist() == [1, 1, 1, 1]
    heat = charts(at)[0]["data"][-1]
    assert heat["type"] == "heatmap"
    assert "by the test score of the seeds" in text_of(at)


def test_collapsed_settings_are_grey_and_left_out(store: Store, visit: Visit) -> None:
    gone = {r.key: "diverged" for r in RHOS.runs() if r.variant == "sam" and r.m == 1 and r.knobs["rho"] == 0.4}
    study = fill(store, RHOS, gone)
    at = visit("rho_m", study=study, rho_m_tab="Data")
    frame = shown(at, "best")
    assert frame["collapsed"].sum() == 1
    assert len(charts(at)[0]["data"]) == 2
    sharp = visit("sharpness", study=study, at_rho="0.4")
    assert "Collapsed, and left out of the statements below: SAM, m = 1, ρ = 0.4." in sharp.warning[1].value
    assert "at m = 2" in text_of(sharp)


def test_claims_leave_out_what_sharpness_does_and_count_the_runs_of_their_rho(store: Store, visit: Visit) -> None:
    runs = RHOS.runs()
    gone = {r.key: "diverged" for r in runs if r.m == 1 and r.knobs["rho"] == 0.4 and r.seed < 2}
    study = fill(store, RHOS, gone)
    assert "All 15 runs are judged; none is left out." in text_of(visit("claims", study=study, at_rho="0.1"))
    at, sharp = visit("claims", study=study, at_rho="0.4"), visit("sharpness", study=study, at_rho="0.4")
    assert at.warning[1].value == sharp.warning[1].value
    assert "Left out: 2 diverged, 1 of settings that collapsed." in text_of(at)
    judged, slopes = (shown(p, c).iloc[0] for p, c in ((at, "Verdict"), (sharp, "Change per doubling of m")))
    assert (judged["Claim"], slopes["Quantity"]) == ("Smaller m ends in a smaller tr(H)", "tr(H)")
    assert judged["Effect"] == f"{words.number(-slopes['Change per doubling of m'], keep=True)} per halving of m"


GUESS = {"train_loss": 2.3, "test_acc": 0.1, "tr_H": 1.0, "lam_max": 0.1, "tr_V": 1.0}


def test_where_all_collapsed_that_is_the_reason_given(store: Store, visit: Visit, monkeypatch: Any) -> None:
    monkeypatch.setattr(synthetic, "values", lambda run, share=1.0: GUESS)
    study = fill(store, SWEEP)
    at = visit("matched", study=study)
    assert at.warning[0].value.startswith("Collapsed, and left out of the statements below: SGD")
    assert at.info[0].value == "Every setting here collapsed: there is nothing to match."
    assert "Fewer than two m to compare." in text_of(visit("sharpness", study=study))


def test_of_several_lambdas_the_collapsed_one_is_named(store: Store, visit: Visit) -> None:
    gone = {r.key: "diverged" for r in SWEEP.runs() if r.knobs.get("lam") == 0.5}
    at = visit("matched", study=fill(store, SWEEP, gone))
    assert at.warning[1].value.startswith("Collapsed, and left out of the statements below: RW-SAM, λ = 0.5.")


def test_where_only_sgd_is_left_it_is_compared_with_nothing(store: Store, visit: Visit, monkeypatch: Any) -> None:
    plain = synthetic.values
    monkeypatch.setattr(synthetic, "values", lambda run, share=1.0: GUESS if run.m else plain(run, share))
    text = text_of(visit("matched", study=fill(store, RHOS), at_rho="0.4"))
    assert "SGD alone is left: there is nothing to compare it with." in text
    assert "measured at the end of training only" not in text


def test_one_rho_is_no_map_but_other_studies_count(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("rho_m", study=study)
    assert "This study has one ρ only" in text_of(at)
    assert not charts(at)
    fill(store, RHOS)
    both = visit("rho_m", study=study, pool="true", rho_m_tab="Data")
    assert len(shown(both, "best")) == 12
    assert "all runs of this problem in the store" in text_of(both)


def test_a_study_that_is_too_large_to_be_widened_says_so(store: Store, visit: Visit, monkeypatch) -> None:
    study = fill(store, SWEEP)
    monkeypatch.setattr(spec, "MAX_RUNS", len(SWEEP.runs()))
    at = visit("rho_m", study=study)
    assert [i.value for i in at.info] == [
        "This study lacks what is drawn here, and one that adds it: more than 27 runs in one sweep; narrow an axis."
    ]


def test_runs_that_differ_only_in_their_measures_are_counted_once(store: Store) -> None:
    study = studies.from_store(store, fill(store, SWEEP))
    other = studies.from_store(store, fill(store, replace(SWEEP, measures=Measures(what=("trace",)))))
    assert study is not None
    assert other is not None
    import pandas as pd

    finals, runs = beside.merged(pd.concat([study.finals, other.finals]), pd.concat([study.runs, other.runs]))
    assert len(runs) == len(study.runs)
    assert set(finals["run"]) == set(study.runs["run"])
    assert not finals.duplicated(["run", "quantity"]).any()


def test_matched_compares_with_sgd_stopped_early(store: Store, visit: Visit) -> None:
    at = visit("matched", study=fill(store, SWEEP), matched_tab="Data")
    frame = shown(at, "x_low")
    assert list(frame[frame["kind"] == "sgd"]["epoch"]) == [0, 1, 2, 3, 4]
    assert len(shown(at, "SGD stopped at this train loss (%)")) == 8
    assert {"All runs pooled", "Within SAM"} <= set(shown(at, "Pearson's r")["Runs"])
    assert any(t["name"] == "SGD, stopped early" for t in charts(at)[0]["data"])
    assert "Set up SGD of 1 epochs, annealed" not in text_of(at)


@pytest.mark.parametrize("x", ["Gradient evaluations", "Seconds"])
def test_matched_at_equal_cost_has_a_front(store: Store, visit: Visit, x: str) -> None:
    at = visit("matched", study=fill(store, SWEEP), against=x)
    assert "On the Pareto front of Test accuracy and" in text_of(at)
    assert any(t["name"] == "Pareto front" for t in charts(at)[0]["data"])


def test_sharpness_along_the_way_is_asked_for_where_it_is_missing(store: Store, visit: Visit) -> None:
    at = visit("matched", study=fill(store, SWEEP), quantity="tr(H)")
    assert "tr(H) was measured at the end of training only" in text_of(at)


def test_the_noise_page_shows_the_law_and_counts_missing_scales(richer: None, store: Store, visit: Visit) -> None:
    at = visit("noise", study=fill(store, SWEEP), noise_tab="Data")
    assert "no deviation from tr(V)/m is seen at any of 3 sizes" in text_of(at)
    assert shown(at, "of")["of"].notna().any()
    assert set(shown(at, "Setting")["Seeds with ‖G‖² ≤ 0"]) == {2}
    assert set(shown(at, "Tail index α")["Tail index α"]) == {4.0}
    assert "does not prove a heavy tail" in text_of(at)


def test_the_noise_page_shows_each_layers_share_where_it_was_measured(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fill(store, SWEEP)
    assert "The noise of each layer is not in this study" in text_of(visit("noise", study=study))
    plain = synthetic.values

    def values(run: RunSpec, share: float = 1.0) -> dict[str, float]:
        found = plain(run, share)
        output = 0.3 + 0.1 * (run.variant == "sam") + 0.01 * run.seed
        return found | {
            "layer_noise@hidden1": (1 - output) * found["tr_V"],
            "layer_noise@output": output * found["tr_V"],
        }

    monkeypatch.setattr(synthetic, "values", values)
    study = fill(store, replace(SWEEP, seeds=(3, 4, 5)))
    at = visit("noise", study=study, layers_tab="Data")
    drawn = next(c for c in at.get("plotly_chart") if c.proto.alt.startswith("Each layer's share"))
    assert "Most noise is in hidden1: 56 % to 66 % of tr(V), with 85 % of the parameters (less than that in 3 of 3" in (
        drawn.proto.alt
    )
    frame = shown(at, "layer")
    assert list(frame["line"].unique()) == ["Parameters", "SGD", "SAM, m = B = 8", "SAM, m = 1"]
    assert frame[(frame["line"] == "SGD") & (frame["layer"] == "output")]["y"].iloc[0] == pytest.approx(0.34)
    bars = json.loads(drawn.proto.spec)["data"]
    assert [b["name"] for b in bars] == ["hidden1", "output"]
    assert "The noise of each layer is not in this study" not in text_of(at)
    for page, key in (("sharpness", "panels"), ("rho_m", "quantity"), ("matched", "quantity")):
        at = visit(page, study=study)
        options = [w.options for kind in ("multiselect", "selectbox") for w in at.get(kind) if w.key == key]
        assert len(options) == 1
        assert "tr(V)" in options[0]
        assert not [o for o in options[0] if "hidden1" in o or "output" in o]


def test_noise_without_noise_says_how_to_get_it(store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = synthetic.values
    monkeypatch.setattr(synthetic, "values", lambda r, s=1.0: {k: v for k, v in plain(r, s).items() if k != "tr_V"})
    assert "Gradient noise was not measured in this study" in text_of(visit("noise", study=fill(store, SWEEP)))


def test_dynamics_draws_over_the_clock_of_the_link(store: Store, visit: Visit) -> None:
    study = fill(store, replace(SWEEP, variants=("sgd", "sam"), knobs={"rho": (0.1,)}))
    at = visit("dynamics", study=study, clock="Step", curves=["Test accuracy"], dynamics_tab="Data")
    frame = shown(at, "line")
    assert max(frame["x"]) == 4 * (1000 // 8)
    assert set(frame["panel"]) == {"test_acc"}
    assert len(set(frame["line"])) == 5
    assert "Test accuracy ends lowest for" in text_of(at)


def test_dynamics_has_hollow_markers_where_an_estimate_did_not_converge(store: Store, visit: Visit) -> None:
    sweep = replace(SWEEP, variants=("sgd",), m=(), knobs={})
    study = fill(store, sweep)
    at = visit("dynamics", study=study, curves=["Train loss"])
    assert "Hollow" not in text_of(at)
    with store.write() as c:
        where = (measurements.c.run == sweep.runs()[0].key) & (measurements.c.epoch == 2)
        c.execute(update(measurements).where(where & (measurements.c.quantity == "train_loss")).values(converged=False))
    st.cache_data.clear()
    at = visit("dynamics", study=study, curves=["Train loss"])
    symbols = charts(at)[0]["data"][-1]["marker"]["symbol"]
    assert symbols == ["circle", "circle", "circle-open", "circle", "circle"]
    assert "Hollow: an estimate did not converge" in text_of(at)


def test_what_was_measured_at_the_end_only_is_said_to_be(store: Store, visit: Visit) -> None:
    at = visit("dynamics", study=fill(store, SWEEP))
    assert "tr(H) and tr(V): measured at the end only" in text_of(at)


def test_rw_sam_at_equal_length_and_its_equivalent_m(store: Store, visit: Visit) -> None:
    at = visit("rw_sam", study=fill(store, SWEEP), rw_quantity="tr(H)")
    table = shown(at, "SAM at this ‖ε‖")
    assert list(table["RW-SAM"]) == ["RW-SAM, λ = 0.5", "RW-SAM, λ = 1"]
    assert list(table["Seeds"]) == [3, 3]
    assert list(shown(at, "Equivalent m")["By"]) == ["tr(H)"] * 2
    at = visit("rw_sam", study=fill(store, SWEEP), rw_part="Its weights")
    assert "effective sample size" in text_of(at)
    at = visit("rw_sam", study=fill(store, SWEEP), rw_part="Its modes")
    assert "Not in this study: exact norms, standardised norms and no normalisation" in text_of(at)


def collapse_at_m_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented runs of SAM at m = 1 end at chance, and flat."""
    plain = synthetic.values

    def values(run: RunSpec, share: float = 1.0) -> dict[str, float]:
        if run.variant == "sam" and run.m == 1:
            return plain(run, share) | {"test_acc": 0.1 - 0.001 * run.seed, "tr_H": 1.0 + run.seed}
        return plain(run, share) | ({"tr_H": 10.0 + run.seed} if run.variant == "rwsam" else {})

    monkeypatch.setattr(synthetic, "values", values)


def test_an_equivalent_m_is_not_read_off_collapsed_runs(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapse_at_m_1(monkeypatch)
    at = visit("rw_sam", study=fill(store, SWEEP), rw_quantity="tr(H)")
    table = shown(at, "Equivalent m")
    assert table["Equivalent m"].isna().all()
    assert set(table["Reading"]) == {"outside the range: 3 of 3 seeds below m = 2"}


def test_what_collapsed_is_named_and_left_out_of_what_dynamics_says(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapse_at_m_1(monkeypatch)
    at = visit("dynamics", study=fill(store, SWEEP), curves=["Test accuracy"])
    assert "Collapsed, and left out of the statements below: SAM, m = 1." in at.warning[0].value
    assert "SAM, m = 1" in [t["name"] for t in charts(at)[0]["data"]]
    assert "Test accuracy ends lowest for SGD" in text_of(at)


def test_what_collapsed_is_named_and_left_out_of_noise(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapse_at_m_1(monkeypatch)
    at = visit("noise", study=fill(store, SWEEP))
    assert "Collapsed, and left out of the statements below: SAM, m = 1." in at.warning[0].value
    assert "SAM, m = 1" not in [t["name"] for t in charts(at)[0]["data"]]


def test_noise_has_rw_sam_at_every_lambda(store: Store, visit: Visit) -> None:
    at = visit("noise", study=fill(store, SWEEP), settings=["SGD", "RW-SAM, λ = 0.5"])
    assert {"SGD", "RW-SAM, λ = 0.5"} <= {t["name"] for t in charts(at)[0]["data"]}


def test_the_tenths_of_the_weights_are_drawn_where_they_were_recorded(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = synthetic.per_step

    def per_step(run: RunSpec) -> dict[str, float]:
        tenths = {q: 0.19 if q == "p_tenth@1" else 0.09 for q in words.TENTHS}
        return plain(run) | (tenths if run.variant == "rwsam" else {})

    monkeypatch.setattr(synthetic, "per_step", per_step)
    at = visit("rw_sam", study=fill(store, SWEEP), rw_part="Its weights", tenths_tab="Data", rw_sam_tab="Data")
    drawn = next(c for c in at.get("plotly_chart") if "most weighted tenth" in c.proto.alt)
    assert "λ = 0.5: the most weighted tenth holds 19 % of the weight early and 19 % late (a tie" in drawn.proto.alt
    frame = next(d.value for d in at.dataframe if set(d.value.get("panel", ())) == {"early", "middle", "late"})
    means = frame[frame["kind"] == "mean"]
    assert set(means["line"]) == {"RW-SAM, λ = 0.5", "RW-SAM, λ = 1"}
    assert means["y"].to_numpy() == pytest.approx([0.19 if x == 1 else 0.09 for x in means["x"]])
    assert "p_tenth@1" not in set(shown(at, "quantity")["quantity"])
    assert "was not recorded in this study" not in text_of(at)


def test_without_the_tenths_there_is_a_link_to_seeds_that_have_them(store: Store, visit: Visit) -> None:
    study = fill(store, SWEEP)
    at = visit("rw_sam", study=study, rw_part="Its weights")
    assert "How the weights are spread was not recorded in this study" in text_of(at)
    spec = store.sweep(study)
    assert spec is not None
    form = visit("run", **fields.query(replace(spec, variants=("rwsam",), m=(), seeds=(3, 4, 5))))
    assert "**9 runs** to train" in text_of(form)


def test_lengths_without_sam_come_with_a_link_to_exactly_those_runs(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fill(store, replace(SWEEP, variants=("rwsam",), m=()))
    at = visit("rw_sam", study=study)
    assert "Some lengths have no SAM run on both sides" in text_of(at)
    assert "No m-SAM curve to read it off" in text_of(at)
    spec = store.sweep(study)
    assert spec is not None
    form = visit("run", **fields.query(replace(spec, variants=("sam",), m=(8,), knobs={"rho": (0.09, 0.11)})))
    assert "**6 runs** to train" in text_of(form)


def test_modes_are_compared_seed_by_seed(store: Store, visit: Visit) -> None:
    knobs = {"rho": (0.1,), "lam": (0.5,), "norms": ("one-probe", "exact")}
    sweep = replace(SWEEP, variants=("rwsam", "sam"), knobs=knobs)
    at = visit("rw_sam", study=fill(store, sweep), rw_part="Its modes")
    table = shown(at, "exact minus one-probe, paired")
    assert set(table["Seeds"]) == {3}


def test_every_chart_of_the_new_pages_has_an_alternative_text_with_a_finding(store: Store, visit: Visit) -> None:
    study = fill(store, RHOS)
    for page in NEW:
        for chart in visit(page, study=study).get("plotly_chart"):
            spec = json.loads(chart.proto.spec)
            assert len(chart.proto.alt) > 60, (page, chart.proto.alt)
            assert spec["data"]


def test_the_names_of_the_clocks_and_panels_are_known() -> None:
    assert {words.quantity(q).name for q in words.PANELS} >= {"Accuracy gap"}
    assert list(dynamics.X) == ["Epoch", "Step", "Seconds", "Gradient evaluations"]
