"""The engine keeps its number of workers whatever becomes of dask's nannies, which restart killed workers."""

from contextlib import suppress

import dask
import psutil
import pytest
from distributed import Client
from sqlalchemy.exc import OperationalError

from sam_dash.runs import clusters, engine, launch
from sam_dash.runs.leases import Leases
from tests.runs.serving import LONG, PATIENCE, SHORT, gone, key_of, running, until, workers


@pytest.fixture
def looked_after(store):
    """An engine with one worker, in this process and looked at by hand."""
    with dask.config.set(clusters.CONFIG):
        cluster = clusters.local(1)
        client = Client(cluster, set_as_default=False)
        yield engine._Engine(store, client, cluster, stale=engine.STALE)
        client.close()
        cluster.close()


def again(looked_after, pid):
    """The worker's process, once it is another one than `pid`."""

    def back():
        looked_after._replace_the_lost()
        pids = {nanny.pid for nanny in looked_after.cluster.workers.values()} - {pid, None}
        return looked_after.workers() == 1 and pids

    return until(back).pop()


def test_a_nanny_that_has_closed_itself_is_replaced_and_one_that_restarts_its_worker_is_kept(looked_after):
    (nanny,) = looked_after.cluster.workers.values()
    first = nanny.pid
    psutil.Process(first).kill()
    second = again(looked_after, first)
    assert list(looked_after.cluster.workers.values()) == [nanny]
    looked_after.cluster.sync(nanny.close)
    third = again(looked_after, second)
    assert list(looked_after.cluster.workers.values()) != [nanny]
    assert psutil.Process(third).is_running()
    assert looked_after.client.submit(len, [1, 2], pure=False).result(PATIENCE) == 2


def hold(process, store):
    """Suspend a worker that is not just writing to the store: it would hold the lock."""
    while True:
        process.suspend()
        with suppress(OperationalError):
            return Leases(store).beat(["nobody's"])
        process.resume()


def test_a_run_that_does_not_stop_when_asked_is_ended_with_its_worker_and_the_next_one_trains(store):
    served = launch.start(store.url, 1, None, "--stale", "2")
    store.submit(LONG)
    store.submit(SHORT)
    deaf, after = key_of(LONG), key_of(SHORT)
    until(lambda: running(store, deaf, attempt=1))
    (worker,) = workers(served)
    hold(worker, store)
    store.stop(keys=[deaf])
    until(lambda: store.statuses([deaf])[deaf] == "stopped")
    row = store.run(deaf)
    assert row["error"] == f"stopped at step {row['step']}: its worker had to be ended"
    assert len(store.series([deaf])[deaf]["g_norm"]) > 0
    until(lambda: store.statuses([after])[after] == "done")
    until(lambda: gone([worker]))
    served.close()
