"""The engine keeps its number of workers whatever becomes of dask's nannies, which restart killed workers."""

import time

import dask
import psutil
import pytest
from distributed import Client

from sam_dash.runs import engine
from sam_dash.runs.store import Store

PATIENCE = 120  # seconds, on the slowest machine


@pytest.fixture
def looked_after(tmp_path):
    """An engine with one worker, in this process and looked at by hand."""
    with dask.config.set(engine.CONFIG):
        store = Store(tmp_path / "store.db")
        cluster = engine._local_cluster(1)
        client = Client(cluster, set_as_default=False)
        yield engine._Engine(store, client, cluster, stale=engine.STALE)
        client.close()
        cluster.close()
        store.close()


def again(looked_after, pid):
    """The worker's process, once it is another one than `pid`."""
    limit = time.monotonic() + PATIENCE
    while True:
        looked_after._replace_the_lost()
        found = [nanny.pid for nanny in looked_after.cluster.workers.values()]
        if looked_after.workers() == 1 and found not in ([pid], [None], []):
            return found[0]
        assert time.monotonic() < limit, "no worker came back"
        time.sleep(0.05)


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
