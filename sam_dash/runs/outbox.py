"""What a worker has to tell a store that may not answer for a while: kept, in order, and tried again. Torch-free.

A store that is locked, full, or gone for minutes as when a server is restarted, does not end a training: its reports
wait here, each try a little later than the one before. What is lost is lost for good only after `LIMIT`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Report, one_line
from sam_dash.runs.tables import PASSING, StoreError, passing

LIMIT = float(os.environ.get("SAM_DASH_PATIENCE") or 600)  # seconds that a store is waited for
FIRST, LONGEST = 0.5, 10.0  # seconds between two tries: the first, and the longest
BUSY = 1.0  # seconds that one try waits for another who writes

Found = TypeVar("Found")


class StoreLostError(StoreError):
    """A store that could not be written to for `LIMIT`."""


class Tries:
    """When to try again what a store has refused."""

    def __init__(self) -> None:
        self.since, self.wait, self.next = 0.0, 0.0, 0.0

    def failed(self, error: Exception) -> None:
        """One more failure; what is not to be mended by another try is raised, and StoreLostError after `LIMIT`."""
        if not passing(error):
            raise error
        at = time.monotonic()
        self.since = self.since if self.wait else at
        if at - self.since > LIMIT:
            why = one_line(getattr(error, "orig", None) or error)
            raise StoreLostError(f"the store could not be written to for {LIMIT:g} s: {why}") from error
        self.wait = min(LONGEST, 2 * self.wait or FIRST)
        self.next = at + self.wait

    def succeeded(self) -> None:
        """The store answers."""
        self.wait = self.next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to try."""
        return time.monotonic() >= self.next


def patiently(action: Callable[[], Found], say: Callable[[str], object] | None = None) -> Found:
    """What `action` returns, once the store lets it; `say` is told in a line, once, what it is that is waited for.

    Raises:
        StoreLostError: after `LIMIT`.
    """
    tries = Tries()
    while True:
        try:
            return action()
        except (*PASSING, StoreError) as error:
            first = not tries.wait
            tries.failed(error)
            if first and say is not None:
                say(f"the store does not answer ({one_line(getattr(error, 'orig', None) or error)}): waiting for it")
            time.sleep(tries.wait)


class Outbox:
    """The reports of one attempt at some runs, on their way to the store."""

    def __init__(self, leases: Leases, owner: str, keys: Sequence[str]) -> None:
        self.leases, self.owner, self.keys = leases, owner, keys
        self.waiting: list[Report] = []
        self.tries = Tries()
        self.tried = 0  # how often the first of them was

    def put(self, report: Report) -> set[int]:
        """Send a report, or keep it for later; the numbers of the runs to stop, as far as that is known.

        Raises:
            StoreLostError: where the store has not answered for `LIMIT`.
        """
        self.waiting = [replace(older, saved=()) for older in self.waiting]  # one is large, and the last one counts
        self.waiting.append(report)
        if not self.tries.due:
            return set()
        try:
            return self._send()
        except PASSING as error:
            self.tries.failed(error)
            return set()

    def empty(self) -> None:
        """Send all that is left; raises StoreLostError as `patiently` does."""
        patiently(self._send)

    def _send(self) -> set[int]:
        asked: set[int] = set()
        while self.waiting:
            self.tried += 1
            asked |= self.leases.flush(self.owner, self.keys, self.waiting[0], again=self.tried > 1)
            self.waiting.pop(0)
            self.tried = 0
        self.tries.succeeded()
        return asked
