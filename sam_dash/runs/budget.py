"""What recording may take of a loop's time, and what it has taken. Torch-free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

clock: Callable[[], float] = time.perf_counter


class Budget:
    """A share of the time since it was made; `elsewhere` tells the seconds that another thread has taken of it."""

    def __init__(self, share: float, elsewhere: Callable[[], float]) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share = {share!r}: expected a share of the loop's time in [0, 1]")
        self.share, self.elsewhere = share, elsewhere
        self.start, self.beside = clock(), 0.0
        self.own = {"log": 0.0, "watch": 0.0, "measure": 0.0}  # seconds in the loop

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return max(clock() - self.start, 1e-9)

    @property
    def spent(self) -> float:
        """Seconds that recording has taken, in the loop and elsewhere."""
        return sum(self.own.values()) + self.elsewhere()

    def allows(self, expected: float) -> bool:
        """Whether so many seconds more (inf: nobody knows), taken now, would leave recording within its share."""
        return expected < inf and self.spent + expected <= self.share * (self.elapsed + expected)

    def allows_watching(self) -> bool:
        """Whether what is done at every step is within half of what logging leaves of the share; the other half is for
        measurements.
        """
        logging = self.own["log"] + self.elsewhere()
        return self.own["watch"] <= (self.share * self.elapsed - logging) / 2

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count the time that the block takes for itself, neither as the loop's nor as the recording's."""
        begun = clock()
        try:
            yield
        finally:
            took = clock() - begun
            self.beside += took
            self.own["measure"] -= took  # within which it is
            self.start += took

    @contextmanager
    def counted(self, what: str) -> Iterator[None]:
        """Count the time that the block takes to log, watch or measure."""
        begun = clock()
        try:
            yield
        finally:
            self.own[what] += clock() - begun
