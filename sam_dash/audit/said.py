"""What a rank says of a watched step, in plain numbers that are sent between ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sam_dash.audit.judge import Descent


@dataclass(frozen=True)
class Found:
    """One perturbation, in plain numbers that are sent between ranks."""

    m: int
    of: str
    stale: bool
    transform: str
    beside: str
    share: float
    clear: bool
    r: float
    floor: float
    rival: str
    nearest: str
    rho: float
    g: float  # ‖the gradient it is along‖, of the loss as the loop scales it; 0 where there is none
    common: bool | None
    left: float
    down: bool = False  # against the direction
    part: str = ""  # which weights alone are displaced; "": all whose gradient is not 0


@dataclass(frozen=True)
class Said:
    """One step on one rank."""

    found: tuple[Found, ...]
    forwards: int
    functional: int
    statistics: tuple[bool, int, int]  # whether there are any, and how often clean and perturbed forwards moved them
    masks: str  # "none", "equal", "different", "apart": no forward of the same inputs to compare with
    descent: Descent | None
    sent: tuple[tuple[str, int], ...]
    size: int  # bytes of the model's parameters
    local: int  # samples of the step on this rank
    own: str = ""  # what a replay of our own optimiser says, in words
    own_m: tuple[int, ...] = ()
    own_rho: float | None = None
    maximises: bool = False  # whether the optimiser goes up its gradients
    same: tuple[int, int] = (0, 0)  # samples descended that are among those the perturbation was made of; of how many


def told(steps: Sequence[Sequence[Said]]) -> tuple[list[Said], list[Found]]:
    """All that is said, and all perturbations; without the first step's where those lie along a step before it.

    What was made before watching began cannot be known, though what the later steps do tells what it was.
    """
    every = [said for step in steps for said in step]
    later = [f for step in steps[1:] for said in step for f in said.found]
    if later and all(f.stale and f.clear for f in later) and not any(f.of for said in steps[0] for f in said.found):
        return every, later
    return every, [f for said in every for f in said.found]


def m_of(every: Sequence[Said], found: Sequence[Found]) -> int | None:
    """The m of all perturbations; None where they differ, or one cannot be told."""
    if any(said.own for said in every):
        told = {said.own_m for said in every}
        return told.pop()[0] if len(told) == 1 and all(len(of) == 1 for of in told) else None
    sizes = {f.m for f in found if f.clear and not f.stale}
    return sizes.pop() if len(sizes) == 1 and all(f.clear and not f.stale for f in found) else None
