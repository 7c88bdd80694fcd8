"""Clusters: workers of our own on this machine, or a client of somebody else's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from distributed import Client, LocalCluster, Nanny
from distributed.comm.core import CommClosedError

from sam_dash.runs.environment import REPRODUCIBLE
from sam_dash.runs.report import one_line

CONNECT = 10.0  # seconds in which a scheduler has to answer

CONFIG = {
    "distributed.scheduler.allowed-failures": 2,
    "distributed.scheduler.worker-saturation": 1.0,  # else a worker's death counts against its next group too
    "distributed.deploy.lost-worker-timeout": "520 weeks",  # a nanny given up takes its new worker with it
    "distributed.worker.multiprocessing-method": "spawn",
    # dask watching itself took a tenth of a core, all the time that a dashboard was open
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
}


def local(workers: int, devices: Sequence[str] = ()) -> LocalCluster:
    """Worker processes of one thread each, dealt out to the devices in turn where there are any."""
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", silence_logs=logging.CRITICAL,
        dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
        env=REPRODUCIBLE,
        worker_class=partial(pinned, devices) if devices else Nanny,
    )  # fmt: skip


def pinned(devices: Sequence[str], address: str, *, name: int, env: dict[str, str], **options: Any) -> Nanny:
    """A worker that sees one device only, the same one whenever it is started again."""
    mine = {"CUDA_VISIBLE_DEVICES": devices[name % len(devices)]}
    return Nanny(address, name=name, env={**env, **mine}, **options)


def connect(scheduler: str) -> Client:
    """A client of a cluster that is not ours; OSError, in one line, where there is none."""
    for name in [n for n in logging.root.manager.loggerDict if n.partition(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it we say, in a line
    try:
        with warnings.catch_warnings():  # of versions that differ, in many lines: each worker is asked (`crew`)
            warnings.simplefilter("ignore")
            return Client(scheduler, set_as_default=False, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise OSError(
            f"no Dask scheduler answers at {scheduler} ({one_line(error)}); start one: dask scheduler"
        ) from None


def looked(client: Client, look: Callable[[], object]) -> bool:
    """Whether the scheduler was there for a look."""
    try:
        if client.status == "running":
            look()
    except CommClosedError:  # in the midst of it: the client itself notices a little later
        return False
    return bool(client.status == "running")
