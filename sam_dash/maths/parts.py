"""A batch that comes in several, as it does where gradients are accumulated: m counts samples in the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

Batch = tuple[Any, Any]


def batches(closure: Callable[[], Batch | list[Batch]] | None) -> list[Batch]:
    """What the closure returns as a list of batches (x, y); ValueError where that is neither one nor several."""
    found = closure() if closure is not None else None
    if isinstance(found, list) and found and all(map(_is_pair, found)):
        return [cast(Batch, tuple(batch)) for batch in found]
    if not _is_pair(found):
        said = "no closure" if closure is None else f"a closure that returns {type(found).__name__}"
        raise ValueError(
            f"{said}: step needs a closure that returns the batch (x, y), not a loss, or a list of batches; "
            "it computes losses and gradients itself, as often as the variant asks"
        )
    return [cast(Batch, tuple(cast(Batch, found)))]


def _is_pair(found: Any) -> bool:
    return isinstance(found, tuple | list) and len(found) == 2


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
