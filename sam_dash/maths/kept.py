"""What a call leaves as it was: buffers and generators; and a loader as the same samples in every pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sam_dash.maths import generators
from sam_dash.maths.attention import no_fast_path
from sam_dash.maths.precision import float32
from sam_dash.maths.samples import Stream, each, samples


@contextmanager
def kept(module: nn.Module, loader: Any = None) -> Iterator[Callable[[], None]]:
    """A context for measuring; what it gives sets all generators to where they were, as does its end.

    Buffers are put back in the end. Within, float32 is float32, and attention goes by the math kernel: the others have
    no second derivatives.
    """
    buffers = [(b, b.clone()) for b in module.buffers()]
    before = generators.states(module.parameters())
    others = random.getstate(), np.random.get_state()
    own = [(g, g.get_state()) for g in _generators(loader)]

    def rewind() -> None:
        generators.put(before)
        random.setstate(others[0])
        np.random.set_state(others[1])
        for g, state in own:
            g.set_state(state)

    try:
        with float32(), sdpa_kernel(SDPBackend.MATH), no_fast_path():
            yield rewind
    finally:
        rewind()
        with torch.no_grad():
            for b, value in buffers:
                b.copy_(value)


def _generators(loader: Any) -> list[torch.Generator]:
    """Generators that a torch `DataLoader` and its samplers draw from, besides the global one."""
    sampler = getattr(loader, "batch_sampler", None)
    owners = (loader, getattr(loader, "sampler", None), sampler, getattr(sampler, "sampler", None))
    found = {id(g): g for g in (getattr(o, "generator", None) for o in owners) if isinstance(g, torch.Generator)}
    return list(found.values())


def stream(loader: Any, device: torch.device, rewind: Callable[[], None]) -> Stream:
    """The batches (x, y) of a loader, the same in every pass, as its generators start from the same states.

    A batch that is a dict is x, but for its "labels", which are y. ValueError for what can be gone through but once.
    """
    if iter(loader) is loader:
        raise ValueError("the loader can be gone through only once; pass a DataLoader or a list of batches (x, y)")

    def passes() -> Iterator[Any]:
        rewind()
        for batch in loader:
            yield each(_pair(batch), lambda leaf: leaf.to(device))

    lengths = [samples(batch) for batch in passes()]
    if not lengths:
        raise ValueError("the loader has no batch; expected at least one")
    return Stream(passes, lengths)


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, dict) and "labels" in batch:
        return {key: value for key, value in batch.items() if key != "labels"}, batch["labels"]
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"the loader gives {type(batch).__name__}; expected batches (x, y), or dicts with 'labels'")
    return batch[0], batch[1]
