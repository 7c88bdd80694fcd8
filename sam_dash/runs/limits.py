"""What one click or one command may ask for: the memory that there is, hours of the queue for each person; above a day,
a page asks. Torch-free.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from sam_dash.runs import cost
from sam_dash.runs.gpus import gpus
from sam_dash.runs.report import ACTIVE, FINISHED
from sam_dash.runs.spec import RunSpec, SpecError
from sam_dash.runs.store import Store

DAY = 24 * 3600.0


def memory(specs: Iterable[RunSpec]) -> int:
    """Bytes that a worker takes for the largest stack of these runs, by the count of its numbers in float32: an
    estimate, and less than it takes where the layers' outputs are most of it (`cost.floats`).
    """
    return max((4 * cost.floats(group[0]) * _together(group) for group in cost.groups(specs).values()), default=0)


def _together(group: list[RunSpec]) -> int:
    return min(len(group), cost.largest_stack(group[0]))


def room() -> int | None:
    """Bytes of memory that this machine has in all; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def check_memory(specs: Iterable[RunSpec]) -> int:
    """The bytes of `memory`; SpecError where this machine has not as many. A GPU's own memory is not asked about."""
    needed, there = memory(specs), room()
    if there is not None and needed > there and not gpus():
        raise SpecError(
            f"a run takes about {size(needed)} of memory, and this machine has {size(there)}; choose a smaller network"
        )
    return needed


def hours() -> float | None:
    """How many hours of work one person may have in the queue: SAM_DASH_HOURS; None without a limit."""
    text = os.environ.get("SAM_DASH_HOURS", "").strip()
    if not text:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 < limit < float("inf"):
        raise SpecError(f"SAM_DASH_HOURS = {text!r}: expected a number of hours above 0")
    return limit


def check_hours(store: Store, runs: Iterable[RunSpec], person: str | None) -> None:
    """SpecError where these runs would give a person more work in the queue than `hours`.

    Work is that of one worker, at the slow end of what this machine was measured to take.
    """
    limit = hours()
    if limit is None:
        return
    specs = {spec.key: spec for spec in runs}
    there = store.statuses(list(specs))
    new = [spec for key, spec in specs.items() if there.get(key) not in (*FINISHED, *ACTIVE)]
    seconds = sum(cost.seconds(group[0], len(group)) for group in cost.groups(new).values())
    total = (store.promised(person) + seconds) * store.speed().high / 3600
    if seconds and total > limit:
        raise SpecError(
            f"with these runs {person or 'whoever is not logged in'} would have {total:.3g} h of work in the queue; at "
            f"most {limit:g} h are allowed for each (SAM_DASH_HOURS): start fewer runs, or wait until others have ended"
        )


def size(n: float) -> str:
    """ "12 MB", "1.5 GB", "120 GB"."""
    if n < 999.5e6:
        return f"{max(1, round(n / 1e6))} MB"
    return f"{n / 1e9:.{1 if n < 9.95e9 else 0}f} GB"
