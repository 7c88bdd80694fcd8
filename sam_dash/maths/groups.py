"""What the groups of an optimiser say of a step: each has a radius, a rate and ends of its schedule of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash.maths.contract import Variant
from sam_dash.maths.shards import cut_as

Group = dict[str, Any]


def radii(
    groups: Sequence[Group], v: Variant, knobs: Mapping[str, Any], perturbed: Sequence[nn.Parameter], like: Tensor
) -> Tensor | None:
    """Each group's "rho" over the variant's, for each coordinate (d,) of what is perturbed; None where none has one.

    Raises:
        ValueError: for a radius out of range, or a variant without one.
    """
    radius = {id(p): group["rho"] for group in groups if "rho" in group for p in group["params"]}
    if not radius:
        return None
    rho = knobs.get("rho")
    if not rho:
        why = "has no such knob" if rho is None else "itself has rho = 0: give it one that is not"
        raise ValueError(f"a group has a rho, but {v.title} {why}")
    for value in set(radius.values()):
        v.check({"rho": value})
    return torch.cat([like.new_full((p.numel(),), radius.get(id(p), rho) / rho) for p in perturbed])


def rate(groups: Sequence[Group]) -> float:
    """Where the learning rate stands between the smallest and the largest of its schedule: `Oracle.rate`.

    Each group's own, averaged by its weights. The ends are the group's "min_lr", else 0, and "max_lr", which
    OneCycleLR sets; else the largest seen, or the one that a scheduler starts from.
    """
    shares = []
    for group in groups:
        lr, low = float(group["lr"]), float(group.get("min_lr", 0.0))
        high = group["max_lr"] = max(lr, float(group.get("max_lr", 0.0)), float(group.get("initial_lr", 0.0)))
        shares.append(max(0.0, (lr - low) / (high - low)) if high > low else 1.0)
    if len(set(shares)) == 1:
        return shares[0]
    sizes = [sum(p.numel() for p in group["params"] if p.requires_grad) for group in groups]
    return sum(a * n for a, n in zip(shares, sizes, strict=True)) / sum(sizes)


def step_along(groups: Sequence[Group], moves: Mapping[int, Tensor], scale: float) -> None:
    """Move the parameters of these ids against `moves`, each at its group's rate times `scale`."""
    for group in groups:
        for p in group["params"]:
            if id(p) in moves:
                p.sub_(cut_as(p, (float(group["lr"]) * scale * moves[id(p)]).to(p.device, p.dtype)))
