"""A module as it is: its own parameters are written in place, as one vector; `Live.held` puts everything back, bit for
bit. What is asked of it is in `live_oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from sam_dash.maths.attention import no_fast_path
from sam_dash.maths.flat import Layout, PerSample
from sam_dash.maths.generators import put, states
from sam_dash.maths.samples import arguments


def call(module: nn.Module, x: Any) -> Any:
    """The module's outputs for x: a dict gives its keyword arguments, a tuple or list its arguments."""
    args, kwargs = arguments(x)
    return module(*args, **kwargs)


def dense(grads: Iterable[Tensor | None], parameters: Iterable[Tensor]) -> Tensor:
    """Gradients by the first of these parameters as one vector; 0 where there is none."""
    parts = zip(grads, parameters, strict=False)
    return _flatten_dense_tensors(
        [torch.zeros_like(p) if g is None else g.to_dense() if g.is_sparse else g for g, p in parts]
    ).detach()


@dataclass(eq=False)
class Live:
    """The parameters of a module that are perturbed as one vector w (d,), of the widest of their dtypes.

    `rest` are trained too, at the perturbed weights: they follow w in the gradient that is descended, (d + rest,).
    """

    module: nn.Module
    loss: PerSample
    parameters: list[nn.Parameter]
    layout: Layout
    rest: list[nn.Parameter] = field(default_factory=list)
    radii: Tensor | None = None  # what every displacement from the clean w is multiplied by (d,); None: 1
    gradients: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # of w, and of w and the rest; where any is
    clean: Tensor | None = None  # w while it is held
    at: Tensor | None = None  # the w that is written
    used: set[int] = field(default_factory=set)  # the parameters that had a gradient
    losses: list[Tensor] = field(default_factory=list)  # of the batch at the clean w, part by part
    buffers: list[tuple[nn.Module, str, Tensor, Tensor]] = field(default_factory=list)  # and their values to hold
    wanted: bool = True  # whether the losses at the clean w are asked for, though a step may not need them
    whole: tuple[Tensor, Tensor] | None = None  # a w and the full data's gradient there
    reentrant: bool = False  # whether a part of the module was found that `torch.autograd.grad` cannot take
    derives: bool = False  # whether the module was found to take derivatives in its forward, which need a graph
    scale: float = 1.0  # what losses are multiplied by before each backward, and gradients divided by after it

    @classmethod
    def of(
        cls, module: nn.Module, loss: PerSample, parameters: list[nn.Parameter], rest: Sequence[nn.Parameter] = ()
    ) -> Live:
        """The module as a function of these parameters of it, beside which the rest are trained."""
        names = {id(p): name for name, p in module.named_parameters()}
        layout = Layout(tuple(names[id(p)] for p in parameters), tuple(p.shape for p in parameters))
        return cls(module, loss, parameters, layout, list(rest))

    @property
    def trained(self) -> list[nn.Parameter]:
        """All that is trained, in the order of the descended gradient."""
        return self.parameters + self.rest

    def read(self) -> Tensor:
        """A copy of the parameters (d,)."""
        flat = _flatten_dense_tensors(self.parameters).detach()
        wide = flat.to(torch.promote_types(torch.float32, flat.dtype))
        return wide.clone() if len(self.parameters) == 1 else wide  # of one parameter it would be a view

    def write(self, w: Tensor) -> None:
        """Give the parameters the values of w (d,)."""
        if w is self.at:
            return
        with torch.no_grad():
            values = _unflatten_dense_tensors(self.placed(w).detach(), self.parameters)
            torch._foreach_copy_(cast(list[Tensor], self.parameters), values)
        self.at = w

    def placed(self, w: Tensor) -> Tensor:
        """The point that is meant by w (d,), each displacement by its radius; its derivative by w is taken as 1."""
        if self.radii is None or self.clean is None or w is self.clean:
            return w
        return w + ((self.radii - 1) * (w - self.clean)).detach()

    @contextmanager
    def held(self) -> Iterator[Tensor]:
        """The parameters as w (d,). In the end they and the buffers are what they were, bit for bit.

        But for the buffers of a clean pass that was `settled`; after an error these too, and the generators.
        """
        self.settle()
        before, drawn = self.buffers, states(self.parameters)
        self.clean = self.at = self.read()
        self.used, self.losses, self.gradients = set(), [], []
        try:
            with no_fast_path():
                yield self.clean
        except BaseException:
            self.at = None  # a forward may have written to them too
            self.buffers = before
            put(drawn)
            raise
        finally:
            self.write(self.clean)
            self.rewind()
            self.gradients = []
            self.clean = self.at = self.whole = None

    def settle(self) -> None:
        """Hold the buffers as they are now."""
        self.buffers = [(part, name, b, b.clone()) for part in self.module.modules()
                        for name, b in part._buffers.items() if b is not None]  # fmt: skip

    def rewind(self) -> None:
        """Give the modules the buffers, and these the values, that they were held with."""
        if not self.buffers:
            return
        with torch.no_grad():
            for part, name, b, value in self.buffers:
                part._buffers[name] = b.copy_(value)

    def without_graph(self, f: Callable[[], Tensor]) -> Tensor:
        """f() of forwards without a graph; with one where the module takes derivatives itself, as PINNs do."""
        if not self.derives:
            before = states(self.parameters)
            try:
                with torch.no_grad():
                    return f()
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
            put(before)
            self.rewind()
            self.derives = True
        with torch.enable_grad():
            return f().detach()

    def flat(self, grads: Sequence[Tensor | None], w: Tensor) -> Tensor:
        """Gradients of all that is trained, or of `parameters`, as one vector; 0 where there is none."""
        self.used |= {i for i, g in enumerate(grads) if g is not None}
        flat = dense(grads, self.trained).to(w)
        return flat if self.scale == 1 else flat / self.scale

    def perturbed(self, gradient: Tensor) -> Tensor:
        """The part of a gradient (d + rest,) that the variant sees (d,)."""
        if not self.rest:
            return gradient
        part = gradient[: self.layout.d]
        self.gradients.append((part, gradient))
        return part

    def known(self, part: Tensor) -> Tensor | None:
        """The gradient (d + rest,) whose part that is; None for what is no gradient that was asked for."""
        return next((gradient for known, gradient in self.gradients if known is part), None) if self.rest else part

    def completed(self, part: Tensor) -> Tensor:
        """The gradient (d + rest,) whose part that is; ValueError where it is not `known`."""
        found = self.known(part)
        if found is not None:
            return found
        raise ValueError(
            "the variant descends a combination of gradients, which leaves open what parameters that are not perturbed "
            "descend: choose one that descends the gradient at the perturbed weights, such as SAM, ASAM, USAM or RW-SAM"
        )
