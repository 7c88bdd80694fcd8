"""tr(GGN) and Hessian-vector products of S stacked runs at once: the twins of those in `curvature`."""

from __future__ import annotations

import torch
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
    """tr(GGN) = mean_i sum_k c_ik ||J_i^T r_ik||^2 of each run, from one forward and a backward for each k.

    Ghost norms (Goodfellow, arXiv:1510.01799): about half of a full gradient's price for each k.
    """
    total = torch.zeros(len(W), dtype=torch.float64, device=W.device)
    for x, _ in pieces(net, W, batch, 1):
        out, pull = net.linearise(W, x)
        for c, r in net.loss.factors(net.loss.mean(out)):
            total += (c.double() * pull(r).squares(1).sum(1).double()).sum(1)
    n = batch[1].shape[1]
    return [Estimate(value / n, 0.0, EXACT_TRACE, n) for value in total.tolist()]
