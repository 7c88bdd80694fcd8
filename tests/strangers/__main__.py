"""Try the doors on many inputs: python -m tests.strangers --count 10000; a line a door, and whatever was not refused in
one line, took too long or too much memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.strangers.doors import DOORS, Door

SECONDS, BYTES = 2.0, 10**9


def tried(door: Door, folder: Path, count: int, seed: int) -> Counter[str]:
    """What a door did with so many inputs: taken and refused, the longest in milliseconds; AssertionError otherwise."""
    found: Counter[str] = Counter()

    @hypothesis.seed(seed)
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(door.examples)
    def each(example: object) -> None:
        started = time.thread_time()
        said = door.take(example, folder)
        took = time.thread_time() - started
        found["inputs"] += 1
        found["refused" if said else "taken"] += 1
        found["slowest (ms)"] = max(found["slowest (ms)"], round(1000 * took))
        assert "\n" not in said, f"several lines: {said!r}"
        assert len(said) < 2000, f"{len(said)} characters: {said[:200]!r}"
        assert took < SECONDS, f"{took:.1f} s of CPU"

    each()
    return found


def main() -> int:
    """0 if all held."""
    parser = argparse.ArgumentParser(prog="python -m tests.strangers")
    parser.add_argument("--count", type=int, default=10_000, help="inputs of each door")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--door", choices=DOORS, action="append")
    args = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="strangers-") as folder:
        os.environ["XDG_DATA_HOME"] = folder
        for name in args.door or DOORS:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                found = tried(DOORS[name], Path(folder), args.count, args.seed)
            except Exception as error:  # whatever a door raises that it should not
                wrong += 1
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                raise
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            wrong += grown > BYTES
            print(
                f"{name}: {', '.join(f'{k} {v}' for k, v in sorted(found.items()))}, {grown / 1e6:.0f} MB more at most"
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
