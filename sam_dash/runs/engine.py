"""The engine: a process that takes queued runs from a store and has dask workers train them.

It holds a LocalCluster (loopback, no dashboard), or uses an existing scheduler. Started with a pipe as its standard
input it leaves when that closes, that is with its parent; started by hand it leaves on Ctrl-C. The store is the
truth: futures carry no results, only "ended".
"""

from __future__ import annotations

import logging
import os
import signal
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import dask
import psutil
from distributed import Client, Future, KilledWorker, LocalCluster, Nanny, Status
from sqlalchemy.exc import SQLAlchemyError

from sam_dash.runs import worker
from sam_dash.runs.environment import REPRODUCIBLE, default_workers
from sam_dash.runs.gpus import gpus
from sam_dash.runs.leases import FORCED, Leases
from sam_dash.runs.report import one_line
from sam_dash.runs.store import Store

POLL = 0.2  # seconds between two looks at the store
STALE = 20.0  # seconds without a heartbeat after which another engine's run is interrupted
EXTRA = 1  # groups claimed beyond one a worker, so that none waits for the next look
CLOSED = (Status.closing, Status.closed, Status.failed)

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


def serve(store: Store, workers: int | None = None, scheduler: str | None = None, stale: float = STALE) -> int:
    """Run the engine until it is told to leave; 0, or 1 if the scheduler was lost."""
    leave = threading.Event()
    _listen_for_the_end(leave)
    workers = workers or default_workers()
    with dask.config.set(CONFIG):
        cluster = None if scheduler else _local_cluster(workers, gpus())
        client = Client(scheduler or cluster, set_as_default=False)
        address = client.scheduler_info(n_workers=0)["address"]
        engine = _Engine(store, client, cluster, stale)
        try:
            engine.warm_up()
            print(f"engine ready {address} workers={engine.workers()}", flush=True)
            while not leave.wait(POLL):
                if client.status != "running":
                    print(f"engine: lost the scheduler {address}", file=sys.stderr)
                    return 1
                _survive(engine.look)
        finally:
            _survive(lambda: engine.leases.release(list(engine.flights)))
            client.close(timeout=5)
            if cluster is not None:
                cluster.close(timeout=5)
    return 0


def _survive(action: Callable[[], object]) -> None:
    """Do it; a store that fails (a full disk, a lost connection) is said in a line and tried again at the next look."""
    try:
        action()
    except SQLAlchemyError as error:
        print(f"engine: the store failed: {one_line(error)}", file=sys.stderr, flush=True)


def _local_cluster(workers: int, devices: Sequence[str] = ()) -> LocalCluster:
    """Worker processes of one thread each, dealt out to the devices in turn where there are any."""
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", silence_logs=logging.CRITICAL,
        dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
        env=REPRODUCIBLE,
        worker_class=partial(_pinned, devices) if devices else Nanny,
    )  # fmt: skip


def _pinned(devices: Sequence[str], address: str, *, name: int, env: dict[str, str], **options: Any) -> Nanny:
    """A worker that sees one device only, the same one whenever it is started again."""
    mine = {"CUDA_VISIBLE_DEVICES": devices[name % len(devices)]}
    return Nanny(address, name=name, env={**env, **mine}, **options)


def _listen_for_the_end(leave: threading.Event) -> None:
    """Set `leave` on SIGTERM, and when the parent has closed our standard input; by hand, on Ctrl-C."""
    piped = stat.S_ISFIFO(os.fstat(0).st_mode)
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN if piped else lambda *_: leave.set())
    if piped:

        def watch() -> None:
            while os.read(0, 4096):
                pass
            leave.set()

        threading.Thread(target=watch, daemon=True).start()


class _Engine:
    """What is in flight: claims, their futures, and what is known of other engines' heartbeats."""

    def __init__(self, store: Store, client: Client, cluster: LocalCluster | None, stale: float) -> None:
        self.store, self.client, self.cluster, self.stale = store, client, cluster, stale
        self.leases = Leases(store)
        self.flights: dict[str, tuple[list[str], Future[Any]]] = {}
        self.name = uuid.uuid4().hex[:12]
        self.count = 0
        self.seen: dict[tuple[str, int], tuple[int, float]] = {}
        self.pulse = 0.0
        self.asked: dict[str, float] = {}
        self.warming: list[Future[Any]] = []
        self.born = psutil.Process().create_time()

    def workers(self) -> int:
        """Tasks that the cluster runs at a time."""
        threads: dict[str, int] = self.client.nthreads()
        return sum(threads.values())

    def warm_up(self) -> None:
        """Have every worker import torch before the first group comes."""
        addresses = self.client.nthreads()
        self.warming = [self._submit(worker.warm_up, workers=[a], priority=1) for a in addresses]

    def look(self) -> None:
        """Collect what has ended, claim what is queued, and see to the heartbeats."""
        if self.warming and all(future.done() for future in self.warming):
            self.warming = []
            self.store.started(time.time() - self.born)
        for claim, (keys, future) in list(self.flights.items()):
            if future.done():
                self._collect(claim, keys, future)
                del self.flights[claim]
        self._fill()
        if time.monotonic() - self.pulse > self.stale / 10:
            self.pulse = time.monotonic()
            if self.flights:
                self.leases.beat(list(self.flights))
                self._end_the_deaf()
            self._watch_others()
            self._replace_the_lost()

    def _fill(self) -> None:
        while True:
            workers = self.workers()
            if len(self.flights) >= workers + EXTRA:
                return
            claim = f"{self.name}.{self.count}"
            keys = self.leases.claim(claim, idle=max(1, workers - len(self.flights)))
            if not keys:
                return
            self.count += 1
            future = self._submit(worker.run_group, self.store.url, keys, claim)
            self.flights[claim] = keys, future

    def _submit(self, function: Any, *args: Any, **options: Any) -> Future[Any]:
        return self.client.submit(function, *args, pure=False, **options)

    def _collect(self, claim: str, keys: list[str], future: Future[Any]) -> None:
        """A group that ended well has said so in the store; if not, its runs fail here."""
        if future.status == "finished":
            return
        error = None
        with suppress(Exception):  # an error that cannot be unpickled is none the less one
            error = future.exception(timeout=5)
        if isinstance(error, KilledWorker):
            for key in keys:
                run = self.store.run(key)
                step = run["step"] if run else 0
                self.leases.fail(claim, [key], f"worker killed (out of memory?) at step {step}")
        elif error is not None:
            self.leases.fail(claim, keys, one_line(error), repr(error))
        else:
            self.leases.release([claim])

    def _replace_the_lost(self) -> None:
        """Replace nannies that have closed themselves, as one does whose worker could not be restarted."""
        if self.cluster is None or self.workers() >= len(self.cluster.worker_spec):
            return
        for name in [name for name, nanny in self.cluster.workers.items() if nanny.status in CLOSED]:
            del self.cluster.workers[name]
            self.cluster.scale(len(self.cluster.worker_spec))

    def _end_the_deaf(self) -> None:
        """End the worker of a group that does not stop though asked to, as in one long computation."""
        at = time.monotonic()
        self.asked = {claim: self.asked.get(claim, at) for claim in self.leases.asked(list(self.flights))}
        for claim in [claim for claim, since in self.asked.items() if at - since > self.stale / 2]:
            _, future = self.flights[claim]
            busy = [address for address, tasks in self.client.processing().items() if future.key in tasks]
            nannies = self.cluster.workers.values() if self.cluster is not None else ()
            ended = [nanny.pid for nanny in nannies if nanny.worker_address in busy]
            if ended:  # a worker of a cluster that is not ours is left as it is
                future.cancel()
                os.kill(ended[0], signal.SIGKILL)
                self.leases.release([claim], FORCED)
                del self.flights[claim]

    def _watch_others(self) -> None:
        """Let go of the runs of other engines whose heartbeat has not moved on our own clock."""
        found = self.leases.heartbeats(list(self.flights))
        at = time.monotonic()
        self.seen = {
            run: self.seen[run] if run in self.seen and self.seen[run][0] == beat else (beat, at)
            for run, beat in found.items()
        }
        for (key, _), (beat, since) in self.seen.items():
            if at - since > self.stale:
                self.leases.interrupt(key, beat)
