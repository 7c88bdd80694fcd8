"""The line on Runs: a dead engine, a long queue and a full disk are seen without asking."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.runs import upkeep
from sam_dash.runs.leases import Leases
from sam_dash.runs.presence import Presence
from sam_dash.runs.spec import Problem, SweepSpec
from sam_dash.runs.store import Store
from sam_dash.ui import health

SWEEP = SweepSpec(variants=("sgd",), seeds=(0, 1), problem=Problem(network="mlp:8"))


def status(
    engine: bool | None, waits: float | None = None, free: int | None = 40_000_000_000, workers: int = 2, **runs: int
) -> dict:  # fmt: skip
    return {
        "engine": engine, "engines": [{"alive": engine, "workers": workers}], "runs": runs,
        "queue": {"oldest_seconds": waits}, "log": "/x/_y_.log",
        "disk": {"bytes": None if free is None else 5_000_000, "free": free},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "wrong", "said"),
    [
        (status(True, running=4, queued=12, waits=190.0), False, "4 running, 12 queued, the first of them for 3 min"),
        (status(True), False, "at work with 2 workers · 0 running, 0 queued · store 5 MB, 40 GB free"),
        (status(True, queued=2, workers=0), True, "The engine has no worker: 0 running, 2 queued. "),
        (status(True, done=2, workers=0), False, "at work with 0 workers · 0 running"),
        (status(False, done=3), False, "nothing waits for one · 0 running"),
        (status(False, queued=1, waits=0.4), True, "No engine is at work: 0 running, 1 queued. "),
        (status(False, running=2), True, r"why it ended is in /x/\_y\_.log."),
        (status(None, running=2, free=None), False, "its runs are interrupted after 20 s · 2 "),
    ],
)  # fmt: skip
def test_the_line_says_how_the_engine_stands(found: dict, wrong: bool, said: str) -> None:
    is_wrong, text = health.words(found)
    assert is_wrong is wrong
    assert said in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("free", "said"), [(None, ""), (1_000_000_000, ""), (999_000_000, "Only 999 MB of disk"), (0, "Only 1 MB of disk")]
)
def test_a_disk_that_is_nearly_full_is_said(free: int | None, said: str) -> None:
    assert health.scarce(status(True, free=free))[: len(said) or 1] == said


def test_runs_shows_that_an_engine_has_died_and_that_one_is_there_again(
    store: Store, visit: Callable[..., AppTest]
) -> None:
    store.submit(SWEEP)
    Leases(store).claim("dead.0")
    here = Presence("dead", store.db.url.render_as_string())
    here.tell(3)
    at = visit("runs")
    assert any(c.value.startswith("The engine is at work with 3 workers · 2 running") for c in at.caption)
    assert not at.error
    here.file.close()  # as when it is killed
    at.run()
    (error,) = at.error
    assert error.value.startswith("No engine is at work: 2 running, 0 queued")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "status", lambda _: (_ for _ in ()).throw(OSError("gone [away](x)")))
        at.run()
    (error,) = at.error
    assert error.value == r"The store does not answer: OSError: gone \[away\](x)"
