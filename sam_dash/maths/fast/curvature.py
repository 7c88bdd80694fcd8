"""tr(GGN) and Hessian-vector products of S stacked runs at once: the twins of those in `curvature`."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import Tensor

from sam_dash.maths.curvature import EXACT_TRACE
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast.passes import Net, Perceptron, pieces
from sam_dash.maths.fast.products import Hessian
from sam_dash.maths.oracle import Batch


def hvp(net: Perceptron, W: Tensor, batch: Batch) -> Hessian:
    """V (S, k, d) -> the k products H_s v of each run (S, k, d), at W (S, d) on samples (S, n, ...), (S, n)."""
    return Hessian.of(net.chain, net.loss, W, batch)


def ggn_trace(net: Net, W: Tensor, batch: Batch) -> list[Estimate]:
    """tr(GGN) of each run: the sum of `ggn_trace_by_layer`."""
    return [replace(layers[0], value=sum(e.value for e in layers)) for layers in ggn_trace_by_layer(net, W, batch)]


def ggn_trace_by_layer(net: Net, W: Tensor, batch: Batch) -> list[list[Estimate]]:
    """tr(GGN) = mean_i sum_k c_ik ||J_i^T r_ik||^2 of each run and layer, from one forward and a backward for each k.

    Ghost norms (Goodfellow, arXiv:1510.01799): about half of a full gradient's price for each k.
    """
    total: Tensor | float = 0.0
    for x, _ in pieces(net, W, batch, 1):
        out, pull = net.linearise(W, x)
        for c, r in net.loss.factors(net.loss.mean(out)):
            total = total + (c.double()[:, None] * pull(r).squares(1).double()).sum(2)
    n = batch[1].shape[1]
    return [[Estimate(v / n, 0.0, EXACT_TRACE, n) for v in layers] for layers in cast(Tensor, total).tolist()]
