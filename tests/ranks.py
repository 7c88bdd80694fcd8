"""Several processes that train as one, forked from one that has imported what they need.

python -m tests.ranks MODULE FOLDER SIZE...: for each size, `MODULE.main(rank, size, folder)` on every rank.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # which the first optimiser would import, once a rank
import torch.distributed as dist

ROOT = Path(__file__).parents[1]


def found_on(module: str, folder: Path, sizes: Sequence[int]) -> dict[int, list[Any]]:
    """By size, what every rank has saved."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ranks", module, str(folder), *map(str, sizes)], cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {size: [torch.load(saved(folder, rank, size), weights_only=False) for rank in range(size)] for size in sizes}


def saved(folder: Path, rank: int, size: int) -> Path:
    """Where a rank saves what it has found."""
    return folder / f"{rank} of {size}.pt"


def join(rank: int, size: int, folder: Path) -> None:
    """Make this process one of a group."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / f"group of {size}"), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(minutes=5))


def main(module: str, folder: Path, sizes: Sequence[int]) -> int:
    """Run the ranks of each size, one size after the other; 1 if one of them failed, after which the others end."""
    of = importlib.import_module(module)
    for size in sizes:
        running = {_forked(of, rank, size, folder) for rank in range(size)}
        while running:
            pid, status = os.wait()
            running.discard(pid)
            if status:
                for other in running:
                    os.kill(other, signal.SIGKILL)
                return 1
    return 0


def _forked(of: Any, rank: int, size: int, folder: Path) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        of.main(rank, size, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), [int(size) for size in sys.argv[3:]]))
