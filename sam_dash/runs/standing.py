"""Where the training of a run stands, as bytes: tensors and plain values only, read without running code."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

import sam_dash
from sam_dash.runs.environment import numerics
from sam_dash.runs.resume import StaleError

Standing = dict[str, Any]
"""That of `Loop.standing`, and what a run has besides: `made` (by what), `start` (d,) where it is no initialisation,
`diverged` (why, or ""), `norms` (t,) where a measurement reads them, `seconds` of its steps, and all `before`.
"""
PARTS = {"t", "leaves", "generators", "made", "start", "diverged", "norms", "seconds", "before"}


def write(runs: Iterable[Standing]) -> list[bytes]:
    """Each run as bytes."""
    out = []
    for run in runs:
        file = io.BytesIO()
        torch.save(run, file)
        out.append(file.getvalue())
    return out


def read(saved: Sequence[bytes]) -> list[Standing]:
    """The runs again; StaleError if one cannot be read."""
    try:
        found = [torch.load(io.BytesIO(data), weights_only=True) for data in saved]
    except Exception as error:  # torn, or not there: torch, pickle and zipfile raise a dozen kinds
        raise StaleError(f"cannot be read: {error}") from None
    if any(not isinstance(run, dict) or set(run) != PARTS for run in found):
        raise StaleError("saved by another version")
    return found


def starts(runs: Sequence[Standing], like: Tensor) -> Tensor | None:
    """Where the runs started (S, d), if that is not the initialisation; StaleError if it is none `like` (S, d)."""
    found = [run["start"] for run in runs if run["start"] is not None]
    if not found:
        return None
    if len(found) != len(like) or any(w.shape != like.shape[1:] for w in found):
        raise StaleError("started from weights of other shapes")
    return torch.stack(found).to(like)


def made_with(device: torch.device, path: str) -> dict[str, str]:
    """What a result depends on to the last bit, besides its key: a run goes on with the same only."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    kernels = "" if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "sam-dash": sam_dash.__version__, "torch": str(torch.__version__), "device": f"{name} {kernels}".strip(),
        "path": path.partition(",")[0], "numerics": numerics(torch.get_num_threads()),
    }  # fmt: skip
