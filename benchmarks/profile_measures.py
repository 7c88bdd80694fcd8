"""Where the time goes in the measurements that miss their target, ours and theirs, and the least arithmetic of tr(V).

`python -m benchmarks.profile_measures` prints it for all; `make bench` writes it for what is missed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch

from benchmarks.measures import (
    GRADIENT,
    SAMPLES,
    Sides,
    at_a_trained_network,
    eigenvalue_sides,
    full_gradient,
    noise_sides,
    trace_sides,
)
from benchmarks.profiles import kinds, table, unformed
from sam_dash.maths.fast.taps import Taps
from sam_dash.problems.stack import Stack

QUANTITIES = ("tr(V)", "tr(H)", "λ_max")


def text(missed: Sequence[str]) -> str:
    """One table for each measurement of each network that misses."""
    warnings.filterwarnings("ignore")  # PyHessian's, BackPACK's
    found = [(n, q) for n in SAMPLES for q in QUANTITIES if any(what.startswith(f"{n}: {q}") for what in missed)]
    return "".join(section(name, quantity) for name, quantity in found)


def section(name: str, quantity: str) -> str:
    """The table of one measurement, in % of the time of one full gradient of the same samples."""
    P, w, batch, module = at_a_trained_network(name)
    sides: Sides = {GRADIENT: full_gradient(module, batch)}
    if quantity == "tr(V)":
        sides |= noise_sides(P, w, batch, module)
        said = f"\n{arithmetic(P)}\n"
    elif quantity == "tr(H)":
        sides |= trace_sides(P, w, batch, module)
        said = ""
    else:
        found, _, note = eigenvalue_sides(P, w, batch, module)
        sides |= found
        said = f"\nTo .5 %: {note}.\n"
    lines, base = table({side: kinds(call, 3) for side, call in sides.items()}, GRADIENT)
    head = f"{quantity} of {name}, n = {SAMPLES[name]}, % of the time of one full gradient ({base:.3g} ms profiled)"
    return f"\nWhere the time goes, {head}:\n\n{lines}\n{said}"


def arithmetic(P: Stack) -> str:
    """Multiplications of tr(V) against a gradient's."""
    taps = Taps(P.module)
    error, gradient = 0, 0
    for k, (layer, shape) in enumerate(zip(taps.layers, taps.output_shapes(P.w0[0], P.x[:1]), strict=True)):
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            o, i, r = len(layer.weight), layer.weight[0].numel(), math.prod(shape[2:])
            gradient += (3 if k else 2) * r * o * i
            error += r * o * i if unformed(layer, r, 1) else o * i
    return (
        "The error takes g_i . mean g of every sample, a product more in layers whose g_i are not formed: "
        f"{1 + error / gradient:.2f} times the multiplications of a gradient. BackPACK has none: 1.00 in linear layers."
    )


def main() -> None:
    """All of them."""
    torch.set_num_threads(1)
    print(text([f"{name}: {quantity}" for name in SAMPLES for quantity in QUANTITIES]))


if __name__ == "__main__":
    main()
