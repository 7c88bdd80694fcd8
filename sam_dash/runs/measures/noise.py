"""Gradient noise: tr(V) of means of m samples and of every layer, the mean gradient's norm, the tail of the deviations.

`sam_dash.maths.noise`, `scale` and `tail` define them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sam_dash.runs.measure import At, Found, Quantity, measure

if TYPE_CHECKING:
    from sam_dash.runs.probes import Measured

NOISE = "trace of the covariance of per-sample gradients (gradient noise)"


@measure(
    "tr(V) at m = 1 ... B, norm of the mean gradient, tail index: per-sample norms in one pass",
    gradients=8.4,
    quantities={
        "tr_V": Quantity(
            "tr(V)", "tr(<i>V</i>)", NOISE,
            At("m", "tr(V), means of {}", "tr(<i>V</i>), means of {}", f"{NOISE}, of means over micro-batches of {{}}"),
        ),
        "layer_noise": Quantity(
            "tr(V) of a layer", "tr(<i>V</i>) of a layer", "what a layer adds to tr(V)",
            At("LAYER", "tr(V) of {}", "tr(<i>V</i>) of {}", "what the layer {} adds to tr(V)"),
        ),
        "grad_sq": Quantity(
            "‖G‖²", "‖<i>G</i>‖²", "squared norm of the mean gradient less tr(V)/n, the bias that noise adds to it"
        ),
        "tail": Quantity(
            "Tail index α", "Tail index <i>α</i>", "of the norms of gradient noise, by Hill; no proof of a heavy tail"
        ),
    },
    second=False,
    place=2,
)  # fmt: skip
def noise(of: Measured) -> list[Found]:
    """All of it from one pass over the samples, where the layers have factors."""
    from sam_dash.maths import tail
    from sam_dash.maths.flat import Layout

    layers, out = Layout.of(of.problem.module).sizes(), []
    for found in of.way.noise(of.W, of.batch, m=of.sizes, generators=of.generators):
        one: Found = {"tr_V" if m == 1 else f"tr_V@{m}": estimate for m, estimate in found.by_m.items()}
        one |= {f"layer_noise@{name}": estimate for name, estimate in zip(layers, found.by_layer, strict=True)}
        one["grad_sq"] = found.grad_sq
        with suppress(ValueError):  # no tail to fit: the row is left out
            one["tail"] = tail.hill(found.deviations)
        out.append(one)
    return out
