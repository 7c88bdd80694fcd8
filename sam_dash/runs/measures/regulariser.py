"""What a step of m-USAM adds to the gradient, in the mean, against the theory's regulariser (`maths.regulariser`).

At fixed radii, whatever the run was trained with: USAM's radius multiplies a gradient, SAM's a unit vector. Also the
mean norm of micro-batches' gradients, which is what the theory has SAM's forms penalise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_dash.runs.measure import At, Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured

RADII = (0.01, 0.03, 0.1, 0.3, 1.0)
KINDS = {
    "added_cos": ("Cosine of what a step adds and its prediction", "cosine of E[h] − ∇f and ρ/2 ∇‖∇f‖² + ρ/(2m) ∇tr V"),
    "added_len": ("Length of what a step adds over its prediction", "‖E[h] − ∇f‖ over that of its prediction"),
    "added_error": ("Error of what is predicted to be added", "‖E[h] − predicted‖ over ‖E[h] − ∇f‖, with tr V"),
    "added_error0": ("Error without tr V", "‖E[h] − predicted‖ over ‖E[h] − ∇f‖, the prediction without tr V"),
}


def name(m: int, rho: float) -> str:
    """What follows the @ of a quantity: "m=4,rho=0.1"."""
    return f"m={m},rho={rho:g}"


def sizes(all_sizes: list[int]) -> list[int]:
    """Every other of the micro-batch sizes, the smallest among them."""
    return sorted(all_sizes)[::2]


@measure(
    "mean step of m-USAM against the predicted gradient, at some m and ρ; mean norm of micro-batches' gradients",
    gradients=900.0,
    quantities={
        "mean_norm": Quantity(
            "E‖∇f_γ‖", "E‖∇<i>f</i><sub>γ</sub>‖", "mean norm of the gradient of a micro-batch",
            At("m", "E‖∇f_γ‖ of {} samples", "E‖∇<i>f</i><sub>γ</sub>‖ of {} samples",
               "mean norm of the gradient of a micro-batch of {} samples"),
        ),
        **{
            key: Quantity(title, title, f"{text}; m-USAM", At("m=M,rho=RHO", f"{title}, {{}}", f"{title}, {{}}",
                                                              f"{text}; m-USAM at {{}}"))
            for key, (title, text) in KINDS.items()
        },
    },
    place=8,
)  # fmt: skip
def regulariser(of: Measured) -> list[Found]:
    """Run after run, each with its own generator."""
    from sam_dash.maths.regulariser import agreement
    from sam_dash.problems.stack import torch_stream

    out = []
    for seed, w, x, y in zip(of.seeds, of.W, *of.batch, strict=True):
        stream = torch_stream(seed, "regulariser")
        by_m = agreement(of.problem.losses, w, (x, y), m=sizes(of.sizes), rho=RADII, generator=stream)
        one: Found = {}
        for m, found in by_m.items():
            one[f"mean_norm@{m}"] = found.norm
            for rho, four in found.by_rho.items():
                one |= {f"{key}@{name(m, rho)}": e for key, e in zip(KINDS, four, strict=True)}
        out.append(one)
    return out
