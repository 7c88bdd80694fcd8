"""What numbers are computed in: float32 on a GPU, and what autocast makes of weights that move within a step.

TensorFloat-32 has the range of float32, but ten bits of mantissa in place of 23.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def refuse_tf32() -> None:
    """Products and convolutions of float32 are computed in float32 from now on."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def float32() -> Iterator[None]:
    """A context in which they are; then the setting is as before."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    refuse_tf32()
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def cast_anew() -> Iterator[None]:
    """A context in which autocast casts a weight at every use: its cache would keep the clean one."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)
