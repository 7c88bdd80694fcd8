"""m-sharpness of the weights, at every m (`sam_dash.maths.m_sharpness` defines it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import At, Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured

RHO = 0.05
"""Radius of the m-sharpness that is measured: the same for all runs, whatever they trained with."""

RISE = f"mean rise of a micro-batch's loss, one ascent step of ρ = {RHO:g}"


@measure(
    "m-sharpness of the final weights at m = 1 ... B: one ascent step per micro-batch",
    gradients=16.0,
    quantities={
        "m_sharp": Quantity(
            "m-sharpness", "<i>m</i>-sharpness", RISE,
            At("m", "m-sharpness at m = {}", "<i>m</i>-sharpness at <i>m</i> = {}", f"{RISE}; of {{}} samples"),
        )
    },
    second=False,
    place=4,
)  # fmt: skip
def m_sharpness(of: Measured) -> list[Found]:
    """At every divisor m of the batch size, in micro-batches that each run draws for itself."""
    found = of.way.m_sharpness(of.W, of.batch, m=of.sizes, rho=RHO, generators=of.generators)
    return [{f"m_sharp@{m}": estimate for m, estimate in by_size.items()} for by_size in found]
