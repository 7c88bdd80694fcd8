"""The engine: a process that takes queued runs from a store and has dask workers train them.

It holds a LocalCluster (loopback, no dashboard), or uses an existing scheduler. Started with a pipe as its standard
input it leaves when that closes, that is with its parent; started by hand it leaves on Ctrl-C. The store is the
truth: futures carry no results, only "ended".
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from contextlib import suppress
from functools import partial
from typing import Any

import dask
import psutil
from distributed import Client, Future, KilledWorker, LocalCluster, Status
from sqlalchemy.exc import SQLAlchemyError

import sam_dash
from sam_dash.runs import clusters, launch, worker
from sam_dash.runs.crew import Crew, Losses, unfit
from sam_dash.runs.environment import NUMERICS, default_workers
from sam_dash.runs.gpus import gpus
from sam_dash.runs.journal import Survivor, journal
from sam_dash.runs.leases import FORCED, Leases
from sam_dash.runs.outbox import StoreLostError
from sam_dash.runs.presence import Presence, gone
from sam_dash.runs.queue import GONE
from sam_dash.runs.report import one_line
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError, StoreGoneError

POLL = 0.2  # seconds between two looks at the store
STALE = 20.0  # seconds without a heartbeat after which another engine's run is interrupted
EXTRA = 1  # groups claimed beyond one a worker, so that none waits for the next look
CLOSED = (Status.closing, Status.closed, Status.failed)


def serve(store: Store, workers: int | None = None, scheduler: str | None = None, stale: float = STALE) -> int:
    """Run the engine until it is told to leave; 0, 1 if the scheduler was lost, 2 if the store was."""
    leave = threading.Event()
    launch.listen(leave)
    workers = workers or default_workers()
    with dask.config.set(clusters.CONFIG):
        cluster = None if scheduler else clusters.local(workers, gpus())
        client = clusters.connect(scheduler) if scheduler else Client(cluster, set_as_default=False)
        address = client.scheduler_info(n_workers=0)["address"]
        engine = _Engine(store, client, cluster, stale)
        survive = Survivor(engine.journal)
        presence = Presence(engine.name, store.db.url.render_as_string())
        try:
            engine.warm_up()
            print(f"engine ready {address} workers={engine.workers()}", flush=True)
            engine.journal.info("at work on %s, %d workers", store.db.url.render_as_string(), engine.workers())
            while not leave.wait(POLL):
                if not clusters.looked(client, partial(survive, engine.look)):
                    engine.say(f"lost the scheduler {address}: its runs are back in the queue")
                    engine.give_up()
                    return 1
                presence.tell(engine.able)
        except (StoreLostError, StoreGoneError) as error:
            print(f"engine: {error}", file=sys.stderr, flush=True)
            engine.journal.error("%s", error)
            return 2
        finally:
            with suppress(StoreError, SQLAlchemyError):  # the runs are known to be free once this process has ended
                engine.leave()
                presence.close()
            engine.journal.info("left")
            client.close(timeout=5)
            if cluster is not None:
                cluster.close(timeout=5)
    return 0


class _Engine:
    """What is in flight: claims, their futures, and what is known of other engines' heartbeats."""

    def __init__(self, store: Store, client: Client, cluster: LocalCluster | None, stale: float) -> None:
        self.store, self.client, self.cluster, self.stale = store, client, cluster, stale
        self.leases = Leases(store)
        self.flights: dict[str, tuple[list[str], Future[Any]]] = {}
        self.name = uuid.uuid4().hex[:12]
        self.journal = journal(self.name)
        self.count = 0
        self.seen: dict[tuple[str, int], tuple[int, float]] = {}
        self.pulse = 0.0
        self.asked: dict[str, float] = {}
        self.warming: list[Future[Any]] = []
        self.crew = Crew(self._ask, self.say) if cluster is None else None
        self.given: dict[str, set[str]] = {}
        self.losses = Losses()
        self.able = 0
        self.born = psutil.Process().create_time()

    def say(self, line: str) -> None:
        """A line on the terminal and in the log."""
        print(f"engine: {line}", file=sys.stderr, flush=True)
        self.journal.warning(line)

    def workers(self) -> int:
        """Tasks that the workers which may train run at a time."""
        threads: dict[str, int] = self.client.nthreads()
        return self.crew.look(threads) if self.crew else sum(threads.values())

    def warm_up(self) -> None:
        """Have each of our workers import torch before the first group comes; others do when they are asked."""
        addresses = [] if self.crew else self.client.nthreads()
        self.warming = [self._submit(worker.warm_up, workers=[a], priority=1) for a in addresses]

    def _ask(self, address: str) -> Future[Any]:
        of = self.store.db.url, self.store.is_of, sam_dash.__version__, NUMERICS
        return self._submit(unfit, *of, workers=[address], priority=1)

    def look(self) -> bool:
        """Collect what has ended, claim what is queued, and see to the heartbeats; False where nothing was written
        that waits to be, so that nothing is known of whether the store can be.
        """
        if self.warming and all(future.done() for future in self.warming):
            self.warming = []
            self.store.started(time.time() - self.born)
        for claim, (keys, future) in list(self.flights.items()):
            if future.done():
                self._collect(claim, keys, future)
                del self.flights[claim]
        self._fill()
        self._take_back()
        if time.monotonic() - self.pulse > self.stale / 10:
            self.pulse = time.monotonic()
            if self.flights:
                self.leases.beat(list(self.flights))
                self._end_the_deaf()
            self._watch_others()
            self._replace_the_lost()
            return True
        return not self.flights

    def leave(self) -> None:
        """Let go of what is in flight."""
        self.leases.release(list(self.flights))

    def give_up(self) -> None:
        """Put what is in flight back in the queue."""
        for claim, (keys, _) in self.flights.items():
            self.leases.give_back(claim, keys)
        self.flights.clear()

    def _fill(self) -> None:
        while True:
            workers = self.able = self.workers()
            if not workers or len(self.flights) >= workers + EXTRA:
                return
            claim = f"{self.name}.{self.count}"
            keys = self.leases.claim(claim, idle=max(1, workers - len(self.flights)))
            if not keys:
                return
            self.count += 1
            chosen = {}
            if self.crew:
                self.given[claim] = set(self.crew.fit)
                chosen["workers"] = sorted(self.crew.fit)
            future = self._submit(worker.run_group, self.store.db.url, keys, claim, **chosen)
            self.flights[claim] = keys, future
            self.journal.info("%s: %d runs, %s", claim, len(keys), " ".join(keys[:8]))

    def _submit(self, function: Any, *args: Any, **options: Any) -> Future[Any]:
        return self.client.submit(function, *args, pure=False, **options)

    def _collect(self, claim: str, keys: list[str], future: Future[Any]) -> None:
        """A group that ended well has said so in the store; if not, its runs fail here."""
        self.journal.info("%s: %s", claim, future.status)
        if future.status == "finished":
            return
        error = None
        with suppress(Exception):  # an error that cannot be unpickled is none the less one
            error = future.exception(timeout=5)
        if error is not None:
            self.journal.error("%s: %s", claim, one_line(error))
        if isinstance(error, KilledWorker):
            for key in keys:
                run = self.store.run(key)
                step = run["step"] if run else 0
                self.leases.fail(claim, [key], f"worker killed (out of memory?) at step {step}")
        elif isinstance(error, StoreGoneError):
            raise error
        elif isinstance(error, StoreLostError):
            self.leases.release([claim], one_line(error))
        elif error is not None:
            self.leases.fail(claim, keys, one_line(error), repr(error))
        else:
            self.leases.release([claim])

    def _take_back(self) -> None:
        """Put groups back in the queue whose workers have all left the cluster: dask would wait for those to return."""
        self.given = {claim: to for claim, to in self.given.items() if claim in self.flights}
        for claim, to in self.given.items():
            keys, future = self.flights[claim]
            if self.crew is None or self.crew.fit & to or future.done():
                continue
            steps = {key: run["step"] for key in keys if (run := self.store.run(key))}
            hopeless = self.losses.hopeless(steps)
            future.cancel()
            self.leases.fail(claim, hopeless, "its workers were lost, again and again (out of memory?)")
            self.leases.give_back(claim, keys)
            del self.flights[claim]
            self.say(f"{claim}: its workers have left; {len(keys) - len(hopeless)} runs are back in the queue")

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
        """Let go of the runs of other engines that have ended, or whose heartbeat has not moved on our own clock."""
        dead = [claim for claim in self.leases.others(list(self.flights)) if gone(claim)]
        if dead:
            self.journal.warning("let go of what dead engines held: %s", " ".join(dead))
        self.leases.release(dead, GONE)
        found = self.leases.heartbeats(list(self.flights))
        at = time.monotonic()
        self.seen = {
            run: self.seen[run] if run in self.seen and self.seen[run][0] == beat else (beat, at)
            for run, beat in found.items()
        }
        for (key, _), (beat, since) in self.seen.items():
            if at - since > self.stale:
                self.leases.interrupt(key, beat)
