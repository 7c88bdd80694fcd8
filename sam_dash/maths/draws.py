"""The noise of a step, drawn before it, so that results depend on neither vmap nor chunks."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sam_dash.maths.contract import LAWS, Variant


def draw(v: Variant, w: Tensor, generator: torch.Generator) -> Tensor:
    """The noise of a step of one run at w (d,), (K, d); see `draws`."""
    return draws(v, w[None], [generator])[0] if v.noise else w.new_empty(0, len(w))


def draws(v: Variant, W: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """The noise of a step of the variant at W (S, d), (S, K, d): signs, uniform in [0, 1), or standard normal.

    Each run's from its own generator, on the CPU, so that it depends on neither the others nor the device.
    """
    shape = (v.noise, W.shape[-1])
    if not v.noise:
        return W.new_empty(len(W), *shape)
    if v.law == "signs":
        return signs(shape, W, generators)
    if v.law == "uniform":
        return torch.stack([torch.rand(shape, generator=g) for g in generators]).to(W)
    if v.law == "normal":
        return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(W)
    raise ValueError(f"{v.title}: law = {v.law!r}; known: {', '.join(LAWS)}")


def signs(shape: tuple[int, int], W: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Independent signs +-1 (S, *shape), eight from each random byte."""
    count = math.prod(shape)
    bits = [torch.randint(0, 256, (math.ceil(count / 8),), generator=g, dtype=torch.uint8) for g in generators]
    of_byte = _eight(W.dtype, W.device)
    index = torch.stack(bits).to(W.device).int()
    return of_byte.index_select(0, index.flatten()).view(len(W), -1)[:, :count].unflatten(1, shape)


@functools.cache
def _eight(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The eight signs of each byte (256, 8)."""
    return (2 * (torch.arange(256)[:, None] >> torch.arange(8) & 1) - 1).to(device, dtype)
