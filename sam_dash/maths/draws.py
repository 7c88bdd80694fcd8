"""The noise of a step, drawn before it, so that results depend on neither vmap nor chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from sam_dash.maths.contract import LAWS, Variant


def draw(v: Variant, w: Tensor, generator: torch.Generator) -> Tensor:
    """What a step of the variant at w (d,) needs, (K, d): signs, uniform in [0, 1), or standard normal."""
    shape = (v.noise, w.shape[-1])
    if v.law == "signs":
        return (2 * torch.randint(0, 2, shape, generator=generator, dtype=torch.int8) - 1).to(w)
    if v.law == "uniform":
        return torch.rand(shape, generator=generator).to(w)
    if v.law == "normal":
        return torch.randn(shape, generator=generator).to(w)
    raise ValueError(f"{v.title}: law = {v.law!r}; known: {', '.join(LAWS)}")
