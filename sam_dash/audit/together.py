"""The ranks that train together, as the auditor needs them: every vector and every word of each, on all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sam_dash.audit.directions import Direction

Source = tuple[str, int, Tensor, bool]  # which samples, in words; how many; their gradient (d,); whether it is stale


@dataclass(frozen=True)
class Together:
    """The default process group, or one process alone."""

    size: int
    rank: int
    device: torch.device

    @classmethod
    def here(cls, device: torch.device) -> Together:
        """All ranks of the default process group; what is sent is sent from this device."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return cls(dist.get_world_size(), dist.get_rank(), device)
        return cls(1, 0, device)

    def vectors(self, a: Tensor) -> Tensor:
        """The tensor of every rank: (...) -> (R, ...)."""
        if self.size == 1:
            return a[None]
        out = [torch.empty_like(a, device=self.device) for _ in range(self.size)]
        dist.all_gather(out, a.to(self.device).contiguous())
        return torch.stack(out)

    def objects(self, a: Any) -> list[Any]:
        """What each rank says."""
        if self.size == 1:
            return [a]
        out: list[Any] = [None] * self.size
        dist.all_gather_object(out, a)
        return out

    @property
    def neighbours(self) -> list[int]:
        """The numbers of consecutive ranks that may share a perturbation, besides one and all."""
        return [k for k in range(2, self.size) if self.size % k == 0]

    def alone(self, here: Sequence[Source]) -> list[Direction]:
        """The candidates that are here."""
        return [Direction(words, n, (self.rank,), vector, stale) for words, n, vector, stale in here]

    def directions(self, here: Sequence[Source]) -> list[Direction]:
        """The candidates: what is here, and the same sources of other ranks, summed and alone.

        Where ranks have other sources than this one, only what is here.
        """
        told = self.objects([(words, n) for words, n, *_ in here])
        if self.size == 1 or any([w for w, _ in of] != [w for w, _ in told[0]] for of in told):
            return self.alone(here)
        out = []
        everyone = tuple(range(self.size))
        if not here:
            return []
        sent = self.vectors(torch.stack([vector for *_, vector, _ in here]))
        for i, (words, n, vector, stale) in enumerate(here):
            every, counts = sent[:, i], [of[i][1] for of in told]
            out.append(Direction(f"{words} of this rank", n, (self.rank,), vector, stale))
            for k in [*self.neighbours, self.size]:
                group = [self.rank // k * k + j for j in range(k)]
                name = f"all {k} ranks" if k == self.size else f"{k} neighbouring ranks"
                total = sum(counts[j] for j in group)
                out.append(Direction(f"{words} of {name}", total, tuple(group), every[group].sum(0), stale))
            for j in everyone:
                if j != self.rank:
                    out.append(Direction(f"{words} of rank {j} alone", counts[j], (j,), every[j], stale))
            each = every / every.norm(dim=1, keepdim=True).clamp_min(1e-300)
            name = f"{words} of all {self.size} ranks, each normalised"
            out.append(Direction(name, sum(counts), everyone, each.sum(0), stale))
        return sorted(out, key=lambda c: (c.stale, len(c.ranks) > 1 and "normalised" in c.of))
