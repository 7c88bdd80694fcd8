"""What a dask worker does with one claimed group of runs: train them in a stack, straight into the store."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence

from sam_dash.runs.environment import environment
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Listener, Outcome, Report, one_line
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store

LOG_LINES = 30

Train = Callable[[Sequence[RunSpec], Listener], list[Outcome]]


def run_group(url: str, keys: Sequence[str], claim: str, train: Train | None = None) -> None:
    """Train the runs that are still under `claim`; all they have to say goes to the store at `url`.

    An exception fails the runs, with its last line and its traceback; only the death of the process leaves them
    running, for the next attempt.
    """
    store = Store(url)
    leases = Leases(store)
    owner, specs = leases.begin(keys, claim)
    live = [spec.key for spec in specs]

    def listener(report: Report) -> set[int]:
        return leases.flush(owner, live, report)

    started = time.monotonic()
    try:
        if live:
            outcomes = (train or trainer())(specs, listener)
            seconds = (time.monotonic() - started) / len(live)
            made_with = describe()
            for key, outcome in zip(live, outcomes, strict=True):
                leases.finish(owner, key, outcome, seconds, {**made_with, "steps": outcome.path})
    except Exception as error:  # whatever it is, the user wants to see it at the run
        lines = traceback.format_exc().splitlines()[-LOG_LINES:]
        leases.fail(owner, live, one_line(error), "\n".join(lines))
    finally:
        store.close()


def trainer() -> Train:
    """The training function; its first import in a process takes seconds."""
    from sam_dash.runs.train import train

    return train


def warm_up() -> None:
    """Import what training needs, ahead of the first group."""
    trainer()


def describe() -> dict[str, object]:
    """The environment of this worker."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return environment(device, torch.get_num_threads())
