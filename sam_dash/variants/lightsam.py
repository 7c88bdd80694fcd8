"""LightSAM: ascent and descent both adaptive, so that rho and the learning rate need no tuning.

    I    u += ||g||^2,  eps = rho g / sqrt(u);   v += ||g_p||^2,  h = eta g_p / sqrt(v)      (AdaGrad-Norm)
    II   the same with squares coordinate by coordinate                                       (AdaGrad)
    III  u, v running means (beta2) and m one of g_p (beta1), bias-corrected; h = eta m / sqrt(v)   (Adam)

with g = grad L(w), g_p = grad L(w + eps), u = v = 1e-16 at first. Cheng et al., arXiv:2505.24399. h is a whole update
direction: plain gradient descent takes it (no momentum). Multiplying the loss by a constant changes nothing.
Deviation: III is our reading. In II and III the first |eps_j| is rho for every j, so `per_root_d` divides rho by
sqrt(d) to make it comparable with SAM's (ours).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from sam_dash.maths.contract import Cost, Knob, Radius, Step, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Form = Annotated[Literal["I", "II", "III"], Knob("LightSAM", "AdaGrad-Norm, AdaGrad or Adam")]
PerRoot = Annotated[bool, Knob("ρ/√d", "divide ρ by √d in II and III")]
First = Annotated[float, Knob("β₁", "decay of the first moment", 0.0, 0.9999)]
Second = Annotated[float, Knob("β₂", "decay of the second moment", 0.0, 0.99999)]
Eta = Annotated[float, Knob("η_L", "times the learning rate; 0.01 makes lr = 0.1 usual in II and III", 1e-6, 100.0)]
DEFAULTS = dict.fromkeys(("rho", "light", "per_root_d", "beta1", "beta2", "eta_light"), "ours")


class State(NamedTuple):
    """`u`, `v`: squares of the gradients of the ascents and the descents; `m`: mean of the latter. Each (d,)."""

    u: Tensor
    v: Tensor
    m: Tensor


@variant(
    "LightSAM",
    ref="arXiv:2505.24399",
    cost=Cost(gradients=2),
    init=lambda w: State(0 * w + 1e-16, 0 * w + 1e-16, 0 * w),
    no_m="its sums of squares are of the whole batch's gradient; those of micro-batches' gradients are larger",
    descends=True,
    defaults=DEFAULTS,
    family="sgd",
)
def lightsam(
    L: Oracle, w: Tensor, s: State, *,
    rho: Radius = 0.05, light: Form = "I", per_root_d: PerRoot = True,
    beta1: First = 0.9, beta2: Second = 0.999, eta_light: Eta = 1.0,
) -> Step:  # fmt: skip
    """One step."""

    def squares(before: Tensor, x: Tensor) -> Tensor:
        if light == "III":
            return beta2 * before + (1 - beta2) * x.square()
        return before + (x.square() if light == "II" else x @ x)

    t = L.t + 1
    unbiased = 1 - beta2**t if light == "III" else 1.0
    radius = rho / w.numel() ** 0.5 if per_root_d and light != "I" else rho
    g = L.grad(w)
    u = squares(s.u, g)
    eps = radius * g / (u / unbiased).sqrt()
    g_p = L.grad(w + eps)
    v, m = squares(s.v, g_p), beta1 * s.m + (1 - beta1) * g_p
    up = m / (1 - beta1**t) if light == "III" else g_p
    return Step(eta_light * up / (v / unbiased).sqrt(), eps, g, State(u, v, m))
