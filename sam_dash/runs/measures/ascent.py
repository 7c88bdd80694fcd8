"""Ascent-direction sharpness: the curvature of the loss along its gradient (`sam_dash.maths.ascent` defines it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import At, Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured

NAME, HTML = "gᵀHg/‖g‖²", "<i>gᵀHg</i>/‖<i>g</i>‖²"
HELP = "ascent-direction sharpness: curvature of the loss along its gradient"


@measure(
    "curvature along the gradient, of all samples and of micro-batches of m = 1 ... B",
    gradients=360.0,
    quantities={
        "asc_H": Quantity(
            NAME, HTML, HELP, At("m", f"{NAME} at m = {{}}", f"{HTML} at <i>m</i> = {{}}", f"{HELP}; of {{}} samples")
        )
    },
    place=6,
)
def ascent(of: Measured) -> list[Found]:
    """Curvature of the mean loss along its gradient, and the mean over micro-batches of that of their own losses."""
    from sam_dash.problems.stack import torch_stream

    orders = [torch_stream(seed, "probes") for seed in of.seeds]
    whole = of.way.ascent(of.W, of.batch, of.product)
    by_size = of.way.ascent_by_size(of.W, of.batch, m=of.sizes, generators=orders)
    return [
        {"asc_H": one} | {f"asc_H@{m}": estimate for m, estimate in sizes.items()}
        for one, sizes in zip(whole, by_size, strict=True)
    ]
