"""ASAM: SAM in a ball scaled by the weights, so that rescaling them changes nothing.

    eps(w) = rho T^2 g / ||T g||,   g = grad L(w)
    T      = |w| + eta on tensors named "weight", 1 on the others    (form "weights", the authors' code)
    T      = |w|       everywhere                                    (form "all", davda54/sam)
    h(w)   = grad L(w + eps)

Kwon et al., ICML 2021, arXiv:2102.11600.
Code: SamsungLabs/ASAM, whose class has eta = 0.01 and whose example sets it to 0.
Deviation: the two forms in use need different radii; the default is the authors' own, 0.5 (2.0 is usual for "all").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from sam_dash.maths.contract import Cost, Knob, Radius, Step, unit, variant

if TYPE_CHECKING:
    from torch import Tensor

    from sam_dash.maths.oracle import Oracle

Form = Annotated[Literal["weights", "all"], Knob("form", "what is scaled: the weights, or biases too")]
Floor = Annotated[float, Knob("η", "added to |w|, in the form weights", 0.0, 1.0)]
DEFAULTS = dict.fromkeys(("rho", "form", "eta"), "official code (SamsungLabs/ASAM, the class)")


@variant("ASAM", ref="arXiv:2102.11600", cost=Cost(gradients=2), layered=True, defaults=DEFAULTS)
def asam(L: Oracle, w: Tensor, s: Any, *, rho: Radius = 0.5, form: Form = "weights", eta: Floor = 0.01) -> Step:
    """One step."""
    T = w.abs()
    if form == "weights":
        assert L.layout is not None, "ASAM needs to know which tensors are weights"
        named = L.layout.weights(w)
        T = named * (T + eta) + 1 - named
    g = L.grad(w)
    eps = rho * T * unit(T * g)
    return Step(L.grad(w + eps), eps, g)
