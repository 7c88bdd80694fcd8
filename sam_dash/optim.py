"""Any variant in your own training loop, for your own network, as a torch optimiser.

>>> import torch
>>> model = torch.nn.Linear(5, 3)
>>> optimiser = SharpnessAware(model, "sam", m=4, lr=0.1, rho=0.05)
>>> x, y = torch.randn(8, 5), torch.randint(0, 3, (8,))
>>> loss = optimiser.step(lambda: (x, y))

See docs/optim.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from sam_dash import variants
from sam_dash.maths.draws import draw
from sam_dash.maths.flat import Layout, flatten
from sam_dash.maths.micro import per_micro_batch
from sam_dash.maths.oracle import Batch, Oracle

Losses = Callable[[Any, Tensor], Tensor]


def cross_entropies(outputs: Tensor, y: Tensor) -> Tensor:
    """The loss of each sample: (n, C), (n,) -> (n,)."""
    return F.cross_entropy(outputs, y, reduction="none")


class SharpnessAware(torch.optim.Optimizer):
    """A sharpness-aware variant round a base optimiser.

    `base(parameters, lr=lr)` makes the base optimiser; `functools.partial` gives it more. `loss(outputs, y) -> (n,)`
    are per-sample losses. `m` divides every batch (None: the whole batch, plain SAM). `full` is the whole training
    set, which n-SAM and n-USAM need; `counts` (C,) its class sizes, which Focal-SAM needs. All else are the variant's
    knobs. Learning-rate schedulers take it as they take any optimiser.
    """

    def __init__(
        self,
        model: nn.Module,
        variant: str = "sam",
        base: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
        *,
        lr: float,
        m: int | None = None,
        loss: Losses = cross_entropies,
        full: Batch | None = None,
        counts: Tensor | None = None,
        seed: int = 0,
        **knobs: Any,
    ) -> None:
        self.variant, self.model, self.loss = variants.get(variant), model, loss
        self.knobs = self.variant.check(knobs)
        self.m, self.full, self.counts = m, full, counts
        self.layout = Layout.of(model)
        _check(self)
        self.base = base(model.parameters(), lr=lr)
        if self.variant.descends and any(group.get("momentum", 1) for group in self.base.param_groups):
            raise ValueError(f"{self.variant.title} brings its own descent: its base is torch.optim.SGD, no momentum")
        super().__init__(self.base.param_groups, {})
        self.param_groups = self.base.param_groups
        self.first_lr, self.t = lr, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.memory = self.variant.init(flatten(model))

    @torch.no_grad()
    def step(self, closure: Callable[[], Batch] | None = None) -> Tensor:  # type: ignore[override]
        """One step on the batch (x, y) that the closure returns; the mean loss before it.

        That loss takes one forward more. It is the only pass that moves the running statistics of BatchNorm.
        """
        if closure is None:
            raise ValueError("step needs a closure that returns the batch (x, y)")
        x, y = closure()
        m = self.m or len(y)
        if len(y) % m:
            raise ValueError(f"m = {m} does not divide this batch of {len(y)} samples; drop_last=True may help")
        loss: Tensor = self.loss(self.model(x), y).mean()
        w = flatten(self.model)
        full = None if self.full is None else Oracle(self._losses, self.full, chunk=4096)
        rate = self.param_groups[0]["lr"] / self.first_lr
        noise = draw(self.variant, w, self.generator)
        L = Oracle(
            self._losses, (x, y), noise, full, t=self.t, rate=rate, counts=self.counts, layout=self.layout
        )  # fmt: skip
        step = self.variant.step if m == len(y) else per_micro_batch(self.variant.step, m)
        with _frozen_statistics(self.model):
            out = step(L, w, self.memory, **self.knobs)
        for p, h in zip(self.model.parameters(), self.layout.unflatten(out.h).values(), strict=True):
            p.grad = h.clone()
        self.base.step()
        self.base.zero_grad()
        self.memory, self.t = out.state, self.t + 1
        return loss

    def _losses(self, w: Tensor, batch: Batch) -> Tensor:
        x, y = batch
        return self.loss(functional_call(self.model, self.layout.unflatten(w), (x,)), y)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, as any optimiser does; `step` does so itself."""
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """All that a run needs to go on: the base optimiser's state, the variant's, the step and the generator."""
        return {
            "base": self.base.state_dict(), "variant": self.variant.key,
            "memory": [part.clone() for part in self.memory],
            "t": self.t, "first_lr": self.first_lr, "generator": self.generator.get_state(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same variant; ValueError for another's."""
        if state_dict["variant"] != self.variant.key:
            raise ValueError(f"this state is of {state_dict['variant']!r}, the optimiser is {self.variant.key!r}")
        self.base.load_state_dict(state_dict["base"])
        self.param_groups = self.base.param_groups
        fresh = self.variant.init(flatten(self.model))
        parts = [a.to(b) for a, b in zip(state_dict["memory"], fresh, strict=True)]
        self.memory = type(fresh)(*parts) if parts else fresh
        self.t, self.first_lr = state_dict["t"], state_dict["first_lr"]
        self.generator.set_state(state_dict["generator"])


def _check(o: SharpnessAware) -> None:
    """ValueError for what cannot work, a warning for what works differently."""
    v = o.variant
    frozen = [n for n, p in o.model.named_parameters() if not p.requires_grad]
    if frozen:
        raise ValueError(f"parameter {frozen[0]!r} does not require a gradient; all parameters are perturbed")
    dropout = [p for p in o.model.modules() if isinstance(p, _DropoutNd) and p.p > 0]
    if dropout:
        raise ValueError(f"{type(dropout[0]).__name__}: a new mask at w + eps makes the perturbation fit the mask")
    if o.m is not None and (isinstance(o.m, bool) or not isinstance(o.m, int) or o.m < 1):
        raise ValueError(f"m = {o.m!r}: expected a whole number of samples")
    if o.m is not None and not v.uses_m:
        raise ValueError(f"{v.title} has no m-version: {v.no_m}")
    if v.cost(**o.knobs).full and o.full is None:
        raise ValueError(f"{v.title} perturbs along the full-data gradient: pass full=(x_all, y_all)")
    if v.counts and o.counts is None:
        raise ValueError(f"{v.title} weighs classes by their size: pass counts, a tensor (C,) of the training set's")
    if o.m is not None and any(isinstance(p, _BatchNorm) for p in o.model.modules()):
        warnings.warn(
            "BatchNorm: the statistics of a micro-batch change the loss itself, so that runs with different m differ "
            "in more than the perturbation; GroupNorm or LayerNorm do not",
            stacklevel=3,
        )


@contextmanager
def _frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Within, BatchNorm in training mode normalises by its batch and leaves its running statistics alone."""
    norms = [p for p in model.modules() if isinstance(p, _BatchNorm) and p.training and p.track_running_stats]
    kept = [(p, cast(Any, p).running_mean, cast(Any, p).running_var, p.num_batches_tracked) for p in norms]
    try:
        for p in norms:
            p.track_running_stats = False
            p.running_mean = p.running_var = p.num_batches_tracked = None
        yield
    finally:
        for p, mean, var, count in kept:
            p.track_running_stats = True
            p.running_mean, p.running_var, p.num_batches_tracked = mean, var, count
