"""Several people on one store: each study is somebody's, workers go round between people, and hours are limited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sam_dash import headless
from sam_dash.cli import main
from sam_dash.runs import cost, limits
from sam_dash.runs.cost import Speed
from sam_dash.runs.leases import Leases
from sam_dash.runs.spec import Measures, Problem, SpecError, SweepSpec, Training
from sam_dash.runs.store import Store

SWEEP = SweepSpec(
    variants=("sam",), m=(64, 32, 16), seeds=(0,), problem=Problem(network="mlp:4"), training=Training(epochs=1),
    measures=Measures(what=()),
)  # fmt: skip


def of(seed: int) -> SweepSpec:
    """Three groups of one run."""
    return replace(SWEEP, seeds=(seed,))


def whose(store: Store, keys: list[str]) -> str | None:
    (found,) = {store.run(key)["person"] for key in keys}
    return found


def taken(store: Store, count: int) -> list[str | None]:
    """Whose the groups are that workers take, one after the other, while none ends."""
    return [whose(store, Leases(store).claim(f"engine.{i}", idle=1)) for i in range(count)]


def test_a_study_is_of_whoever_has_asked_for_it_first(store) -> None:
    store.submit(of(0), "ada")
    store.submit(of(0), "bob")
    store.submit(of(1))
    assert {s["id"]: s["person"] for s in store.sweeps()} == {of(0).key: "ada", of(1).key: None}
    assert {row["person"] for row in store.runs(of(0).key)} == {"ada"}


def test_workers_go_round_between_people_whoever_came_first(store) -> None:
    store.submit(replace(SWEEP, seeds=(0, 1)), "ada")
    store.submit(of(2), "bob")
    store.submit(of(3))  # three groups of each, those of ada of two runs
    assert taken(store, 9) == 3 * ["ada", "bob", None]
    store.submit(of(4), "eve")
    assert taken(store, 3) == 3 * ["eve"]


def test_whoever_has_less_at_work_is_next(store) -> None:
    store.submit(of(0), "ada")
    leases = Leases(store)
    first = leases.claim("engine.0", idle=1)
    store.submit(of(1), "ada")
    store.submit(of(2), "bob")
    assert whose(store, leases.claim("engine.1")) == "bob"
    owner, _ = leases.begin(first, "engine.0")
    leases.fail(owner, first, "it ended")
    assert whose(store, leases.claim("engine.2")) == "ada"


def test_one_person_alone_has_the_queue_in_its_order(store) -> None:
    store.submit(of(0), "ada")
    queue = store.queue()
    assert [Leases(store).claim(f"e.{i}") for i in range(3)] == [[key] for key in queue]


def test_a_run_that_is_tried_again_is_of_whoever_asks_now(store) -> None:
    store.submit(of(0), "ada")
    keys = [run.key for run in of(0).runs()]
    store.stop(keys=keys)
    store.submit(of(0), "bob")
    assert whose(store, keys) == "bob"
    store.stop(keys=keys)
    assert store.requeue(keys)
    assert whose(store, keys) == "bob"


def test_hours_of_work_are_limited_for_each_person(store, monkeypatch) -> None:
    monkeypatch.setattr(Store, "speed", lambda self: Speed(1.0, 3600.0, (1.0, 1.0)))  # seconds are hours
    of_one = sum(cost.seconds(run, 1) for run in of(0).runs())
    monkeypatch.setenv("SAM_DASH_HOURS", str(2.5 * of_one))
    limits.check_hours(store, [*of(0).runs(), *of(1).runs(), *of(0).runs()], "ada")
    store.submit(of(0), "ada")
    store.submit(of(1), "ada")
    assert store.promised("ada") == pytest.approx(2 * of_one)
    assert store.promised("bob") == store.promised(None) == 0
    with pytest.raises(SpecError, match=r"ada would have .* h of work in the queue; at most .* h are allowed for each"):
        limits.check_hours(store, of(2).runs(), "ada")
    limits.check_hours(store, of(2).runs(), "bob")
    limits.check_hours(store, of(0).runs(), "ada")  # nothing new
    store.stop(of(1).key)
    assert store.promised("ada") == pytest.approx(of_one)
    limits.check_hours(store, of(2).runs(), "ada")


def test_what_a_command_queues_is_of_whoever_the_environment_names(store, monkeypatch) -> None:
    monkeypatch.setenv("SAM_DASH_USER", "ada")
    assert headless.queue(store, [of(0), of(1)]) == [of(0).key, of(1).key]
    assert {row["person"] for row in store.runs()} == {"ada"}


@pytest.mark.parametrize(("text", "limit"), [("", None), ("8", 8.0), (" .5 ", 0.5)])
def test_the_limit_is_a_number_of_hours(monkeypatch, text, limit) -> None:
    monkeypatch.setenv("SAM_DASH_HOURS", text)
    assert limits.hours() == limit


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "eight"])
def test_a_limit_that_is_none_is_said(monkeypatch, text) -> None:
    monkeypatch.setenv("SAM_DASH_HOURS", text)
    with pytest.raises(SpecError, match=f"SAM_DASH_HOURS = '{text}': expected a number of hours above 0"):
        limits.hours()


@pytest.mark.parametrize("command", [["run", "--preset", "digits"], ["decide", "digits"], ["paper"]])
def test_a_command_above_the_limit_is_one_line_and_queues_nothing(tmp_path, monkeypatch, capsys, command) -> None:
    monkeypatch.setenv("SAM_DASH_HOURS", "1e-6")
    monkeypatch.setenv("SAM_DASH_USER", "ada")
    assert main([*command, "--store", str(tmp_path / "store.db")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("sam_dash: with these runs ada would have ")
    store = Store(tmp_path / "store.db")
    assert store.runs() == []
    store.close()
