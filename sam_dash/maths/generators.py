"""The states of torch's own generators: read, and set again."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def states(parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """The states of the generators on the devices of the parameters, and on the CPU."""
    devices = {p.device for p in parameters if p.is_cuda}
    return {"cpu": torch.get_rng_state()} | {str(d): torch.cuda.get_rng_state(d) for d in devices}


def put(found: dict[str, Tensor]) -> None:
    """Set the generators to those states."""
    for device, state in found.items():
        if device == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, device)
