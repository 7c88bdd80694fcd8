"""The generators of a run: each purpose of a seed has a stream of its own."""

from __future__ import annotations

import numpy as np
import torch

STREAMS = ("init", "labels", "order", "noise", "probes", "memorise", "density", "head", "augment", "regulariser")


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose of one seed."""
    return np.random.default_rng([seed, STREAMS.index(purpose)])


def number(seed: int, purpose: str) -> int:
    """What a generator of torch starts from for one purpose of one seed."""
    return int(stream(seed, purpose).integers(2**62))


def torch_stream(seed: int, purpose: str) -> torch.Generator:
    """The generator of one purpose of one seed, of torch, on the CPU."""
    return torch.Generator().manual_seed(number(seed, purpose))
