"""An engine that a server keeps is started again when it ends, and not after it was closed."""

import subprocess
import sys

from sam_dash.runs import launch
from tests.runs.serving import until

WAITS = "import sys; print('engine ready', flush=True); sys.stdin.read()"


def test_a_kept_engine_is_started_again_until_it_is_closed(monkeypatch) -> None:
    started = []

    def start(url: str) -> launch.Engine:
        process = subprocess.Popen([sys.executable, "-c", WAITS], stdin=-1, stdout=-1, text=True)
        started.append(launch.Engine(process))
        return started[-1]

    monkeypatch.setattr(launch, "start", start)
    monkeypatch.setattr(launch, "POLL", 0.02)
    monkeypatch.setattr(launch, "FIRST", 0.05)
    kept = launch.Kept("a store")
    for n in (1, 2):
        started[-1].process.kill()
        until(lambda n=n: len(started) > n)
    assert kept.alive
    assert started[-1].ready(10)
    kept.close()
    assert not kept.alive
    assert not any(engine.alive for engine in started)
    assert len(started) == 3
    assert {engine.process.stdout.closed for engine in started} == {True}, "pipes of engines that have ended are closed"


def test_an_engine_that_ends_at_once_is_tried_less_and_less_often(monkeypatch) -> None:
    waits = []

    class Closed:
        """Tells how long it was waited for, and is closed after six looks of the back-off."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            return len(waits) >= 12

        def set(self) -> None:
            pass

    class Ended:
        alive = False

        def close(self) -> None:
            pass

    monkeypatch.setattr(launch, "start", lambda url: Ended())
    monkeypatch.setattr(launch.threading, "Event", Closed)
    monkeypatch.setattr(launch, "LONGEST", 4.0)
    kept = launch.Kept.__new__(launch.Kept)
    kept.url, kept.engine, kept.closed = "a store", Ended(), Closed()
    kept._keep()
    assert [w for w in waits if w != launch.POLL] == [1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
