"""More memory than there is, is refused before anything is queued; what takes above a day is asked for again."""

from dataclasses import replace

import pytest

from sam_dash.cli import main
from sam_dash.runs import cost, limits
from sam_dash.runs.spec import Problem, RunSpec, SpecError, SweepSpec, Training
from sam_dash.runs.store import Store

SWEEP = SweepSpec(variants=("sgd",), seeds=(0, 1, 2), problem=Problem(network="mlp:8"))


def test_the_memory_is_that_of_the_largest_stack() -> None:
    """By hand: d = 64 * 8 + 8 + 8 * 10 + 10 numbers ten times, and six times 8 outputs of 64 samples; three seeds."""
    assert limits.memory(SWEEP.runs()) == 4 * 3 * (10 * 610 + 6 * 8 * 64)
    wide = replace(SWEEP, problem=Problem(network="mlp:4096-4096"))
    (spec, *_) = wide.runs()
    assert cost.largest_stack(spec) == 1
    assert limits.memory([*SWEEP.runs(), *wide.runs()]) == 4 * cost.floats(spec)
    assert limits.memory([]) == 0


def test_more_than_the_machine_has_is_refused_in_one_line_and_nothing_is_queued(tmp_path, monkeypatch, capsys) -> None:
    needed = limits.memory(SWEEP.runs())
    for there, good in ((needed, True), (needed - 1, False), (None, True)):
        monkeypatch.setattr(limits, "room", lambda there=there: there)
        if good:
            assert limits.check_memory(SWEEP.runs()) == needed
        else:
            with pytest.raises(SpecError, match=r"a run takes about .* of memory, and this machine has"):
                limits.check_memory(SWEEP.runs())
    monkeypatch.setattr(limits, "room", lambda: 1000)
    monkeypatch.setattr(limits, "gpus", lambda: ["a GPU, which has memory of its own"])
    limits.check_memory(SWEEP.runs())
    monkeypatch.setattr(limits, "gpus", list)
    path = tmp_path / "store.db"
    assert main(["run", "--preset", "digits", "--store", str(path)]) == 2
    assert capsys.readouterr().err.startswith("sam_dash: a run takes about ")
    assert Store(path).runs() == []


def test_a_machine_says_how_much_memory_it_has() -> None:
    assert limits.room() > 2**28


def test_layers_are_at_most_a_hundred() -> None:
    RunSpec(variant="sgd", problem=Problem(network="mlp:" + "-".join(["4"] * 100)))
    with pytest.raises(SpecError, match="network of 101 layers: expected at most 100"):
        RunSpec(variant="sgd", problem=Problem(network="mlp:" + "-".join(["4"] * 101)))


SIZES = [
    (0, "1 MB"), (12_400_000, "12 MB"), (999.4e6, "999 MB"), (999.6e6, "1.0 GB"), (1.53e9, "1.5 GB"),
    (9.94e9, "9.9 GB"), (9.96e9, "10 GB"), (6.7e10, "67 GB"), (1.34e12, "1340 GB"),
]  # fmt: skip


@pytest.mark.parametrize(("n", "text"), SIZES)
def test_sizes_are_read_at_a_glance(n, text) -> None:
    assert limits.size(n) == text


def test_the_limit_of_a_click_is_about_time_on_this_machine() -> None:
    long = replace(SWEEP, training=Training(epochs=10_000), seeds=tuple(range(4000)), problem=Problem(network="mlp:64"))
    assert cost.preview([SWEEP], {}, 2).high < limits.DAY < cost.preview([long], {}, 2).high
