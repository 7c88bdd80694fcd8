"""PyHessian's trace and largest eigenvalue: a second opinion by other people's code (`maths.second_opinion`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured


@measure(
    "PyHessian's trace and eigenvalue: 200 Hessian-vector products, a second opinion",
    gradients=780.0,
    quantities={
        "tr_H_pyhessian": Quantity("tr(H), PyHessian", "tr(<i>H</i>), PyHessian", "PyHessian's trace of the Hessian"),
        "lam_max_pyhessian": Quantity(
            "λ_max, PyHessian", "λ<sub>max</sub>, PyHessian", "PyHessian's largest eigenvalue of the Hessian"
        ),
    },
    once=True,
    place=3,
)
def pyhessian(of: Measured) -> list[Found]:
    """Run after run: it takes one module."""
    from sam_dash.maths import second_opinion

    model = of.problem.module, of.problem.loss
    return [
        {
            "tr_H_pyhessian": second_opinion.trace(*model, w, (x, y), seed=seed),
            "lam_max_pyhessian": second_opinion.top_eigenvalue(*model, w, (x, y), seed=seed),
        }
        for seed, w, x, y in zip(of.seeds, of.W, *of.batch, strict=True)
    ]
