"""The tail index of the fluctuations of ||w|| over the steps of training (`sam_dash.maths.tail` defines it)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sam_dash.runs.measure import Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured


@measure(
    "tail index of the fluctuations of ‖w‖ over the second half of the steps: Hill",
    gradients=0.0,
    quantities={
        "w_tail": Quantity(
            "Tail index of ‖w‖",
            "Tail index of ‖<i>w</i>‖",
            "of the weight norm's fluctuations, by Hill; no proof either",
        )
    },
    once=True,
    path=True,
    second=False,
    place=7,
)
def weight_tail(of: Measured) -> list[Found]:
    """From the norms (S, T) of the weights before each step; nothing where there are too few steps for one."""
    from sam_dash.maths import tail

    out: list[Found] = [{} for _ in of.seeds]
    for one, norms in zip(out, of.norms, strict=True):
        with suppress(ValueError):
            one["w_tail"] = tail.fluctuation(norms)
    return out
