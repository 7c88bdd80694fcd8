"""Hessian-vector products and tr(H), with its error.

H is the Hessian of the mean loss f(w) over the given samples, without weight decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from sam_dash.maths.estimate import Estimate
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Batch, LossesFn, mean_loss, per_sample_grads
from sam_dash.maths.samples import Stream, chunks, count, lengths, samples

HVP = Callable[[Tensor], Tensor]
OutputsFn = Callable[[Tensor, Any], Tensor]
EXACT_TRACE = "exact: tr(GGN), piecewise linear network"
SYMMETRIC = {
    torch.float64: 1e-6,
    torch.float32: 1e-3,
}  # |u . Hv - v . Hu| / ||H||_F, of rounding at most 2e-6 in float32
PARTS = 16  # of the samples, each with probes of its own
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
    not_symmetric(there, back, float(U.norm(dim=1).max()), like.dtype)


def not_symmetric(there: float, back: float, scale: float, dtype: torch.dtype) -> None:
    """Raise ValueError where u . Hv and v . Hu, whose standard deviation is ||H||_F = `scale`, differ."""
    if abs(there - back) > SYMMETRIC.get(dtype, 0.1) * scale:
        raise ValueError(
            f"the Hessian-vector products of this model are not symmetric (u.Hv = {there:.6g}, v.Hu = {back:.6g}): "
            "torch differentiates one of its operations wrongly twice, as it does weight_norm's; remove the "
            "parametrisation (torch.nn.utils.parametrize.remove_parametrizations) or write it in plain operations"
        )


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
    _check_probes(probes)
    rows = _quadratic(product, like, generator, sizes, probes)
    return [Estimate.of_mean(row, "Hutchinson, Rademacher probes") for row in rows]


def split_trace(
    loss: Loss, outputs_fn: OutputsFn, w: Tensor, batch: Batch, ggn: Estimate, generator: torch.Generator, **more: Any
) -> Estimate:
    """tr(H) = tr(G) + tr(H - G): tr(G) known, Hutchinson's estimate for the rest; see `split_trace_by_layer`."""
    return split_trace_by_layer(loss, outputs_fn, w, batch, [ggn], generator, [w.numel()], **more)[0]


def split_trace_by_layer(
    loss: Loss,
    outputs_fn: OutputsFn,
    w: Tensor,
    batch: Batch,
    ggn: Sequence[Estimate],
    generator: torch.Generator,
    sizes: Sequence[int],
    *,
    probes: int = 16,
    chunk: int = 1024,
    done: Callable[[], None] = lambda: None,
) -> list[Estimate]:
    """The traces of the diagonal blocks of H of so many parameters, of which those of G are known: `ggn`.

    H - G = mean_i sum_c dl_i/do_c d^2 o_ic/dw^2 is small where the fit is good or the network nearly piecewise linear;
    its product is that of a loss which is linear in the outputs. Each of `PARTS` parts of the samples (more, where they
    are larger than `chunk`) has `probes` of its own: their errors are independent, so that a pass over all samples
    tells as much as up to `PARTS` of a probe that is the same for all. `done` is called after each pass.
    """
    _check_probes(probes)
    n = count(batch)
    size = min(chunk, math.ceil(n / PARTS))
    many = sum(math.ceil(length / size) for length in lengths(batch))

    def along(v: Tensor, part: Batch) -> Tensor:
        return (outputs_fn(v, part[0]) * part[1]).sum(-1)

    values, squares = torch.zeros(2, len(sizes), dtype=torch.float64, device=w.device)
    variances = torch.zeros_like(values)
    for k, (x, y) in enumerate(chunks(batch, size)):
        out = outputs_fn(w, x)
        error = loss.error(out, loss.targets(y, out))
        found = _quadratic(hvp(along, w, (x, error), chunk=size), w, generator, sizes, probes)
        share = len(error) / n
        values += share * found.mean(1)
        variance = share**2 * found.var(1) / probes
        variances += variance
        squares += variance**2 / (probes - 1)
        for _ in range(probes * (k + 1) // many - probes * k // many):
            done()
    method = f"exact tr(GGN) + Hutchinson for the rest, {many} parts"
    dof = variances**2 / squares.clamp_min(1e-300)  # Welch (1947) and Satterthwaite
    rest = zip(ggn, values.tolist(), variances.sqrt().tolist(), dof.clamp_min(1).tolist(), strict=True)
    return [Estimate(of.value + v, error, method, probes, dof=free) for of, v, error, free in rest]


def _quadratic(product: HVP, like: Tensor, generator: torch.Generator, sizes: Sequence[int], probes: int) -> Tensor:
    """z^T A z of the diagonal blocks of A of so many parameters, for Rademacher probes z.  -> (blocks, probes)"""
    at_once = max(1, min(8, ELEMENTS // (4 * like.numel())))
    found = []
    for size in torch.arange(probes).split(at_once):
        z = rademacher((len(size), like.numel()), like, generator)
        blocks = (z.double() * product(z).double()).split(list(sizes), 1)
        found.append(torch.stack([block.sum(1) for block in blocks]))
    return torch.cat(found, 1)


def _check_probes(probes: int) -> None:
    if probes < 2:
        raise ValueError(f"probes = {probes}: expected at least 2, else there is no standard error")


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
