"""What a dask worker does with one claimed group of runs: train them in a stack, straight into the store."""

from __future__ import annotations

import contextlib
import math
import sys
import time
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from sqlalchemy.engine import URL

from sam_dash.problems.arrays import DataError
from sam_dash.runs.environment import THREADS, environment
from sam_dash.runs.leases import Leases
from sam_dash.runs.outbox import BUSY, Outbox, StoreLostError, patiently
from sam_dash.runs.report import Listener, Outcome, one_line
from sam_dash.runs.resume import StaleError
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreGoneError

LOG_LINES = 30
NO_ROOM = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")  # what the libraries under torch say


class Train(Protocol):
    """A training function; `saved` is what the runs go on from, StaleError says that they cannot."""

    def __call__(self, specs: Sequence[RunSpec], listener: Listener, *, saved: Sequence[bytes] = ()) -> list[Outcome]:
        """Train."""
        ...


def run_group(url: str | URL, keys: Sequence[str], claim: str, train: Train | None = None) -> None:
    """Train the runs that are still under `claim`; all they have to say goes to the store at `url`.

    The URL is SQLAlchemy's own, whose text hides a password, as dask writes what a task was given to its log.
    An exception fails the runs, with its last line and its traceback; only the death of the process leaves them
    running, for the next attempt. Several runs that the GPU has no memory for start again, half of them at a time.

    Raises:
        StoreLostError: where the store could not be written to for long; the engine lets go of the runs.
        StoreGoneError: where its file was deleted or replaced; the engine ends.
    """
    store = patiently(lambda: Store(url, BUSY, create=False))
    leases = Leases(store)
    owner, specs = patiently(lambda: leases.begin(keys, claim))
    live = [spec.key for spec in specs]
    outbox = Outbox(leases, owner, live)
    started, again = time.monotonic(), False
    try:
        if live:
            with contextlib.redirect_stdout(sys.stderr):  # which a problem file may write to: ours is a pipe
                outcomes = _train(train or trainer(), specs, outbox)
            seconds = (time.monotonic() - started) / len(live)
            made_with = describe()
            outbox.empty()
            for key, outcome in zip(live, outcomes, strict=True):
                made = {**made_with, "steps": outcome.path}
                patiently(partial(leases.finish, owner, key, outcome, outcome.before + seconds, made))
    except (StoreLostError, StoreGoneError):
        raise
    except Exception as error:  # whatever it is, the user wants to see it at the run
        again = len(live) > 1 and is_out_of_gpu_memory(error)
        if not again:
            lines = traceback.format_exc().splitlines()[-LOG_LINES:]
            outbox.empty()
            patiently(partial(leases.fail, owner, live, in_words(error, specs[:1]), "\n".join(lines)))
    finally:
        store.close()
    if again:  # here, where the traceback and all the tensors in it are gone
        free_gpu_memory()
        half = math.ceil(len(live) / 2)
        for keys in (live[:half], live[half:]):
            run_group(url, keys, claim, train)


def _train(train: Train, specs: Sequence[RunSpec], outbox: Outbox) -> list[Outcome]:
    """Train from where the runs were saved, or anew where that is of no use here."""
    saved = patiently(lambda: outbox.leases.saved(outbox.keys))
    if saved:
        try:
            return train(specs, outbox.put, saved=saved)
        except StaleError:
            patiently(lambda: outbox.leases.forget(outbox.owner, outbox.keys))
    return train(specs, outbox.put)


def is_out_of_gpu_memory(error: BaseException) -> bool:
    """Whether a GPU had no room for what was asked of it."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_ROOM)


def in_words(error: BaseException, specs: Sequence[RunSpec] = ()) -> str:
    """An exception as one line, with the line of the user's own file that it came through, and what to do about it
    where that is known.
    """
    if not is_out_of_gpu_memory(error):
        at = own_place(error, specs)
        return f"{at}: {one_line(error)}" if at else one_line(error)
    return f"out of GPU memory; resume it with fewer workers (SAM_DASH_GPU_SLOTS=1): {one_line(error)}"


def own_place(error: BaseException, specs: Sequence[RunSpec]) -> str:
    """The line of a problem file, or of one beside it, that an error came through: "my_problem.py, line 12"; or ""."""
    from sam_dash.problems.running import place

    said = isinstance(error, DataError) or not any(spec.problem.is_file for spec in specs)
    return "" if said else place(specs[0].problem.path, error)


def free_gpu_memory() -> None:
    """Give back what torch keeps for later, so that the other workers of the GPU can have it too."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trainer() -> Train:
    """The training function, for a process of `THREADS` threads; its first import in one takes seconds."""
    import torch

    from sam_dash.runs.train import train

    torch.set_num_threads(THREADS)  # a worker of a cluster that is not ours has as many as it has cores
    return train


def warm_up() -> None:
    """Import what training needs, ahead of the first group."""
    trainer()


def describe() -> dict[str, object]:
    """The environment of this worker."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return environment(device, torch.get_num_threads())
