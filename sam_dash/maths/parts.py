"""A batch that comes in several, as it does where gradients are accumulated: m counts samples in the whole."""

from __future__ import annotations

from typing import Any


def together(parts: list[Any], sizes: list[int], m: int) -> list[list[Any]]:
    """The batches in groups that a perturbation does not cross: one that m divides alone, else so many as make m.

    ValueError with what was found where neither works.
    """
    if len(parts) == 1:
        return [parts]
    groups: list[list[Any]] = []
    open_: list[Any] = []
    held = 0
    for part, size in zip(parts, sizes, strict=True):
        if not held and size % m == 0:
            groups.append([part])
            continue
        open_, held = [*open_, part], held + size
        if held == m:
            groups.append(open_)
            open_, held = [], 0
        elif held > m:
            break
    if held:
        raise ValueError(
            f"m = {m} neither divides the batches of {', '.join(map(str, sizes))} samples nor is the sum of "
            "consecutive ones; choose one of these, or None for the whole"
        )
    return groups
