"""Hessian-vector products and tr(H), with its error.

H is the Hessian of the mean loss f(w) over the given samples, without weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Batch, LossesFn, mean_loss, per_sample_grads
from sam_dash.maths.samples import Stream, chunks, count, samples

HVP = Callable[[Tensor], Tensor]
OutputsFn = Callable[[Tensor, Any], Tensor]
EXACT_TRACE = "exact: tr(GGN), piecewise linear network"
SYMMETRIC = {
    torch.float64: 1e-6,
    torch.float32: 1e-3,
}  # |u . Hv - v . Hu| / ||H||_F, of rounding at most 2e-6 in float32
ELEMENTS = 2**24  # floats that one chunk of per-sample gradients may hold: 64 MB in float32


def hvp(losses_fn: LossesFn, w: Tensor, batch: Batch, *, chunk: int = 1024) -> HVP:
    """V (k, d) -> the k products H v (k, d).

    Reverse over reverse: the pullback of the gradient map is H, and one linearisation serves all k vectors.
    """

    def piece(part: Batch) -> HVP:
        pull = vjp(grad(mean_loss(losses_fn, part)), w)[1]
        block = vmap(lambda v: pull(v)[0])
        return lambda V: block(V) if len(V) > 1 else pull(V[0])[0][None]

    return _averaged(piece, batch, chunk)


def check_symmetric(product: HVP, like: Tensor, generator: torch.Generator) -> None:
    """Raise ValueError where u . Hv is not v . Hu for random u and v: then torch's second derivatives are wrong.

    So it is with the fused kernel of torch 2.13's `weight_norm`. `like` is any vector (d,).
    """
    V = gaussian(2, like, generator)
    U = torch.cat([product(v[None]) for v in V]).double()
    there, back = float(V[0].double() @ U[1]), float(V[1].double() @ U[0])
    scale = float(U.norm(dim=1).max())  # of v . Hu, whose standard deviation is ||H||_F
    if abs(there - back) > SYMMETRIC.get(like.dtype, 0.1) * scale:
        raise ValueError(
            f"the Hessian-vector products of this model are not symmetric (u.Hv = {there:.6g}, v.Hu = {back:.6g}): "
            "torch differentiates one of its operations wrongly twice, as it does weight_norm's; remove the "
            "parametrisation (torch.nn.utils.parametrize.remove_parametrizations) or write it in plain operations"
        )


def ggn_vp(loss: Loss, outputs_fn: OutputsFn, w: Tensor, batch: Batch, *, chunk: int = 1024) -> HVP:
    """V (k, d) -> G v (k, d), G the Gauss-Newton matrix of the mean loss.

    G = mean_i J_i^T (d^2 l_i/do^2) J_i, J the Jacobian of the outputs (Schraudolph, Neural Computation 2002).
    """

    def piece(part: Batch) -> HVP:
        x = part[0]
        out, pull = vjp(lambda v: outputs_fn(v, x), w)[:2]
        mean = loss.mean(out)

        def one(v: Tensor) -> Tensor:
            u = jvp(lambda z: outputs_fn(z, x), (w,), (v,))[1]
            return pull(loss.curved(mean, u))[0] / len(out)

        return vmap(one)

    return _averaged(piece, batch, chunk)


def _averaged(piece: Callable[[Batch], HVP], batch: Batch, chunk: int) -> HVP:
    """The mean of a product over the samples; beyond `chunk`, linearised anew for each piece at each call."""
    n = count(batch)
    if n <= chunk and not isinstance(batch, Stream):
        return piece(batch)

    def product(V: Tensor) -> Tensor:
        total = torch.zeros_like(V)
        for part in chunks(batch, chunk):
            total += piece(part)(V) * (samples(part) / n)
        return total

    return product


def rademacher(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent signs +-1, drawn on the CPU so that they do not depend on the device."""
    bits = torch.randint(0, 2, shape, generator=generator)
    return (2 * bits - 1).to(like)


def gaussian(b: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """b standard normal vectors (b, d), drawn on the CPU in float64."""
    return torch.randn(b, like.numel(), generator=generator, dtype=torch.float64).to(like)


def trace(product: HVP, like: Tensor, generator: torch.Generator, *, probes: int = 128) -> Estimate:
    """tr(H) as the mean of z^T H z over Rademacher probes z (Hutchinson, 1990). `like` is any vector (d,)."""
    return trace_by_layer(product, like, generator, [like.numel()], probes=probes)[0]


def trace_by_layer(
    product: HVP, like: Tensor, generator: torch.Generator, sizes: Sequence[int], *, probes: int = 128
) -> list[Estimate]:
    """The traces of the diagonal blocks of H of so many parameters, which sum to tr(H), from the probes of `trace`."""
    if probes < 2:
        raise ValueError(f"probes = {probes}: expected at least 2, else there is no standard error")
    at_once = max(1, min(16, ELEMENTS // (4 * like.numel())))
    found = []
    for size in torch.arange(probes).split(at_once):
        z = rademacher((len(size), like.numel()), like, generator)
        blocks = (z.double() * product(z).double()).split(list(sizes), 1)
        found.append(torch.stack([block.sum(1) for block in blocks]))
    return [Estimate.of_mean(rows, "Hutchinson, Rademacher probes") for rows in torch.cat(found, 1)]


def split_trace(
    product: HVP, ggn_product: HVP, ggn: Estimate, like: Tensor, generator: torch.Generator, *, probes: int = 64
) -> Estimate:
    """tr(H) = tr(G) + tr(H - G): tr(G) known exactly, Hutchinson's estimate for the rest alone.

    The rest is small where the fit is good or the network nearly piecewise linear, and so is the error.
    """
    rest = trace(lambda V: product(V) - ggn_product(V), like, generator, probes=probes)
    return replace(rest, value=ggn.value + rest.value, method="exact tr(GGN) + Hutchinson for the rest")


def ggn_trace(loss: Loss, outputs_fn: OutputsFn, w: Tensor, batch: Batch) -> Estimate:
    """tr(GGN) of the mean loss, exactly: mean_i sum_k c_ik ||J_i^T r_ik||^2, with `Loss.factors`.

    It equals tr(H) almost everywhere where the outputs are piecewise linear in each weight (`flat.piecewise_linear`);
    Martens, JMLR 2020, arXiv:1412.1193, section 9. For the cross-entropy a term is p_c ||grad l(x_i, c)||^2.
    """
    return ggn_trace_by_layer(loss, outputs_fn, w, batch, [w.numel()])[0]


def ggn_trace_by_layer(
    loss: Loss, outputs_fn: OutputsFn, w: Tensor, batch: Batch, sizes: Sequence[int]
) -> list[Estimate]:
    """The traces of the diagonal blocks of the GGN of so many parameters, which sum to `ggn_trace`."""

    def along(v: Tensor, part: Batch) -> Tensor:
        return (outputs_fn(v, part[0]) * part[1]).sum(-1)

    total = torch.zeros(len(sizes), dtype=torch.float64, device=w.device)
    for x, _ in chunks(batch, max(1, ELEMENTS // w.numel())):
        for c, r in loss.factors(loss.mean(outputs_fn(w, x))):
            rows = per_sample_grads(along, w, (x, r))
            blocks = rows.square().split(list(sizes), 1)
            total += torch.stack([c.double() @ block.sum(1).double() for block in blocks])
    n = count(batch)
    return [Estimate(value / n, 0.0, EXACT_TRACE, n) for value in total.tolist()]
