"""A store on a real PostgreSQL server that asks for a password: runs, from a cluster too, and who gets to see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from sam_dash.runs import upkeep
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Outcome, Report
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError
from sam_dash.surroundings import ROOT
from tests.reliability.faults import server
from tests.reliability.lab import NotRunError
from tests.runs.serving import PATIENCE, SHORT, key_of
from tests.runs.test_clusters import Cluster

SECRET = "hush-hush"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        try:
            found, _ = stack.enter_context(server(tmp_path_factory.mktemp("postgres") / "server", SECRET))
        except NotRunError as error:
            pytest.skip(str(error))
        yield found


def test_what_is_stored_comes_back_and_a_store_says_no_password(url: str) -> None:
    with closing(Store(url)) as store:
        store.submit(SHORT)
        leases, key = Leases(store), key_of(SHORT)
        assert leases.claim("engine.0") == [key]
        owner, _ = leases.begin([key], "engine.0")
        leases.flush(owner, [key], Report(2, 2, "train", 0, {"g_norm": np.array([[1.5, np.inf]], np.float32)}))
        leases.give_back("engine.0", [key])
        assert store.statuses([key]) == {key: "queued"}
        status = upkeep.status(store)
        assert status["disk"] == {"bytes": None, "free": None}
        assert status["store"].startswith("postgresql+psycopg://me:***@")
        assert upkeep.check(store) == []
        again = leases.claim("engine.1")
        owner, _ = leases.begin(again, "engine.1")
        assert leases.finish(owner, key, Outcome("done"), 1.0, {})
        assert store.delete([key]) == [key]


def test_a_wrong_password_is_one_line_without_it(url: str) -> None:
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        Store(url.replace(SECRET, "guessed-it"))
    assert "guessed-it" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_command_trains_on_a_cluster_and_nobody_reads_the_password(url: str, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    try:
        cluster.worker()
        env = os.environ | {
            "SAM_DASH_STORE": url,
            "SAM_DASH_SCHEDULER": cluster.address,
            "XDG_DATA_HOME": str(tmp_path),
        }
        line = [sys.executable, "-m", "sam_dash", "run", "--preset", "digits", "--variants", "sgd,sam", "--m", "8"]
        short = ["--seeds", "1", "--epochs", "2", "--network", "mlp:4", "--measure", "none"]
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen([*line, *short], cwd=ROOT, env=env, stdout=said, stderr=said)
        seen = set()
        while process.poll() is None:
            for each in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(each.cmdline()))
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.3)
        assert process.wait(PATIENCE) == 0, (tmp_path / "said").read_text()
    finally:
        cluster.close()
    assert any("sam_dash engine" in line for line in seen)
    assert not [line for line in seen if SECRET in line]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"said", "engine.log", "scheduler-0.log", "worker-1.log"}
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    with closing(Store(url)) as store:
        assert {row["status"] for row in store.runs()} == {"done"}
