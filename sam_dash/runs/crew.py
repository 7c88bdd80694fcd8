"""The workers of a cluster that is not ours: each is asked once, by a task, whether it may train, and why not is said.

A worker with another version of sam-dash would give a key another result; one that cannot reach the store would fail
its runs. Groups are given to those that may only; of workers that come later the same is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.engine import URL

import sam_dash
from sam_dash.runs.environment import NUMERICS
from sam_dash.runs.report import one_line

AGAIN = 30.0  # seconds after which a worker that may not train is asked again, as its store may have been away
PATIENCE = 5.0  # seconds without any worker after which it is said
RETRIES = 2  # workers that a group may lose without having got further, before it is failed
LEFT = f"left when it was asked what it has: install sam-dash {sam_dash.__version__} where it runs"
NONE = "the cluster has no worker that can train: runs wait for one"


def unfit(url: URL, is_of: tuple[int, int] | None, version: str, numerics: int) -> str:
    """On a worker: import what training needs, and say why it may not train for an engine of that version; "" if it
    may. `is_of`: which file the store is in, None of a server's.
    """
    from sam_dash.runs.outbox import BUSY
    from sam_dash.runs.store import Store
    from sam_dash.runs.tables import StoreError
    from sam_dash.runs.worker import trainer

    if (version, numerics) != (sam_dash.__version__, NUMERICS):
        return f"has sam-dash {sam_dash.__version__} (numerics {NUMERICS}), the engine {version} (numerics {numerics})"
    try:
        store = Store(url, BUSY, create=False)
    except StoreError as error:
        elsewhere = "; a store in a file is for workers of one machine: use PostgreSQL" if is_of else ""
        return f"cannot use the store: {error}{elsewhere}"
    same = store.is_of == is_of
    store.close()
    if not same:
        return "has another file at the place of the store, which is for workers of one machine: use PostgreSQL"
    trainer()
    return ""


class Crew:
    """Who may train. `ask(address)` sends `unfit` to a worker and returns the future of its answer."""

    def __init__(self, ask: Callable[[str], Any], say: Callable[[str], object]) -> None:
        self.ask, self.say = ask, say
        self.asked: dict[str, Any] = {}
        self.fit: set[str] = set()
        self.refused: dict[str, tuple[str, float]] = {}
        self.hinted = False
        self.since: float | None = time.monotonic()  # without anybody
        self.silent = True

    def look(self, there: Mapping[str, int]) -> int:
        """Ask who is new, hear who has answered; the tasks that those who may train run at a time."""
        at = time.monotonic()
        self.fit &= there.keys()
        for address in self.asked.keys() - there.keys():  # dask ends a worker that cannot read what it is sent
            del self.asked[address]
            if not self.hinted:  # its nanny may start it again and again
                self.hinted = True
                self.say(f"worker {address} {LEFT}")
        self.refused = {a: why for a, why in self.refused.items() if a in there}
        for address in there.keys() - self.fit - self.asked.keys():
            if at - self.refused.get(address, ("", -AGAIN))[1] >= AGAIN or address not in self.refused:
                self.asked[address] = self.ask(address)
        for address, future in list(self.asked.items()):
            if future.done():
                del self.asked[address]
                self._hear(address, future, at)
        self._count(at)
        return sum(there[address] for address in self.fit)

    def _hear(self, address: str, future: Any, at: float) -> None:
        why = future.result() if future.status == "finished" else _without(future)
        if not why:
            self.refused.pop(address, None)
            self.fit.add(address)
            return
        if self.refused.get(address, ("",))[0] != why:
            self.say(f"worker {address} is left out: it {why}")
        self.refused[address] = why, at

    def _count(self, at: float) -> None:
        """Say once that there is nobody, and that there is again."""
        if self.fit:
            if not self.silent:
                self.say("the cluster has workers again")
            self.since, self.silent = None, True
            return
        self.since = at if self.since is None else self.since
        if self.silent and at - self.since > PATIENCE:
            self.silent = False
            self.say(NONE)


def _without(future: Any) -> str:
    """What a worker lacks that could not answer."""
    try:
        error = future.exception(timeout=5)
    except Exception as strange:  # one that cannot be unpickled here is of another version
        error = strange
    return f"cannot answer for sam-dash {sam_dash.__version__} ({one_line(error)})" if error else "has left"


class Losses:
    """How often the workers of a run were lost without it having got further."""

    def __init__(self) -> None:
        self.at: dict[str, tuple[int, int]] = {}

    def hopeless(self, steps: Mapping[str, int]) -> list[str]:
        """Note that a worker of these runs, by the steps that they had reached, was lost; those to be given up."""
        for key, step in steps.items():
            last, times = self.at.get(key, (-1, 0))
            self.at[key] = (step, 1 if step > last else times + 1)
        return [key for key in steps if self.at[key][1] > RETRIES]
