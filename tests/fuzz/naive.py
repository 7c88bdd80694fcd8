"""The loop that people write, in plain torch: micro-batch after micro-batch, the module's own backward, rules by hand.

Nothing of `sam_dash` is used but the noise that it draws. Losses are those of the case, one a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda out, y: F.cross_entropy(out, y, reduction="none"),
    "mse": lambda out, y: (out - y).pow(2).mean(1),
    "bce": lambda out, y: F.binary_cross_entropy_with_logits(out, y, reduction="none").mean(1),
}


def called(module: nn.Module, x: Any) -> Any:
    if isinstance(x, dict):
        return module(**x)
    return module(*x) if isinstance(x, tuple) else module(x)


class Part:
    """One micro-batch, in one or several batches: all passes start from one state of generator and buffers."""

    def __init__(self, module: nn.Module, loss: Any, batches: list[Any], trained: list[nn.Parameter], on: list[bool]):
        self.module, self.loss, self.batches, self.trained, self.on = module, loss, batches, trained, on
        self.clean = [p.detach().clone() for p in trained]
        self.sizes = [p.numel() for p, perturbed in zip(trained, on, strict=True) if perturbed]
        self.buffers = [b.clone() for b in module.buffers()]
        self.starts: list[Any] = [None] * len(batches)
        self.seen: set[int] = set()
        self.n = sum(len(y if isinstance(y, Tensor) else y["a"]) for _, y in batches)

    def flat(self, tensors: list[Tensor]) -> Tensor:
        """What belongs to the perturbed parameters, as one vector."""
        return torch.cat([a.reshape(-1) for a, perturbed in zip(tensors, self.on, strict=True) if perturbed])

    def write(self, e: Tensor | float) -> None:
        moved = iter(e.split(self.sizes)) if isinstance(e, Tensor) else None
        with torch.no_grad():
            for p, value, perturbed in zip(self.trained, self.clean, self.on, strict=True):
                if perturbed:
                    p.copy_(value + next(moved).view_as(value) if moved else value)

    def forward(self, i: int) -> Tensor:
        if self.starts[i] is None:
            self.starts[i] = torch.get_rng_state(), None
        start, after = self.starts[i]
        torch.set_rng_state(start)
        self.rewind()
        x, y = self.batches[i]
        losses = self.loss(called(self.module, x), y)
        if after is None:
            self.starts[i] = start, torch.get_rng_state()
        torch.set_rng_state(self.starts[i][1])
        return losses

    def rewind(self) -> None:
        with torch.no_grad():
            for b, value in zip(self.module.buffers(), self.buffers, strict=True):
                b.copy_(value)

    def losses(self, e: Tensor | float = 0.0) -> Tensor:
        self.write(e)
        out = torch.cat([self.forward(i).detach() for i in range(len(self.batches))])
        self.write(0.0)
        return out

    def full(self, e: Tensor | float = 0.0, weights: Tensor | None = None) -> list[Tensor]:
        """The gradient of sum_i weights_i l_i, the mean without, for all that is trained."""
        total = [torch.zeros_like(p) for p in self.trained]
        self.write(e)
        share = torch.full((self.n,), 1 / self.n, dtype=torch.float64) if weights is None else weights
        at = 0
        for i in range(len(self.batches)):
            for p in self.module.parameters():
                p.grad = None
            losses = self.forward(i)
            (losses * share[at : at + len(losses)]).sum().backward()
            at += len(losses)
            for k, p in enumerate(self.trained):
                if p.grad is not None:
                    total[k] += p.grad.to_dense()
                    self.seen.add(k)
        self.write(0.0)
        return total

    def grad(self, e: Tensor | float = 0.0, weights: Tensor | None = None) -> Tensor:
        return self.flat(self.full(e, weights))


class Found(NamedTuple):
    """What a rule comes to: all that is descended, eps, g, and what it remembers; a part that passes the base by."""

    h: list[Tensor]
    eps: Tensor
    g: Tensor
    memory: Tensor | None = None
    aside: Tensor | None = None


def unit(v: Tensor) -> Tensor:
    return v / (v.norm() + 1e-12)


def rule(
    part: Part, key: str, knobs: dict[str, Any], names: list[str], t: int, memory: Any, z: Any, radii: Any
) -> Found:
    """One variant on one micro-batch. `radii` multiply every displacement of a coordinate."""
    rho = knobs.get("rho", 0.0)
    mean = torch.zeros(sum(part.sizes), dtype=torch.float64) if memory is None else memory

    def at(e: Tensor) -> list[Tensor]:
        return part.full(radii * e)

    def combined(*terms: tuple[float, list[Tensor]]) -> list[Tensor]:
        return [sum(c * a for c, a in zip([c for c, _ in terms], each, strict=True))
                for each in zip(*(a for _, a in terms), strict=True)]  # fmt: skip

    if key == "msam":
        eps = -rho * unit(mean)
        h = at(eps)
        return Found(h, radii * eps, part.flat(h), 0.9 * mean + part.flat(h))
    if key == "rwsam":
        losses = None
        if knobs.get("norms") == "exact":
            sharp = torch.stack([part.grad(0.0, row).norm() for row in torch.eye(part.n, dtype=torch.float64)])
        else:
            losses, delta = part.losses(), 0.1 / len(mean) ** 0.5
            sharp = (part.losses(radii * delta * z) - losses).abs() / delta
        g = part.grad(0.0, (0.5 * sharp).softmax(0))
        eps = rho * (unit(g) if knobs.get("normalised", True) else g)
        return Found(at(eps), radii * eps, g)
    full = part.full()
    g = part.flat(full)
    if key == "sgd":
        return Found(full, 0 * g, g)
    if key == "multisam":
        eps = rho / 2 * unit(g)
        eps = eps + rho / 2 * unit(part.flat(at(eps)))
        return Found(at(eps), radii * eps, g)
    if key == "looksam" and t % 2:
        push = iter((0.7 * g.norm() * unit(mean)).split(part.sizes))
        return Found(
            [a + next(push).view_as(a) if on else a for a, on in zip(full, part.on, strict=True)], 0 * g, g, mean
        )
    eps = rho * unit(g)
    if key == "usam":
        eps = rho * g
    elif key == "unified":
        eps = rho * (1 / (t + 1) + (1 - 1 / (t + 1)) / (g.norm() + 1e-12)) * g
    elif key == "asam":
        T = part.flat(part.clean).abs()
        if knobs.get("form") != "all":
            scaled = iter(
                [torch.full((n,), float("weight" in name)) for n, name in zip(part.sizes, names, strict=True)]
            )
            T = torch.cat([s * (a + 0.01) + 1 - s for s, a in zip(scaled, T.split(part.sizes), strict=True)])
        eps = rho * T * unit(T * g)
    elif key == "vasso":
        mean = 0.4 * mean + 0.6 * g if t else g
        eps = rho * unit(mean)
    up = at(eps)
    h = part.flat(up)
    if key == "gsam":
        inner = float(g @ h / (h @ h + 1e-12))
        return Found(combined((1 + 0.4 * inner, up), (-0.4, full)), radii * eps, g)
    if key == "wsam" and knobs.get("coupling") == "coupled":
        return Found(combined((9.0, up), (-8.0, full)), radii * eps, g)
    if key == "wsam":
        return Found(full, radii * eps, g, None, 9 * (h - g))
    if key == "looksam":
        mean = h - h @ unit(g) * unit(g)
    return Found(up, radii * eps, g, mean if key in ("vasso", "looksam") else None)


class Loop:
    """The variant round a base optimiser, on a module of its own."""

    def __init__(self, module: nn.Module, base: torch.optim.Optimizer, loss: str | Any, key: str, knobs: dict[str, Any],
                 m: int, on: set[str], clip: float | None) -> None:  # fmt: skip
        self.module, self.base, self.key, self.knobs, self.m, self.clip = module, base, key, knobs, m, clip
        self.loss = LOSSES[loss] if isinstance(loss, str) else loss
        self.perturbed = on
        self.t, self.memory, self.known = 0, None, []

    def step(self, batches: list[Any], z: Tensor | None) -> dict[str, float]:
        """One step; what it was, as numbers."""
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self.trained, self.on = [p for _, p in named], [name in self.perturbed for name, _ in named]
        self.names = [name for name, _ in named if name in self.perturbed]
        if self.known != (now := [name for name, _ in named]):  # something was frozen
            self.memory, self.known = None, now
        clean = None
        if any(
            part.training and list(part.buffers(False)) for part in self.module.modules()
        ):  # a clean pass moves them
            clean = torch.cat([self.loss(called(self.module, x), y) for x, y in batches]).detach()
        total = [torch.zeros_like(p) for p in self.trained]
        n = sum(len(y if isinstance(y, Tensor) else y["a"]) for _, y in batches)
        radius = {id(p): group.get("rho") for group in self.base.param_groups for p in group["params"]}
        rho = self.knobs.get("rho", 1.0)
        losses, found, seen = [], [], set()
        for batch in self.parts(batches):
            part = Part(self.module, self.loss, batch, self.trained, self.on)
            radii = part.flat([torch.full_like(p, (radius[id(p)] or rho) / rho) for p in self.trained])
            own = rule(part, self.key, self.knobs, self.names, self.t, self.memory, z, radii)
            found.append(own)
            losses.append(part.losses())
            part.rewind()
            seen |= part.seen
            total = [a + b * (part.n / n) for a, b in zip(total, own.h, strict=True)]
        share = self.m / n
        mean = {k: None if getattr(found[0], k) is None else sum(share * getattr(f, k) for f in found)
                for k in ("g", "memory", "aside")}  # fmt: skip
        h = part.flat(total)
        lr = {id(p): group["lr"] for group in self.base.param_groups for p in group["params"]}
        for p in self.module.parameters():
            p.grad = None
        for k, (p, a) in enumerate(zip(self.trained, total, strict=True)):
            p.grad = a.clone() if k in seen else None
        norm = torch.cat([a.flatten() for a in total]).norm()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.base.step()
        descent = torch.cat([a.flatten() for a in total])
        if mean["aside"] is not None:
            scale = 1.0 if self.clip is None else min(1.0, self.clip / (float(norm) + 1e-6))
            moved = iter(mean["aside"].split(part.sizes))
            with torch.no_grad():
                for p, perturbed in zip(self.trained, self.on, strict=True):
                    if perturbed:
                        p -= lr[id(p)] * scale * next(moved).view_as(p)
            descent = h + mean["aside"]
        self.memory, self.t = mean["memory"], self.t + 1
        loss = torch.cat(losses) if clean is None else clean
        eps = sum(share * f.eps.norm() for f in found)
        return {"loss": float(loss.mean()), "eps": float(eps), "h": float(descent.norm())}

    def parts(self, batches: list[Any]) -> list[list[Any]]:
        """Micro-batches; all of the batches together where one perturbation is for all."""
        n = sum(len(y if isinstance(y, Tensor) else y["a"]) for _, y in batches)
        if self.m == n:
            return [batches]
        out = []
        for x, y in batches:
            size = len(y if isinstance(y, Tensor) else y["a"])
            for i in range(0, size, self.m):

                def cut(a: Any, i: int = i) -> Any:
                    if isinstance(a, dict):
                        return {k: cut(v) for k, v in a.items()}
                    if isinstance(a, tuple):
                        return tuple(map(cut, a))
                    return a[i : i + self.m] if isinstance(a, Tensor) else a

                out.append([(cut(x), cut(y))])
        return out
