"""What tests of the engine share: specs of a long and a short run, and waiting until something is so."""

import os
import sys
import time

import psutil

from sam_dash.runs.report import ACTIVE
from sam_dash.runs.spec import Measures, Problem, SweepSpec, Training

PATIENCE = 240  # seconds, on the slowest machine


def sweep(epochs, seeds=(0,), **fields):
    return SweepSpec(
        variants=("sgd",), seeds=seeds, problem=Problem(network="mlp:4"), training=Training(epochs=epochs),
        measures=Measures(what=()), **fields,
    )  # fmt: skip


LONG, SHORT = sweep(10_000), sweep(1)


def until(condition):
    """What `condition` returns, once that is true."""
    limit = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < limit, "out of patience"
        time.sleep(0.05)
    return found


def key_of(spec):
    return spec.runs()[0].key


def running(store, key, attempt):
    row = store.run(key)
    assert row["status"] in ACTIVE, row["error"] + row["log"]
    return row["attempt"] == attempt and row["step"] > 0 and row["status"] == "running"


def family(pid):
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def workers(engine):
    return [p for p in family(engine.process.pid)[1:] if "--multiprocessing-fork" in p.cmdline()]


def visible(dask_worker):
    """A worker's name, the GPUs that it sees, and whether it has imported torch."""
    return dask_worker.name, os.environ.get("CUDA_VISIBLE_DEVICES"), "torch" in sys.modules


def gone(processes):
    """Whether all have ended; a zombie that its parent has yet to collect has."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
