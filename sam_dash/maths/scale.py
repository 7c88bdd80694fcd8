"""||G||^2, the squared norm of the mean gradient, without the bias that gradient noise adds to it.

    E ||gbar||^2 = ||G||^2 + tr(V)/n,   gbar the mean gradient of n samples

(McCandlish et al., arXiv:1812.06162, appendix A.1). tr(V)/||G||^2 is their simple noise scale: the batch size at which
noise and signal are as strong as each other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import jvp

from sam_dash.maths.curvature import chunks
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, Oracle

METHOD = "norm of the mean gradient, less tr(V)/n"


def grad_sq(losses_fn: LossesFn, w: Tensor, batch: Batch, tr_v: float) -> Estimate:
    """||gbar||^2 - tr(V)/n; it can be negative where noise drowns the gradient.

    The error is the sampling error to first order, 2 sd(g_i . gbar) / sqrt(n).
    """
    n = len(batch[1])
    mean = Oracle(losses_fn, batch, chunk=1024).grad(w)
    along = [jvp(lambda v, p=part: losses_fn(v, p), (w,), (mean,))[1].double() for part in chunks(batch, 1024)]
    value = float(mean.double().square().sum()) - tr_v / n
    return Estimate(value, 2 * float(torch.cat(along).std()) / n**0.5, METHOD, n)
