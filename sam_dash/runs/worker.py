"""What a dask worker does with one claimed group of runs: train them in a stack, straight into the store."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Sequence

from sam_dash.runs.environment import THREADS, environment
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Listener, Outcome, Report, one_line
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store

LOG_LINES = 30
NO_ROOM = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")  # what the libraries under torch say

Train = Callable[[Sequence[RunSpec], Listener], list[Outcome]]


def run_group(url: str, keys: Sequence[str], claim: str, train: Train | None = None) -> None:
    """Train the runs that are still under `claim`; all they have to say goes to the store at `url`.

    An exception fails the runs, with its last line and its traceback; only the death of the process leaves them
    running, for the next attempt. Several runs that the GPU has no memory for start again, half of them at a time.
    """
    store = Store(url)
    leases = Leases(store)
    owner, specs = leases.begin(keys, claim)
    live = [spec.key for spec in specs]

    def listener(report: Report) -> set[int]:
        return leases.flush(owner, live, report)

    started, again = time.monotonic(), False
    try:
        if live:
            outcomes = (train or trainer())(specs, listener)
            seconds = (time.monotonic() - started) / len(live)
            made_with = describe()
            for key, outcome in zip(live, outcomes, strict=True):
                leases.finish(owner, key, outcome, seconds, {**made_with, "steps": outcome.path})
    except Exception as error:  # whatever it is, the user wants to see it at the run
        again = len(live) > 1 and is_out_of_gpu_memory(error)
        if not again:
            lines = traceback.format_exc().splitlines()[-LOG_LINES:]
            leases.fail(owner, live, in_words(error), "\n".join(lines))
    finally:
        store.close()
    if again:  # here, where the traceback and all the tensors in it are gone
        free_gpu_memory()
        half = math.ceil(len(live) / 2)
        for keys in (live[:half], live[half:]):
            run_group(url, keys, claim, train)


def is_out_of_gpu_memory(error: BaseException) -> bool:
    """Whether a GPU had no room for what was asked of it."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_ROOM)


def in_words(error: BaseException) -> str:
    """An exception as one line, and what to do about it where that is known."""
    if not is_out_of_gpu_memory(error):
        return one_line(error)
    return f"out of GPU memory; resume it with fewer workers (SAM_DASH_GPU_SLOTS=1): {one_line(error)}"


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
