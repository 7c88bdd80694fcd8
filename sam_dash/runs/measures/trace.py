"""tr(H): the trace of the Hessian, the most exact way that the network allows (`sam_dash.maths.curvature`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured


@measure(
    "tr(H): per-sample gradients once per class, and 16 probes of the rest where H is not the GGN",
    gradients=7.1,
    smooth=45.0,
    quantities={"tr_H": Quantity("tr(H)", "tr(<i>H</i>)", "trace of the Hessian of the training loss")},
    place=0,
)
def trace(of: Measured) -> list[Found]:
    """tr(GGN) where that is tr(H), without any product; else with Hutchinson's estimate of the rest."""
    product = None if of.way.splits else of.product
    return [{"tr_H": estimate} for estimate in of.way.trace(of.W, of.batch, of.generators, product)]
