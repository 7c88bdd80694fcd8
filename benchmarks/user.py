"""What a user would write without us: SAM as a wrapped optimiser, m-SAM as a loop over it, PyHessian.

`SAM` follows the package that most people copy (github.com/davda54/sam): perturb, restore, step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SAM(torch.optim.Optimizer):
    """first_step climbs by rho g / ||g||; second_step goes back and takes a step of the base optimiser."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        """Climb."""
        norm = self._grad_norm()
        for group in self.param_groups:
            scale = group["rho"] / (norm + 1e-12)
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale.to(p))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def restore(self):
        """Go back."""
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        """Go back, and take the base optimiser's step."""
        self.restore()
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    def _grad_norm(self):
        norms = [p.grad.norm(p=2) for group in self.param_groups for p in group["params"] if p.grad is not None]
        return torch.norm(torch.stack(norms), p=2)


def sam_step(model: nn.Module, optimiser: SAM, x: Tensor, y: Tensor) -> None:
    """One step of SAM on a mini-batch."""
    F.cross_entropy(model(x), y).backward()
    optimiser.first_step(zero_grad=True)
    F.cross_entropy(model(x), y).backward()
    optimiser.second_step(zero_grad=True)


def m_sam_step(model: nn.Module, optimiser: SAM, x: Tensor, y: Tensor, m: int) -> None:
    """One step of m-SAM: perturb, differentiate and restore for each micro-batch, then step along the mean."""
    total = [torch.zeros_like(p) for p in model.parameters()]
    for part, labels in zip(x.split(m), y.split(m), strict=True):
        optimiser.zero_grad()
        F.cross_entropy(model(part), labels).backward()
        optimiser.first_step(zero_grad=True)
        F.cross_entropy(model(part), labels).backward()
        optimiser.restore()
        for t, p in zip(total, model.parameters(), strict=True):
            t += p.grad * (m / len(y))
    for t, p in zip(total, model.parameters(), strict=True):
        p.grad = t
    optimiser.base_optimizer.step()
    optimiser.zero_grad()


def sgd_step(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step of SGD."""
    F.cross_entropy(model(x), y).backward()
    optimiser.step()
    optimiser.zero_grad()


def n_sam_step(model: nn.Module, optimiser: SAM, x: Tensor, y: Tensor, full: tuple[Tensor, Tensor]) -> None:
    """One step of n-SAM: the perturbation is the gradient of the whole training set."""
    F.cross_entropy(model(full[0]), full[1]).backward()
    optimiser.first_step(zero_grad=True)
    F.cross_entropy(model(x), y).backward()
    optimiser.second_step(zero_grad=True)


def batches(n: int, batch: int) -> Iterator[Tensor]:
    """Shuffled mini-batches, for ever."""
    while True:
        order = torch.randperm(n)[: n // batch * batch]
        yield from order.split(batch)


def pyhessian(model: nn.Module, batch: tuple[Tensor, Tensor]):
    """PyHessian's object on the CPU."""
    import warnings

    from pyhessian import hessian

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True", UserWarning)
        return hessian(model, nn.CrossEntropyLoss(), data=batch, cuda=False)


def trace_V(model: nn.Module, batch: tuple[Tensor, Tensor]) -> float:
    """tr(V) from a loop of per-sample gradients."""
    total, squares = None, 0.0
    for x, y in zip(*batch, strict=True):
        grads = torch.autograd.grad(F.cross_entropy(model(x[None]), y[None]), list(model.parameters()))
        g = torch.cat([a.flatten() for a in grads])
        total = g.double() if total is None else total + g
        squares += float(g.square().sum())
    n = len(batch[1])
    return (squares - float(total.square().sum()) / n) / (n - 1)
