"""What float32 means on a GPU: not TensorFloat-32, which has its range but ten bits of mantissa in place of 23."""

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
