"""The script for a GPU, on the CPU: all its sections run, find what is wrong, and keep within their time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import compiled, gpu, gpu_checks, gpu_times
from benchmarks.problems import NETWORKS, mlp
from benchmarks.timing import side_by_side
from sam_dash.runs import graphs, steppers
from tests.runs.test_gpu_ready import convolutional
from tests.runs.test_graphs import again, frozen

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")  # torch._dynamo's own


@pytest.fixture
def tiny(monkeypatch):
    """A small network in place of those that are timed, and nothing compiled."""
    for name in list(NETWORKS):
        monkeypatch.delitem(NETWORKS, name)
    monkeypatch.setitem(NETWORKS, "perceptron", (lambda: mlp(5, 7, 10), (5,), 8))
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)


def rows(text: str) -> list[list[str]]:
    """The cells of all tables."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", ["MLP 40-128-128-10", "CNN"])
def test_the_checks_for_a_gpu_pass_on_the_cpu(name) -> None:
    errors = gpu_checks.check_steps(name, "cpu", B=8, count=1)
    assert set(errors) == ({"chain", "factored", "eager"} if "MLP" in name else {"factored", "eager"})
    assert max(errors.values()) < 1e-10
    assert gpu_checks.check_measures(name, "cpu", n=8) == 0


def test_recorded_steps_are_compared_with_plain_ones(tiny) -> None:
    right = gpu_checks.check_graphs("perceptron", "cpu", again, B=8, count=2)
    assert len(right) == len(gpu_checks.RECORDED)
    assert set(right.values()) == {0.0}
    wrong = gpu_checks.check_graphs("perceptron", "cpu", frozen, B=8, count=2)
    assert all(isinstance(error, float) and error > 1e-6 for error in wrong.values())

    def fails(_call):
        raise RuntimeError("operation not permitted\nmore")

    assert set(gpu_checks.check_graphs("perceptron", "cpu", fails, B=8).values()) == {"operation not permitted"}


def test_float32_is_told_from_tensorfloat_32(monkeypatch) -> None:
    assert gpu_checks.check_float32("cpu", n=64) < 2e-5

    def short(x: torch.Tensor) -> torch.Tensor:  # ten bits of mantissa
        mantissa, exponent = torch.frexp(x.to(torch.float32))
        return torch.ldexp((mantissa * 2**11).round() / 2**11, exponent)

    monkeypatch.setattr(torch.Tensor, "float", short)
    assert gpu_checks.check_float32("cpu", n=64) > 1e-4


def test_four_groups_are_trained_by_an_engine() -> None:
    served, far = gpu_checks.check_groups((1,), epochs=1)
    assert far == 0
    assert len(served[1].weights) == 4
    assert served[1].made == {"cpu: chain"}


def test_weights_that_depend_on_the_number_of_workers_are_told(monkeypatch) -> None:
    weights = {1: np.array([1.0, 4.0]), 2: np.array([1.0, 4.1])}
    monkeypatch.setattr(gpu_checks, "serve", lambda k, _: gpu_checks.Served(1.0, set(), {"k": weights[k]}))
    _, far = gpu_checks.check_groups((1, 2))
    assert far == pytest.approx(0.1 / 4)


def test_an_engine_whose_runs_fail_is_a_failed_check(monkeypatch) -> None:
    engine = SimpleNamespace(ready=lambda _: True, close=lambda: None)
    monkeypatch.setattr(gpu_checks.launch, "start", lambda *_: engine)
    monkeypatch.setattr(gpu_checks, "_run", lambda *_: 0.0)  # nothing is submitted, so nothing is done
    monkeypatch.setattr(gpu_checks.Store, "runs", lambda *_: [{"status": "failed", "error": "out of GPU memory"}])
    with pytest.raises(RuntimeError, match="out of GPU memory"):
        gpu_checks.serve(1, 1)


@pytest.fixture
def a_gpu(tiny, monkeypatch):
    """What looks like a GPU to the script, and an engine that is only said to have served."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(gpu, "pick", lambda _: torch.device("cpu"))
    monkeypatch.setattr(gpu, "cuda_graph", again)
    monkeypatch.setattr(gpu_checks, "serve", lambda *_: gpu_checks.Served(1.0, {"a GPU: chain"}, {"k": np.ones(2)}))
    short = lambda sides, budget, **_: side_by_side(sides, 0.0, rounds=3)  # noqa: E731
    monkeypatch.setattr(gpu_times, "side_by_side", short)


def test_the_script_prints_tables_and_ends_well_if_all_is_well(a_gpu, capsys) -> None:
    assert gpu.main() == 0
    text = capsys.readouterr().out
    assert text.startswith("## a GPU, torch ")
    assert "All checks passed." in text
    assert "No time was left" not in text
    found = rows(text)
    assert all(len(row) > 1 for row in found)
    said = {row[0]: row[1] for row in found}
    assert {
        "eager SAM, ms",
        "m = 1",
        "m = 1, CUDA graph",
        "8 seeds, m = 8, vmapped, CUDA graph",
        "reduce-overhead",
    } <= set(said)
    assert [row for row in found if row[0] == "4"] == [["4", "1.0", "a GPU: chain", "0e+00 good"]]
    assert "### Checks in float64: perceptron" in text
    assert ["perceptron", "CUDA graph of sam, m = 8, against plain steps", "0e+00", "good"] in found


def test_images_are_timed_channels_last_and_as_they_are(a_gpu, monkeypatch) -> None:
    monkeypatch.setitem(NETWORKS, "convolutional", (convolutional, (1, 8, 8), 8))
    monkeypatch.setattr(gpu_times, "STEPS", 1)
    kept = steppers.channels_last
    assert "m = 8, images as they are, not channels last" in gpu_times.step_times("convolutional", "cpu", again, 0.0)
    assert steppers.channels_last is kept


def test_what_is_wrong_is_said_and_the_script_ends_badly(a_gpu, monkeypatch, capsys) -> None:
    monkeypatch.setattr(gpu, "cuda_graph", frozen)
    monkeypatch.setattr(gpu_checks, "check_measures", lambda *_: 1 / 0)
    assert gpu.main() == 1
    text = capsys.readouterr().out
    assert "Checks in float64: perceptron failed: ZeroDivisionError" in text
    assert "\nWRONG: " in text
    report = gpu.Report()
    gpu.checks(report, ["perceptron"], "cpu", again, B=8, n=8)
    assert report.wrong == ["Checks in float64: perceptron"], "what is wrong with the measurements, and nothing else"


def test_what_there_is_no_time_for_is_named_and_not_begun(a_gpu, monkeypatch, capsys) -> None:
    short = gpu.Report()
    monkeypatch.setattr(short, "left", lambda: 50.0)
    monkeypatch.setattr(gpu, "Report", lambda: short)
    assert gpu.main() == 0
    text = capsys.readouterr().out
    assert "No time was left for: Several groups at once on one GPU" in text
    assert "### Several groups" not in text


def test_a_computation_that_does_not_end_is_ended(monkeypatch, capsys) -> None:
    codes = []
    monkeypatch.setattr(gpu.os, "_exit", codes.append)
    gpu.out_of_time()
    assert codes == [3]
    assert "out of time after 460 s" in capsys.readouterr().out
    assert gpu.LAST < 8 * 60


def test_without_a_gpu_the_script_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert "no CUDA device" in capsys.readouterr().out


def test_what_is_compiled_is_the_definition(tiny) -> None:
    line = compiled.row("perceptron", "sam", 2, {}, 0.0)
    assert line.startswith("| perceptron | sam, m = 2 | ")
    assert line.endswith("| chain | 0e+00 |")


def test_a_step_that_is_not_recorded_is_said_and_the_others_are_timed(tiny, monkeypatch, capsys) -> None:
    def fails(_call):
        raise graphs.NotRecordedError("no")

    found = gpu_times.step_times("perceptron", "cpu", fails, 0.0)
    assert "m = 1" in found
    assert not any("CUDA graph" in side for side in found)
    assert "perceptron, m = 1: not recorded: no" in capsys.readouterr().out
