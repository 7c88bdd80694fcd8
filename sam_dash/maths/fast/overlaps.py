"""Inner products of a convolution's patches, from those of pixels: no patch is unfolded.

The patches at p of an image h and at q of an image x are products over taps k and channels, which can be summed in
either order:

    (H X^T)[p, q] = sum_k P[p + k, q + k]        P[a, b] = h[a] . x[b]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Move = tuple[slice, slice]


@dataclass(frozen=True)
class Overlaps:
    """Overlaps of patches in images (H, W) with (p, q) outputs: by axis, each tap's outputs and what it sees."""

    size: tuple[int, int]
    outputs: tuple[int, int]
    taps: tuple[list[Move], list[Move]]

    @classmethod
    def of(cls, layer: Any, size: Iterable[int], outputs: Iterable[int]) -> Overlaps:
        """The overlaps in an `nn.Conv2d`."""
        (H, W), (p, q) = size, outputs
        rows, columns = zip(layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True)
        return cls((H, W), (p, q), (moves(H, p, *rows), moves(W, q, *columns)))

    def products(self, h: Tensor, x: Tensor, m: int) -> Tensor:
        """H X^T in micro-batches of m of the images h and x (n, c, H, W): (n / m, m p q, m p q)."""
        P = (pixels(h, m) @ pixels(x, m).mT).view(-1, m, *self.size, m, *self.size)
        for axis in (0, 1):
            P = along_diagonals(P, axis, self.taps[axis], self.outputs[axis])
        return P.flatten(4).flatten(1, 3)

    def spread(self, K: Tensor, m: int) -> Tensor:
        """The transpose of P -> H X^T: (G, m p q, m p q) -> (G, m H W, m H W)."""
        K = K.view(-1, m, *self.outputs, m, *self.outputs)
        for axis in (0, 1):
            K = along_diagonals(K, axis, [(seen, out) for out, seen in self.taps[axis]], self.size[axis])
        return K.flatten(4).flatten(1, 3)


def moves(size: int, outputs: int, taps: int, stride: int, padding: int, dilation: int) -> list[Move]:
    """For each tap along an axis, the outputs for which it sees a pixel and not the padding, and those pixels."""
    found = []
    for k in range(taps):
        offset = k * dilation - padding
        first, last = max(0, -(offset // stride)), min(outputs - 1, (size - 1 - offset) // stride)
        if first <= last:
            seen = slice(stride * first + offset, stride * last + offset + 1, stride)
            found.append((slice(first, last + 1), seen))
    return found


def pixels(a: Tensor, m: int) -> Tensor:
    """Images (n, c, H, W) as the pixels of micro-batches of m, (n / m, m H W, c); a view where channels come last."""
    return a.permute(0, 2, 3, 1).reshape(len(a) // m, -1, a.shape[1])


def along_diagonals(P: Tensor, axis: int, taps: Iterable[Move], size: int) -> Tensor:
    """P (G, m, H, W, m, H, W) -> the sum over taps (to, of) of P at [of, of], put at [to, to], in both its `axis`."""
    one, other = 2 + axis, 5 + axis
    out = P.new_zeros([size if dim in (one, other) else length for dim, length in enumerate(P.shape)])
    for to, of in taps:
        at, seen = [slice(None)] * 7, [slice(None)] * 7
        at[one] = at[other] = to
        seen[one] = seen[other] = of
        out[tuple(at)] += P[tuple(seen)]
    return out
