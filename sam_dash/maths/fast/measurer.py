"""Measurements of a stack of runs by the fastest way that their network has: the one place that decides which.

Every method has the name and the arguments of its definition, for weights W (S, d) and samples (S, n, ...), (S, n),
with one generator a run or none, and returns what the definition returns for each run. `Plain` asks the definitions,
run after run; `Fast` their twins in this folder, where every layer has factors.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sam_dash.maths import ascent, critical, curvature, flat, lanczos, m_sharpness, noise
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast import ascent as fast_ascent
from sam_dash.maths.fast import curvature as fast_curvature
from sam_dash.maths.fast import m_sharpness as fast_m_sharpness
from sam_dash.maths.fast import noise as fast_noise
from sam_dash.maths.fast.passes import Net, Perceptron, net
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.maths.loss import Loss
from sam_dash.maths.oracle import Batch, LossesFn

BySize = dict[int, Estimate]
Generators = Sequence[torch.Generator]
MAX_OUTPUTS = 100  # above it, Hutchinson's tr(H) is cheaper than the exact tr(GGN)


def measurer(module: nn.Module, loss: flat.PerSample, w: Tensor, x: Tensor) -> Plain:
    """The fastest way to measure a module, tried out at the weights w (d,) on the first of the inputs x (n, ...).

    Twins take all parameters, each of one layer, and a loss of which all is known: otherwise the definitions do.
    """
    if not isinstance(loss, Loss):
        return Plain(module, loss, outputs=0)
    plain = Plain(module, loss, outputs=flat.logits(module)(w, x[:1]).shape[-1])
    if sum(p.numel() for _, p in module.named_parameters(remove_duplicate=False)) != len(w):
        return plain
    try:
        way = net(module, loss)
        way.floats(w[None], x[None, :1])
    except NotFactoredError:
        return plain
    return Fast(module, loss, plain.outputs, way)


@dataclass(frozen=True)
class Plain:
    """Measurements of a module by their definitions. `outputs` is the number C of its outputs, 0 where not (n, C)."""

    module: nn.Module
    loss: flat.PerSample
    outputs: int

    @property
    def stacked(self) -> bool:
        """Whether several runs are measured at once, and not one after another."""
        return False

    @property
    def exact_trace(self) -> bool:
        """Whether tr(H) is tr(GGN), which needs no Hessian-vector product."""
        return self.splits and flat.piecewise_linear(self.module)

    @property
    def splits(self) -> bool:
        """Whether tr(GGN) is known, and cheaper than many probes."""
        return isinstance(self.loss, Loss) and 0 < self.outputs <= MAX_OUTPUTS

    def floats(self, W: Tensor, x: Tensor) -> int:
        """The number of floats that the layers put out for one sample of x, of all S runs; 0 where not known."""
        return 0

    def hvp(self, W: Tensor, batch: Batch) -> lanczos.Stacked:
        """The products of the Hessians of the mean losses; see `curvature.hvp`."""
        runs = self._runs(W, batch)
        return lanczos.OneByOne([curvature.hvp(self._losses, w, one, chunk=self._chunk(W, batch)) for w, one in runs])

    def ggn_trace(self, W: Tensor, batch: Batch) -> list[Estimate]:
        """tr(GGN); see `curvature.ggn_trace`."""
        outputs, loss = flat.logits(self.module), cast(Loss, self.loss)
        return [curvature.ggn_trace(loss, outputs, w, one) for w, one in self._runs(W, batch)]

    def ggn_trace_by_layer(self, W: Tensor, batch: Batch) -> list[list[Estimate]]:
        """tr(GGN) of every layer's own block; see `curvature.ggn_trace_by_layer`."""
        outputs, loss = flat.logits(self.module), cast(Loss, self.loss)
        sizes = list(flat.Layout.of(self.module).sizes().values())
        return [curvature.ggn_trace_by_layer(loss, outputs, *run, sizes) for run in self._runs(W, batch)]

    def trace(
        self,
        W: Tensor,
        batch: Batch,
        generators: Generators,
        product: lanczos.Stacked | None = None,
        probes: int | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> list[Estimate]:
        """tr(H) the most exact way: tr(GGN) where that is it, else with Hutchinson's estimate of the rest.

        Where tr(GGN) is not known, or for more than `MAX_OUTPUTS` outputs, Hutchinson's estimate alone, by `product`,
        that of `hvp`, of 128 probes where not said otherwise, else 16. `done` is called after every pass over the
        samples that is no product of `product`.
        """
        if self.exact_trace:
            return self.ggn_trace(W, batch)
        if self.splits:
            ggn = [[one] for one in self.ggn_trace(W, batch)]
            found = self._split(W, batch, ggn, generators, [W.shape[1]], probes or 16, done)
            return [layers[0] for layers in found]
        product = product or self.hvp(W, batch)
        each = [lanczos.alone(product, s) for s in range(len(W))]
        parts = zip(each, W, generators, strict=True)
        return [curvature.trace(one, w, g, probes=probes or 128) for one, w, g in parts]

    def noise(self, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Generators = ()) -> list[noise.Noise]:
        """tr(V) at every m and of every layer, ||G||^2, and the deviations; see `noise.noise`."""
        sizes = flat.Layout.of(self.module).sizes()
        runs = self._drawn(W, batch, generators)
        return [noise.noise(self._losses, w, one, sizes, m=m, generator=g) for (w, one), g in runs]

    def m_sharpness(
        self, W: Tensor, batch: Batch, *, m: Sequence[int], rho: float, generators: Generators = ()
    ) -> list[BySize]:
        """m-sharpness at every m; see `m_sharpness.m_sharpness`."""
        runs = self._drawn(W, batch, generators)
        return [m_sharpness.m_sharpness(self._losses, w, one, m=m, rho=rho, generator=g) for (w, one), g in runs]

    def ascent(self, W: Tensor, batch: Batch, product: lanczos.Stacked) -> list[Estimate]:
        """The curvature along the gradient of all samples; see `ascent.ascent`. `product`: that of `hvp`."""
        runs = enumerate(self._runs(W, batch))
        return [ascent.ascent(self._losses, w, one, lanczos.alone(product, s)) for s, (w, one) in runs]

    def ascent_by_size(self, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Generators = ()) -> list[BySize]:
        """The curvature along the gradients of micro-batches, at every m; see `ascent.by_size`."""
        runs = self._drawn(W, batch, generators)
        return [ascent.by_size(self._losses, w, one, m=m, generator=g) for (w, one), g in runs]

    def batch_sharpness(
        self, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Generators = ()
    ) -> list[BySize]:
        """Batch sharpness at every m; see `ascent.batch_sharpness`."""
        runs = self._drawn(W, batch, generators)
        return [ascent.batch_sharpness(self._losses, w, one, m=m, generator=g) for (w, one), g in runs]

    def critical_sharpness(self, W: Tensor, batch: Batch) -> list[Estimate]:
        """Critical sharpness; see `critical.critical_sharpness`."""
        return [critical.critical_sharpness(self._losses, w, one) for w, one in self._runs(W, batch)]

    def layer_traces(
        self,
        W: Tensor,
        batch: Batch,
        generators: Generators,
        product: lanczos.Stacked,
        probes: int = 128,
        done: Callable[[], None] = lambda: None,
    ) -> list[dict[str, Estimate]]:
        """tr(H) of every layer's own block, each as `trace` finds the whole."""
        sizes = flat.Layout.of(self.module).sizes()
        blocks = list(sizes.values())
        if self.exact_trace:
            found = self.ggn_trace_by_layer(W, batch)
        elif self.splits:
            found = self._split(W, batch, self.ggn_trace_by_layer(W, batch), generators, blocks, probes, done)
        else:
            each = [lanczos.alone(product, s) for s in range(len(W))]
            parts = zip(each, W, generators, strict=True)
            found = [curvature.trace_by_layer(one, w, g, blocks, probes=probes) for one, w, g in parts]
        return [dict(zip(sizes, layers, strict=True)) for layers in found]

    def _split(
        self,
        W: Tensor,
        batch: Batch,
        ggn: Sequence[Sequence[Estimate]],
        generators: Generators,
        sizes: Sequence[int],
        probes: int,
        done: Callable[[], None],
    ) -> list[list[Estimate]]:
        outputs, loss, chunk = flat.logits(self.module), cast(Loss, self.loss), self._chunk(W, batch)
        return [
            curvature.split_trace_by_layer(loss, outputs, w, one, of, g, sizes, probes=probes, chunk=chunk, done=done)
            for (w, one), of, g in zip(self._runs(W, batch), ggn, generators, strict=True)
        ]

    @functools.cached_property
    def _losses(self) -> LossesFn:
        return flat.losses_fn(self.module, self.loss)

    def _runs(self, W: Tensor, batch: Batch) -> Iterator[tuple[Tensor, Batch]]:
        return ((w, (x, y)) for w, x, y in zip(W, *batch, strict=True))

    def _drawn(
        self, W: Tensor, batch: Batch, generators: Generators
    ) -> Iterator[tuple[tuple[Tensor, Batch], torch.Generator | None]]:
        return zip(self._runs(W, batch), generators or itertools.repeat(None, len(W)), strict=True)

    def _chunk(self, W: Tensor, batch: Batch) -> int:
        return 1024


@dataclass(frozen=True)
class Alone(Plain):
    """Measurements of one run at W (1, d), on samples of any structure or a stream of them, which are not stacked."""

    def _runs(self, W: Tensor, batch: Batch) -> Iterator[tuple[Tensor, Batch]]:
        return iter([(W[0], batch)])


@dataclass(frozen=True)
class Fast(Plain):
    """Measurements of a module whose layers all have factors; of perceptrons, several runs at once."""

    net: Net

    @property
    def stacked(self) -> bool:
        return isinstance(self.net, Perceptron)

    def floats(self, W: Tensor, x: Tensor) -> int:
        return self.net.floats(W, x)

    def hvp(self, W: Tensor, batch: Batch) -> lanczos.Stacked:
        """Written out for perceptrons, in one piece where their layers' outputs are `ELEMENTS` floats or fewer."""
        if isinstance(self.net, Perceptron) and self._chunk(W, batch) >= batch[1].shape[1]:
            return fast_curvature.hvp(self.net, W, batch)
        return super().hvp(W, batch)

    def ggn_trace(self, W: Tensor, batch: Batch) -> list[Estimate]:
        return self._each(fast_curvature.ggn_trace, W, batch)

    def ggn_trace_by_layer(self, W: Tensor, batch: Batch) -> list[list[Estimate]]:
        return self._each(fast_curvature.ggn_trace_by_layer, W, batch)

    def noise(self, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Generators = ()) -> list[noise.Noise]:
        return self._each(fast_noise.noise, W, batch, m=m, generators=generators)

    def m_sharpness(
        self, W: Tensor, batch: Batch, *, m: Sequence[int], rho: float, generators: Generators = ()
    ) -> list[BySize]:
        return self._each(fast_m_sharpness.m_sharpness, W, batch, m=m, rho=rho, generators=generators)

    def ascent(self, W: Tensor, batch: Batch, product: lanczos.Stacked) -> list[Estimate]:
        return self._each(fast_ascent.ascent, W, batch, product=product)

    def ascent_by_size(self, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Generators = ()) -> list[BySize]:
        return self._each(fast_ascent.by_size, W, batch, m=m, generators=generators)

    def batch_sharpness(
        self, W: Tensor, batch: Batch, *, m: Sequence[int], generators: Generators = ()
    ) -> list[BySize]:
        return self._each(fast_ascent.batch_sharpness, W, batch, m=m, generators=generators)

    def _each(self, twin: Callable[..., list[Any]], W: Tensor, batch: Batch, **more: Any) -> list[Any]:
        """All runs at once where the network takes them so, else one after another."""
        if self.stacked or len(W) == 1:
            return twin(self.net, W, batch, **more)
        found = []
        for s in range(len(W)):
            one = slice(s, s + 1)
            own = {k: a.take([s]) if k == "product" else a[one] if k == "generators" else a for k, a in more.items()}
            found += twin(self.net, W[one], (batch[0][one], batch[1][one]), **own)
        return found

    def _chunk(self, W: Tensor, batch: Batch) -> int:
        return max(1, curvature.ELEMENTS // self.net.floats(W, batch[0]))
