"""Recorded runs beside the engine's: a key of their own, a place in the store, and nothing that could repeat them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sam_dash.maths.estimate import Estimate
from sam_dash.problems.problem import Problem
from sam_dash.results.numbers import recorded, tables
from sam_dash.results.numbers import study as studies
from sam_dash.runs import cost
from sam_dash.runs.leases import Leases
from sam_dash.runs.ledger import Entry, Ledger
from sam_dash.runs.recording import RecordedRun, RecordedStudy, RecordedTraining, is_recorded, sweep_from
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import RunSpec, SpecError, SweepSpec
from sam_dash.runs.store import Store

TRAINING = RecordedTraining(batch=64, steps_per_epoch=10, settings={"lr": 0.1, "augment": True})
STUDY = RecordedStudy(name="mine", training=TRAINING)


def run(m: int | None = 8, seed: int = 0, variant: str = "sam", **knobs: float) -> RecordedRun:
    return RecordedRun(name="mine", variant=variant, m=m, seed=seed, knobs=knobs, training=TRAINING)


def record(store: Store, one: RecordedRun, study: RecordedStudy = STUDY, status: str = "done", **values: float) -> str:
    """Have a run recorded with these values at its step 10; its key."""
    book = Ledger(store)
    book.open(study, one, 10)
    found = {name: Estimate(value, math.nan, "logged", 1) for name, value in values.items()}
    assert book.write(one.key, 1, Entry(10, Measurement.at(10, 1.0, found)))
    if status != "running":
        book.close(one.key, status, "", 2.0, {})
    return one.key


def test_no_recorded_key_can_be_that_of_a_run_that_is_made_here() -> None:
    keys = {run().key for _ in range(100)}
    assert len(keys) == 100  # equal words, different runs
    assert all(is_recorded(key) and len(key) == 12 for key in (*keys, STUDY.key))
    with pytest.raises(ValueError, match="invalid literal"):
        int(next(iter(keys)), 16)  # as every other key can be read
    for spec in (RunSpec(variant="sgd"), SweepSpec()):
        assert not is_recorded(spec.key)
        int(spec.key, 16)


def test_runs_that_share_name_network_batch_and_settings_meet_in_one_study() -> None:
    assert replace(STUDY, recorded=(run(),)).key == STUDY.key
    others = [
        replace(STUDY, name="other"),
        replace(STUDY, problem=replace(STUDY.problem, network="cnn")),
        replace(STUDY, training=replace(TRAINING, batch=32)),
        replace(STUDY, training=replace(TRAINING, settings={"lr": 0.2})),
    ]
    assert len({STUDY.key, *(study.key for study in others)}) == 5


def test_a_study_of_recorded_runs_is_read_back_as_it_was_written() -> None:
    study = STUDY.with_run(run(8, 0, rho=0.1)).with_run(run(None, 1)).with_run(run(None, 2, "sgd"))
    study = study.with_run(run(4, 3, "Friendly-SAM", rho=0.05))
    again = sweep_from(json.loads(json.dumps(study.to_dict())))
    assert again == study
    assert again.key == study.key == STUDY.key
    assert again.variants == ("sam", "sgd", "Friendly-SAM")
    assert again.m == (8, 64, 4)  # where not said it is B, of a variant with a perturbation
    assert again.seeds == (0, 1, 2, 3)
    assert again.knobs == {"rho": (0.1, 0.05)}
    assert [r.m for r in again.runs()] == [8, 64, None, 4]
    assert isinstance(sweep_from(SweepSpec().to_dict()), SweepSpec)


WHOLE = STUDY.with_run(run()).to_dict()


@pytest.mark.parametrize(
    "wrong",
    [
        {"recorded": ""}, {"recorded": 5}, {"recorded": "a\x00b"}, {"network": 5}, {"batch": -1}, {"batch": "x"},
        {"settings": [1]}, {"settings": {"a": [1]}}, {"settings": {"": 1}}, {"runs": 5}, {"runs": [5]},
        {"runs": [{}]}, {"runs": [{"id": "123456789abc", "name": "a", "variant": "sam"}]}, {"strange": 1},
        {"runs": [{**WHOLE["runs"][0], "knobs": {"rho": "high"}}]}, {"runs": [{**WHOLE["runs"][0], "m": 1.5}]},
        {"runs": [{**WHOLE["runs"][0], "knobs": 5}]}, {"runs": [{**WHOLE["runs"][0], "problem": {}}]},
    ],
)  # fmt: skip
def test_what_is_no_study_of_recorded_runs_is_refused_in_one_line(wrong) -> None:
    with pytest.raises(SpecError) as refused:
        sweep_from({**WHOLE, **wrong})
    assert "\n" not in str(refused.value)


def test_nothing_recorded_is_queued_again_or_priced(store) -> None:
    key = record(store, run(), status="failed", train_loss=1.0)
    study = store.sweep(STUDY.key)
    with pytest.raises(SpecError, match="mine: recorded in a loop of its own"):
        store.submit(study)
    assert store.requeue([key]) == []
    assert Leases(store).claim("engine") == []
    for price in (cost.steps, cost.gradients):
        with pytest.raises(SpecError, match="unknown data set 'recorded:mine'"):
            price(study.runs()[0])
    with pytest.raises(SpecError, match="unknown dataset 'recorded:mine'"):
        Problem(dataset="recorded:mine")
    assert store.run(key)["status"] == "failed"


def test_recorded_runs_say_nothing_of_this_machines_speed(store) -> None:
    record(store, run(), train_loss=1.0)
    assert store.speed() == cost.UNKNOWN


def test_a_running_recording_is_not_stopped_from_here_and_not_deleted(store) -> None:
    key = record(store, run(), status="running", train_loss=1.0)
    store.stop()
    with store.read() as c:
        assert not c.exec_driver_sql("SELECT cancel FROM runs").scalar()
    assert store.delete([key]) == []


def test_the_final_value_of_a_recorded_quantity_is_its_last_whatever_was_logged_with_it(store) -> None:
    one = run()
    book = Ledger(store)
    book.open(STUDY, one)
    rows = [Measurement(v, 0.0, "logged", 1, step=t, quantity=q) for q, t, v in LOGGED]
    book.write(one.key, 1, Entry(30, rows))
    book.close(one.key, "done", "", 1.0, {})
    last = {m["quantity"]: (m["step"], m["value"]) for m in store.measurements(STUDY.key, final=True)}
    assert last == {"train_loss": (30, 0.5), "test_acc": (20, 0.9)}
    some = store.measurements(keys=[one.key], final=True, quantities=["test_acc"])
    assert [m["step"] for m in some] == [20]


LOGGED = [("train_loss", 10, 1.0), ("test_acc", 10, 0.8), ("test_acc", 20, 0.9), ("train_loss", 30, 0.5)]


def test_steps_that_were_left_out_are_missing_and_count_in_no_mean(store) -> None:
    one = run()
    book = Ledger(store)
    book.open(STUDY, one)
    book.write(one.key, 1, Entry(2, series={"eps_norm": (2, np.array([1.0, np.nan, 3.0]))}))
    book.write(one.key, 2, Entry(8, series={"eps_norm": (7, np.array([5.0])), "g_norm": (0, np.array([np.nan]))}))
    series = store.series([one.key])[one.key]
    nan = math.nan
    np.testing.assert_array_equal(series["eps_norm"], np.float32([nan, nan, 1, nan, 3, nan, nan, 5]))
    means = tables.series_means({one.key: series})
    assert means.values.tolist() == [[one.key, "eps_norm", 3.0]]
    windows = recorded.windowed(series["eps_norm"], 4.0, points=4)
    assert windows.values.tolist() == [[4.0, 1.0, 1.0], [6.0, 1.5, 3.0], [8.0, 2.0, 5.0]]


def test_of_several_finished_runs_of_one_cell_and_seed_the_last_counts(store) -> None:
    first, failed, last = (
        record(store, run(8, 0, rho=0.1), status=status, test_acc=value)
        for status, value in (("done", 0.1), ("failed", 0.2), ("done", 0.3))
    )
    other = record(store, run(8, 1, rho=0.1), test_acc=0.5)
    study = studies.from_store(store, STUDY.key)
    assert study.repeated == 1
    assert list(study.runs["run"]) == [failed, last, other]
    assert dict(zip(study.finals["run"], study.finals["value"], strict=True)) == {last: 0.3, other: 0.5}
    whole = studies.from_store(store, STUDY.key, with_repeated=True)
    assert list(whole.runs["run"]) == [first, failed, last, other]
    assert studies.from_store(store, STUDY.key, hidden=[last]).repeated == 0
    means = tables.summary(study.finals, study.runs, ["test_acc"])
    assert list(means.loc[means["kind"] == "mean", "n"]) == [2]


def test_a_study_that_many_open_at_once_has_all_their_runs(store) -> None:
    ones = [run(8, seed) for seed in range(5)]
    books = [Ledger(Store(store.url)) for _ in ones]
    for book, one in zip(books, ones, strict=True):
        book.open(STUDY, one)
        book.store.close()
    assert [r.key for r in store.sweep(STUDY.key).runs()] == [one.key for one in ones]
    (sweep,) = store.sweeps()
    assert sweep["counts"] == {"running": 5}
