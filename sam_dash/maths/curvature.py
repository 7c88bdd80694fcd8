"""Hessian-vector products, tr(H) and the top eigenvalues, each with its error.

H is the Hessian of the mean loss f(w) over the given samples, without weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.oracle import Batch, LossesFn, mean_loss, per_sample_grads

HVP = Callable[[Tensor], Tensor]
EXACT_TRACE = "exact: tr(GGN), piecewise linear network"
ELEMENTS = 2**24  # floats that one chunk of per-sample gradients may hold: 64 MB in float32


def chunks(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in pieces of at most `size` samples."""
    x, y = batch
    return zip(x.split(size), y.split(size), strict=True)


def hvp(losses_fn: LossesFn, w: Tensor, batch: Batch, *, chunk: int = 1024) -> HVP:
    """V (k, d) -> the k products H v (k, d).

    Reverse over reverse: the pullback of the gradient map is H, and one linearisation serves all k vectors. Beyond
    `chunk` samples it is made again for each piece at each call, so that memory is bounded.
    """

    def pullback(part: Batch) -> HVP:
        pull = vjp(grad(mean_loss(losses_fn, part)), w)[1]
        return vmap(lambda v: pull(v)[0])

    n = len(batch[1])
    if n <= chunk:
        return pullback(batch)

    def product(V: Tensor) -> Tensor:
        out = torch.zeros_like(V)
        for part in chunks(batch, chunk):
            out += pullback(part)(V) * (len(part[1]) / n)
        return out

    return product


def rademacher(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent signs +-1, drawn on the CPU so that they do not depend on the device."""
    bits = torch.randint(0, 2, shape, generator=generator)
    return (2 * bits - 1).to(like)


def trace(product: HVP, like: Tensor, generator: torch.Generator, *, probes: int = 128) -> Estimate:
    """tr(H) as the mean of z^T H z over Rademacher probes z (Hutchinson, 1990). `like` is any vector (d,)."""
    if probes < 2:
        raise ValueError(f"probes = {probes}: expected at least 2, else there is no standard error")
    samples = []
    for size in torch.arange(probes).split(16):
        z = rademacher((len(size), like.numel()), like, generator)
        samples.append((z.double() * product(z).double()).sum(1))
    return Estimate.of_mean(torch.cat(samples), "Hutchinson, Rademacher probes")


def ggn_trace(losses_fn: LossesFn, logits_fn: Callable[[Tensor, Tensor], Tensor], w: Tensor, batch: Batch) -> Estimate:
    """tr(GGN) of the softmax cross-entropy, exactly: mean_i sum_c p_ic ||grad l(x_i, c)||^2.

    It equals tr(H) almost everywhere where the logits are piecewise linear in each weight (`flat.piecewise_linear`);
    Martens, JMLR 2020, arXiv:1412.1193, section 9.
    """
    total = 0.0
    for x, y in chunks(batch, max(1, ELEMENTS // w.numel())):
        p = logits_fn(w, x).double().softmax(1)
        for c in range(p.shape[1]):
            grads = per_sample_grads(losses_fn, w, (x, torch.full_like(y, c)))
            total += float(p[:, c] @ grads.square().sum(1).double())
    n = len(batch[1])
    return Estimate(total / n, 0.0, EXACT_TRACE, n)


def top_eigenvalues(
    product: HVP, like: Tensor, generator: torch.Generator, *, k: int = 1, tol: float = 1e-3, iterations: int = 100
) -> list[Estimate]:
    """The k largest eigenvalues of H, by Lanczos with full re-orthogonalisation from a random start.

    Stops when every residual ||H v - theta v|| is at most `tol` |theta|. `stderr` is that residual, which bounds the
    distance to the nearest eigenvalue (Parlett, The Symmetric Eigenvalue Problem, theorem 4.5.1).
    """
    d = like.numel()
    if not 1 <= k <= d:
        raise ValueError(f"k = {k}: expected between 1 and d = {d} eigenvalues")
    q = torch.randn(d, generator=generator, dtype=torch.float64).to(like)
    Q = [q / q.norm()]
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    while True:
        r = product(Q[-1][None])[0]
        alphas.append(Q[-1].dot(r))
        for _ in range(2):  # once is not enough in finite precision, twice is (Kahan)
            basis = torch.stack(Q)
            r = r - basis.T @ (basis @ r)
        betas.append(r.norm())
        T = torch.diag(torch.stack(alphas)).double()
        off = torch.stack(betas)[:-1].double()
        theta, s = torch.linalg.eigh(T + torch.diag(off, 1) + torch.diag(off, -1))
        top, residuals = theta[-k:].flip(0), (betas[-1] * s[-1, -k:].abs()).flip(0)
        good = residuals <= tol * top.abs()
        if (len(alphas) >= k and bool(good.all())) or len(Q) >= min(d, iterations) or betas[-1] == 0:
            break
        Q.append(r / betas[-1])
    method = "Lanczos, full re-orthogonalisation; error: residual bound"
    return [
        Estimate(float(v), float(e), method, len(alphas), float(e / v.abs()), bool(g))
        for v, e, g in zip(top, residuals, good, strict=True)
    ]
