"""The NVIDIA GPUs of this machine and how many worker processes share one. Torch-free: nvidia-smi is asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile

from sam_dash.problems.problem import SpecError

SLOTS = 4  # worker processes a GPU, at most, unless told otherwise: a guess, not measured
LISTED = re.compile(r"^(GPU \d+|\s+MIG .*):.*\(?UUID: ((?:GPU|MIG)-[^)\s]+)\)", re.MULTILINE)


def gpus() -> list[str]:
    """Devices for workers to be pinned to, as CUDA_VISIBLE_DEVICES names them; none for a torch without CUDA.

    That variable is respected. A GPU that is split by MIG counts as its parts.
    """
    found = _listed()
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not found or asked is None:
        return [part for gpu in found for part in gpu[1:] or gpu]
    names = [name for gpu in found for name in gpu]

    def known(entry: str) -> bool:  # CUDA ignores all that comes after an entry it does not know
        return int(entry) < len(found) if entry.isdecimal() else any(n.startswith(entry) for n in names if entry)

    return list(takewhile(known, (entry.strip() for entry in asked.split(","))))


def slots(devices: int, cores: int) -> int:
    """Worker processes for each of so many GPUs: SAM_DASH_GPU_SLOTS, else the cores shared out, at most `SLOTS`."""
    text = os.environ.get("SAM_DASH_GPU_SLOTS", "").strip()
    if not text:
        return max(1, min(cores // devices, SLOTS))
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 64):
        raise SpecError(f"SAM_DASH_GPU_SLOTS = {text!r}: expected a whole number in [1, 64]")
    return int(text)


@lru_cache(maxsize=1)
def _listed() -> list[list[str]]:
    """The UUID of each GPU, followed by those of its MIG parts."""
    try:
        if version("torch").endswith("+cpu") or shutil.which("nvidia-smi") is None:
            return []
        command = ["nvidia-smi", "-L"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (PackageNotFoundError, OSError, subprocess.SubprocessError):  # no torch, no driver, or one that hangs
        return []
    out: list[list[str]] = []
    for what, uuid in LISTED.findall(text):
        if what.startswith("GPU"):
            out.append([uuid])
        elif out:
            out[-1].append(uuid)
    return out
