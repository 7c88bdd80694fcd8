"""What a run was made with: versions, machine, device. Torch-free: the worker says which device it used."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import sam_dash
from sam_dash.runs.gpus import gpus, slots

THREADS = 1
"""Threads of torch in a worker. A run's last bits depend on them, and training magnifies those: a run's key would not
determine its result.
"""

REPRODUCIBLE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS)),
    "MKL_CBWR": "AUTO",  # products of matrices depend neither on where they lie in memory nor on those beside them
}
"""What is set in a worker's environment before torch is imported."""

NUMERICS = 1
"""Raised by whoever changes the code so that a key gives other bits than before."""

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "mlxtend", "mnist1d", "PyHessian", "distributed", "SQLAlchemy")


def environment(device: str = "cpu", threads: int = 1) -> dict[str, Any]:
    """Versions of what matters, and the machine, as plain JSON values."""
    return {
        "sam-dash": sam_dash.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": cores(),
        "device": device,
        "threads": threads,
        "numerics": numerics(threads),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def numerics(threads: int = THREADS) -> str:
    """What the last bits of a result depend on besides its key, the versions and the machine."""
    return f"numerics {NUMERICS}, threads {threads}, MKL_CBWR {os.environ.get('MKL_CBWR', 'unset')}"


def kind(environment: Mapping[str, Any]) -> str:
    """How a run was made, as far as its last bits depend on it: "torch 2.13.0 on cpu, 1 thread ..."."""
    if "imported" in environment:
        return "imported"
    how = environment.get("numerics") or f"{environment.get('threads', '?')} threads of an earlier version"
    return f"torch {environment.get('packages', {}).get('torch', '?')} on {environment.get('device', '?')}, {how}"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Worker processes of an engine, unless told otherwise: `slots` for each GPU, else one a core, at most 8.

    SpecError for a SAM_DASH_GPU_SLOTS that is no number.
    """
    devices = len(gpus())
    return devices * slots(devices, cores()) if devices else min(cores(), 8)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
