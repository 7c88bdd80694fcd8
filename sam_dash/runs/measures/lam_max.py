"""lambda_max: the largest eigenvalue of the Hessian, by Lanczos (`sam_dash.maths.lanczos`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured


@measure(
    "largest eigenvalue: Lanczos, 10 to 100 Hessian-vector products",
    gradients=45.0,
    quantities={
        "lam_max": Quantity("λ_max", "λ<sub>max</sub>", "largest eigenvalue of the Hessian of the training loss")
    },
    place=1,
)
def lam_max(of: Measured) -> list[Found]:
    """The runs in lock-step, each from a random start of its own until its residual is small enough."""
    import torch

    from sam_dash.maths.curvature import gaussian
    from sam_dash.maths.lanczos import each_top

    starts = torch.cat([gaussian(1, w, g) for w, g in zip(of.W, of.generators, strict=True)])
    return [{"lam_max": top[0]} for top in each_top(of.product, starts)]
