"""The loss round weights w: at w + sum_k a_k u_k along directions u_k, after rounding w, and after noise.

Directions are eigenvectors of the Hessian, the line to other weights, or random ones normalised filter by filter (Li
et al., NeurIPS 2018, arXiv:1712.09913): a scale of their own for each network, so that what they show is not a matter
of how its layers are scaled. A slice is one or two dimensions of d, and its scale is that of the directions' norms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sam_dash.maths.curvature import OutputsFn
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.flat import Layout, PerSample
from sam_dash.maths.loss import Score
from sam_dash.maths.oracle import Batch
from sam_dash.maths.samples import chunks

CHUNK = 1024  # samples of one forward pass


class Point(NamedTuple):
    """The mean loss over the samples at some weights, its `rise` over that at w, and the score (nan: has none).

    The errors are over samples, taken as draws: of the rise within each sample (paired), which is what the shape of a
    slice rests on, and is far smaller near w than that of the loss.
    """

    loss: float
    stderr: float
    rise: float
    rise_stderr: float
    score: float


class Around:
    """The losses of all samples round w (d,), each at w kept, so that every point costs one pass over the samples."""

    def __init__(
        self, outputs_fn: OutputsFn, loss: PerSample, w: Tensor, batch: Batch, score: Score | None = None
    ) -> None:
        self.outputs_fn, self.loss, self.w, self.batch, self.score = outputs_fn, loss, w, batch, score
        self.here = self._losses(w)[0]

    @torch.no_grad()
    def _losses(self, at: Tensor) -> tuple[Tensor, float]:
        """The loss of every sample in double precision (n,), and the score."""
        found, right = [], 0.0
        for x, y in chunks(self.batch, CHUNK):
            out = self.outputs_fn(at, x)
            if self.score:
                right += float(self.score.values(out, y).double().sum())
            found.append(self.loss(out.double() if isinstance(out, Tensor) else out, y).double())
        each = torch.cat(found)
        return each, self.score.of(right / len(each)) if self.score else math.nan

    def at(self, v: Tensor) -> Point:
        """The point at weights v (d,)."""
        each, score = self._losses(v)
        n, rises = len(each), each - self.here
        errors = [float(a.std() / n**0.5) if n > 1 else math.nan for a in (each, rises)]
        return Point(float(each.mean()), errors[0], float(rises.mean()), errors[1], score)

    def slice(self, directions: Tensor, at: Tensor) -> Iterator[Point]:
        """The points at w + at[p] @ directions: directions (k, d) and coordinates (P, k) -> P points, one by one."""
        return (self.at(self.w + a @ directions) for a in at.to(directions))

    def noise(self, sigma: float, generator: torch.Generator, pairs: int = 8) -> Estimate:
        """The mean rise after Gaussian noise of standard deviation sigma on every weight, with its error over draws.

        A draw is a pair w + sigma z, w - sigma z, in which the slope cancels. To second order the mean is
        sigma^2 / 2 tr(H).
        """
        rises = []
        for _ in range(pairs):
            z = sigma * torch.randn(self.w.numel(), generator=generator).to(self.w)
            rises.append(sum(self.at(v).rise for v in (self.w + z, self.w - z)) / 2)
        return Estimate.of_mean(torch.tensor(rises, dtype=torch.float64), "Gaussian noise, pairs of opposite draws")


def filter_normalised(layout: Layout, w: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction (d,) with the norm of w in every filter, and 0 where w has no filters (biases, norm layers).

    A filter is what belongs to one output: a row of a linear layer, a kernel of a convolution.
    """
    out = []
    for part, shape in zip(layout.segments(w), layout.shapes, strict=True):
        if len(shape) < 2:
            out.append(torch.zeros_like(part))
            continue
        rows = part.reshape(shape[0], -1)
        z = torch.randn(rows.shape, generator=generator).to(part)
        out.append((z * (rows.norm(dim=1) / z.norm(dim=1))[:, None]).reshape(-1))
    return torch.cat(out)


def rounded(layout: Layout, w: Tensor, bits: int) -> Tensor:
    """w (d,) with every tensor rounded to the 2^bits - 1 multiples of its own step that lie evenly round 0.

    The step is max|w| / (2^(bits - 1) - 1): per tensor, symmetric, no zero point, biases too.
    """
    out = []
    for part in layout.segments(w):
        step = part.abs().max() / (2 ** (bits - 1) - 1)
        out.append(part if step == 0 else (part / step).round() * step)
    return torch.cat(out)
