"""The GPUs of the machine are found without torch, and workers dealt out to them. The GPUs here are made up."""

import os
import sys

import dask
import psutil
import pytest
import torch
from distributed import Client

from sam_dash import cli
from sam_dash.problems.problem import SpecError
from sam_dash.runs import clusters, engine, environment, gpus
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Outcome
from sam_dash.runs.worker import run_group
from tests.runs.serving import until, visible
from tests.runs.test_store import TINY, report

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-1)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb-2)
"""
SPLIT = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc-3)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd-4)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-2)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose nvidia-smi says what it is told to say."""

    def has(text, code=0, torch_version="2.13.0", **variables):
        script = tmp_path / "nvidia-smi"
        script.write_text(f"#!{sys.executable}\nprint({text!r}, end='')\nraise SystemExit({code})\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        for name in ("CUDA_VISIBLE_DEVICES", "SAM_DASH_GPU_SLOTS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(gpus, "version", lambda _: torch_version)
        gpus._listed.cache_clear()

    yield has
    gpus._listed.cache_clear()


def test_gpus_are_named_by_uuid_and_those_that_are_split_by_their_parts(machine):
    machine(TWO)
    assert gpus.gpus() == ["GPU-aaaa-1", "GPU-bbbb-2"]
    machine(SPLIT)
    assert gpus.gpus() == ["MIG-cccc-3", "MIG-dddd-4", "GPU-bbbb-2"]


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("1", ["1"]), ("1,0", ["1", "0"]), ("GPU-bb", ["GPU-bb"]), (" 0 , 1 ", ["0", "1"]), ("", []), ("-1", []),
        ("0,7,1", ["0"]), ("0,-1,1", ["0"]), ("none", []), ("MIG-x", []),
    ],
)  # fmt: skip
def test_the_devices_that_cuda_would_see_are_used_and_no_others(machine, visible, found):
    machine(TWO, CUDA_VISIBLE_DEVICES=visible)
    assert gpus.gpus() == found


def test_without_a_driver_or_a_torch_for_cuda_there_are_none(machine, monkeypatch):
    machine("No devices found", code=6)
    assert gpus.gpus() == []
    machine(TWO, torch_version="2.13.0+cpu")
    assert gpus.gpus() == []
    machine(TWO, CUDA_VISIBLE_DEVICES="0")
    monkeypatch.setenv("PATH", "")
    assert gpus.gpus() == []
    assert environment.default_workers() == min(environment.cores(), 8)


@pytest.mark.parametrize(
    ("cores", "variables", "workers"),
    [
        (16, {}, 8),
        (6, {}, 6),
        (1, {}, 2),
        (16, {"SAM_DASH_GPU_SLOTS": "6"}, 12),
        (16, {"CUDA_VISIBLE_DEVICES": "1"}, 4),
    ],
)  # fmt: skip
def test_workers_are_one_a_core_at_most_four_a_gpu_or_as_many_as_asked_for(
    machine, monkeypatch, cores, variables, workers
):
    machine(TWO, **variables)
    monkeypatch.setattr(environment, "cores", lambda: cores)
    assert environment.default_workers() == workers


@pytest.mark.parametrize("text", ["0", "many", "-1", "1.5", "65"])
def test_a_bad_number_of_slots_is_refused_with_what_was_expected(machine, text):
    machine(TWO, SAM_DASH_GPU_SLOTS=text)
    with pytest.raises(SpecError, match=r"SAM_DASH_GPU_SLOTS = .*expected a whole number in \[1, 64\]"):
        environment.default_workers()


def test_the_command_line_says_so_in_one_line(machine, capsys):
    machine(TWO, SAM_DASH_GPU_SLOTS="many")
    assert cli.main(["presets"]) == 2
    assert capsys.readouterr().err == "sam_dash: SAM_DASH_GPU_SLOTS = 'many': expected a whole number in [1, 64]\n"


def test_each_worker_sees_one_gpu_the_same_one_when_it_is_started_again(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    with dask.config.set(clusters.CONFIG):
        cluster = clusters.local(3, ["GPU-a", "GPU-b"])
        client = Client(cluster, set_as_default=False)
        seen = {found for found in client.run(visible).values()}
        assert seen == {(0, "GPU-a", False), (1, "GPU-b", False), (2, "GPU-a", False)}, "before torch is imported"
        psutil.Process(cluster.workers[1].pid).kill()
        until(lambda: len(client.nthreads()) == 2)
        until(lambda: len(client.nthreads()) == 3)
        assert set(client.run(visible).values()) == seen
        client.close()
        cluster.close()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"


@pytest.mark.parametrize("asked", [None, 3])
def test_an_engine_uses_all_gpus_that_it_finds(machine, monkeypatch, store, asked):
    machine(TWO, SAM_DASH_GPU_SLOTS="2")
    started = []
    monkeypatch.setattr(engine.launch, "listen", lambda _: None)
    monkeypatch.setattr(clusters, "local", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(engine, "Client", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.serve(store, asked)
    assert started == [(asked or 4, ["GPU-aaaa-1", "GPU-bbbb-2"])]


def test_runs_that_a_gpu_has_no_memory_for_start_again_half_of_them_at_a_time(store):
    store.submit(TINY)
    keys, stacks = Leases(store).claim("engine.0"), []

    def train(specs, listener):
        stacks.append([spec.key for spec in specs])
        listener(report([[float(len(specs))]] * len(specs)))
        if len(specs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [Outcome("done")]

    run_group(store.url, keys, "engine.0", train)
    assert stacks == [keys, *([key] for key in keys)]
    for key in keys:
        assert (store.run(key)["status"], store.run(key)["attempt"], store.run(key)["stack"]) == ("done", 2, 1)
        assert store.series([key])[key]["g_norm"].tolist() == [1], "nothing is left of the first attempt"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
     RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")],
)  # fmt: skip
def test_a_run_that_a_gpu_has_no_memory_for_alone_fails_and_says_what_to_do(store, error):
    store.submit(TINY)
    keys = Leases(store).claim("engine.0")

    def train(specs, listener):
        raise error

    run_group(store.url, keys, "engine.0", train)
    for key in keys:
        row = store.run(key)
        assert row["status"] == "failed"
        assert row["error"].startswith("out of GPU memory; resume it with fewer workers (SAM_DASH_GPU_SLOTS=1): ")
        assert "Traceback" in row["log"]
        assert store.requeue([key]) == [key]
