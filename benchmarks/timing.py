"""Side-by-side timing: alternating rounds in one process, so that a busy machine slows both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple


class Ratio(NamedTuple):
    """Median of the ratios of paired rounds, with the least and the greatest."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_digits(self.value)} ({_digits(self.low)} - {_digits(self.high)})"

    def times(self, c: float) -> Ratio:
        """All three times c > 0."""
        return Ratio(self.value * c, self.low * c, self.high * c)


class Times:
    """Seconds of every side in every round, `[side][round]`."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self.seconds = seconds

    def median(self, side: str) -> float:
        """Seconds of one call."""
        return median(self.seconds[side])

    def ratio(self, side: str, base: str) -> Ratio:
        """Time of `side` over that of `base`."""
        pairs = sorted(a / b for a, b in zip(self.seconds[side], self.seconds[base], strict=True))
        return Ratio(median(pairs), pairs[0], pairs[-1])


def side_by_side(
    sides: Mapping[str, Callable[[], object]],
    budget: float = 6.0,
    rounds: int = 25,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Time each side once a round, after one call to warm up, until the budget (s) is spent or the rounds are done.

    A round repeats the quick sides until each has taken a few milliseconds. At least three rounds. `clock`:
    that of a thread, where others use the machine too.
    """
    repeat = {}
    for side, call in sides.items():
        call()
        repeat[side] = max(1, min(50, int(0.004 / max(1e-6, _time(call, 1, clock)))))
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    started = time.perf_counter()
    for i in range(rounds):
        if i >= 3 and time.perf_counter() - started > budget:
            break
        for side, call in sides.items():
            seconds[side].append(_time(call, repeat[side], clock))
    return Times(seconds)


def _time(call: Callable[[], object], repeat: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(repeat):
        call()
    return (clock() - started) / repeat


def _digits(x: float) -> str:
    return f"{x:.0f}" if x >= 99.5 else f"{x:.1f}" if x >= 9.95 else f"{x:.2f}"
