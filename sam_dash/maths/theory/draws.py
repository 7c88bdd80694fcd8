"""How a batch of B samples is drawn and cut into micro-batches of m, and what that makes of means of products.

For factors F_1, ..., F_k with population mean 0, each of one sample at a random place of the batch, those of one half
in one micro-batch, the mean over the draw is

    E[F_1 ... F_k] = sum over partitions s of the factors   c_s E_s[F_1 ... F_k]

where in E_s factors of one block are of the same sample and different blocks are independent. A block of one factor
has mean 0 and drops out. With replacement places are independent; without it, distinct places have distinct samples,
and the sum over these is one over all by Moebius inversion on the lattice of partitions.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

Partition = tuple[int, ...]
"""The block of every factor; blocks are numbered in the order of their first factor."""


@dataclass(frozen=True)
class Draw:
    """`batch` of n samples, with replacement if `replace`, in micro-batches of `m`, which divides `batch`.

    Raises ValueError where it cannot be drawn.
    """

    n: int
    batch: int
    m: int
    replace: bool = True

    def __post_init__(self) -> None:
        if self.batch < 1 or self.batch % self.m:
            sizes = ", ".join(str(k) for k in range(1, self.batch + 1) if self.batch % k == 0)
            raise ValueError(f"m = {self.m} does not divide the batch size B = {self.batch}; choose one of {sizes}")
        if not self.replace and self.batch > self.n:
            raise ValueError(f"B = {self.batch}: expected at most n = {self.n} without replacement")

    @property
    def parts(self) -> int:
        """B/m, the number of micro-batches."""
        return self.batch // self.m

    @property
    def factor(self) -> float:
        """By what tr V / m is multiplied: 1 with replacement, (n - m)/(n - 1) without."""
        return 1.0 if self.replace else (self.n - self.m) / (self.n - 1)

    @functools.cache  # noqa: B019 - a frozen value, of which there are few
    def weights(self, *halves: int) -> dict[Partition, float]:
        """c_s of every partition s without a block of one, of so many factors in each half (one or two halves)."""
        k = sum(halves)
        out = {s: 0.0 for s in partitions(k) if all(s.count(block) > 1 for block in s)}
        for p in partitions(k):
            share = self._share(p, halves)
            if not share:
                continue
            if self.replace:
                if p in out:
                    out[p] += share
                continue
            for s in out:
                if coarser(s, p):
                    out[s] += share * moebius(p, s) * self.n ** (max(s) + 1) / math.perm(self.n, max(p) + 1)
        return out

    def _share(self, p: Partition, halves: tuple[int, ...]) -> float:
        """The probability that exactly the factors of a block of p stand at the same place."""

        def within(blocks: Partition) -> float:
            return math.perm(self.m, len(set(blocks))) / float(self.m) ** len(blocks)

        if len(halves) == 1:
            return within(p)
        first, second = p[: halves[0]], p[halves[0] :]
        apart = within(first) * within(second) if not set(first) & set(second) else 0.0
        return within(p) / self.parts + apart * (1 - 1 / self.parts)


def partitions(k: int) -> Iterator[Partition]:
    """All partitions of k factors."""
    for p in itertools.product(*(range(i + 1) for i in range(k))):
        if all(p[i] <= max(p[:i], default=-1) + 1 for i in range(k)):
            yield p


def coarser(s: Partition, p: Partition) -> bool:
    """Whether each block of p lies within a block of s."""
    return all(s[i] == s[j] for i in range(len(s)) for j in range(i) if p[i] == p[j])


def moebius(p: Partition, s: Partition) -> int:
    """The Moebius function of the lattice between p and the coarser s."""
    merged = (len({p[i] for i in range(len(p)) if s[i] == block}) for block in set(s))
    return math.prod((-1) ** (b - 1) * math.factorial(b - 1) for b in merged)
