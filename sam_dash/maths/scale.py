"""||G||^2, the squared norm of the mean gradient, without the bias that gradient noise adds to it.

    E ||gbar||^2 = ||G||^2 + tr(V)/n,   gbar the mean gradient of n samples

(McCandlish et al., arXiv:1812.06162, appendix A.1). tr(V)/||G||^2 is their simple noise scale: the batch size at which
noise and signal are as strong as each other.
"""

from __future__ import annotations

from torch import Tensor

from sam_dash.maths.estimate import Estimate

METHOD = "norm of the mean gradient, less tr(V)/n"


def grad_sq(mean: Tensor, along: Tensor, tr_v: float) -> Estimate:
    """||gbar||^2 - tr(V)/n, from gbar (d,) and g_i . gbar of every sample (n,), the latter but for a constant.

    It can be negative where noise drowns the gradient. The error is the sampling error to first order,
    2 sd(g_i . gbar) / sqrt(n).
    """
    n = len(along)
    value = float(mean.double().square().sum()) - tr_v / n
    return Estimate(value, 2 * float(along.double().std()) / n**0.5, METHOD, n)
