"""Training loops of known truth, as people write them; each is one step on one rank's share of a batch.

A loop is told apart from the auditor's code: it knows nothing of candidates, and what is true of it stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from sam_dash.optim import SharpnessAware

N, RHO = 16, 0.05  # samples on a rank; the radius


@dataclass
class Bench:
    """One rank's model, optimiser and samples; `outer` is what the loop calls."""

    model: nn.Module
    outer: nn.Module
    optimiser: Any
    rank: int
    size: int
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def unsynced(self) -> Any:
        return self.outer.no_sync() if isinstance(self.outer, DistributedDataParallel) else nullcontext()

    def grads(self) -> list[Tensor]:
        return [p.grad.clone() for p in self.parameters]  # type: ignore[union-attr]

    def averaged(self) -> None:
        """All .grad averaged over the ranks by hand."""
        for p in self.parameters:
            if self.size > 1:
                dist.all_reduce(p.grad)
                p.grad.div_(self.size)  # type: ignore[union-attr]


Loop = Callable[[Bench, Tensor, Tensor], None]


@dataclass(frozen=True)
class Truth:
    """What is true of a loop on R ranks; None: not to be told from outside."""

    step: Loop
    m: Callable[[int], int | None]
    common: bool | None = True  # where R > 1
    rho: float | None = RHO
    left: float | None = 0.0  # of eps; "rounding": below 1e-4
    along: str = "the gradient as it is"
    descended: str = "the gradient of the perturbed forwards"
    red: frozenset[str] = frozenset()
    amber: frozenset[str] = frozenset()
    sizes: tuple[int, ...] = (1, 2, 4)
    parts: tuple[str, ...] = ()  # of the network, besides linear layers
    bare: bool = False  # without DistributedDataParallel
    said: tuple[tuple[str, str], ...] = ()  # further lines, and what they say


ZOO: dict[str, Truth] = {}


def loop(m: Callable[[int], int | None], **truth: Any) -> Callable[[Loop], Loop]:
    def add(step: Loop) -> Loop:
        ZOO[step.__name__] = Truth(step, m, **truth)
        return step

    return add


def everyone(R: int) -> int:
    return N * R


def rank(R: int) -> int:
    return N


def untold(R: int) -> None:
    return None


def length(vectors: list[Tensor]) -> Tensor:
    return torch.cat([v.flatten() for v in vectors]).norm()


def move(b: Bench, by: list[Tensor]) -> None:
    with torch.no_grad():
        for p, e in zip(b.parameters, by, strict=True):
            p.add_(e)


def copies(b: Bench) -> list[Tensor]:
    return [p.detach().clone() for p in b.parameters]


def put_back(b: Bench, kept: list[Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(b.parameters, kept, strict=True):
            p.copy_(value)


def backward(b: Bench, x: Tensor, y: Tensor, scale: float = 1.0) -> None:
    (cross_entropy(b.outer(x), y) * scale).backward()


def two_passes(b: Bench, x: Tensor, y: Tensor, eps: Callable[[list[Tensor]], list[Tensor]], **own: Any) -> None:
    """SAM with another perturbation: first pass, displacement, second pass, weights copied back, step."""
    kept = copies(b)
    b.optimiser.zero_grad()
    own.get("first", backward)(b, x, y)
    by = eps(b.grads())
    move(b, by)
    if own.get("clear", True):
        b.optimiser.zero_grad()
    own.get("second", backward)(b, x, y)
    put_back(b, kept)
    own.get("last", lambda: None)()
    b.optimiser.step()


def unit(g: list[Tensor]) -> list[Tensor]:
    return [RHO * v / length(g) for v in g]


@loop(everyone)
def sam(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit)


@loop(everyone)
def no_sync_round_the_backward_only(b: Bench, x: Tensor, y: Tensor) -> None:
    """As the README of davda54/sam has it for several GPUs."""
    kept = copies(b)
    b.optimiser.zero_grad()
    loss = cross_entropy(b.outer(x), y)
    with b.unsynced():
        loss.backward()
    move(b, unit(b.grads()))
    b.optimiser.zero_grad()
    backward(b, x, y)
    put_back(b, kept)
    b.optimiser.step()


def unsynced(b: Bench, x: Tensor, y: Tensor) -> None:
    with b.unsynced():
        backward(b, x, y)


@loop(rank, common=False)
def no_sync_round_both(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit, first=unsynced)


@loop(everyone, bare=True)
def averaged_by_hand(b: Bench, x: Tensor, y: Tensor) -> None:
    def synced(b: Bench, x: Tensor, y: Tensor) -> None:
        backward(b, x, y)
        b.averaged()

    two_passes(b, x, y, unit, first=synced, second=synced)


@loop(everyone, rho=None, sizes=(2, 4), amber=frozenset(), bare=True, said=(("m", "each normalised"),))
def perturbations_averaged(b: Bench, x: Tensor, y: Tensor) -> None:
    def mean(g: list[Tensor]) -> list[Tensor]:
        own = unit(g)
        for e in own:
            dist.all_reduce(e)
        return [e / b.size for e in own]

    two_passes(b, x, y, mean, last=b.averaged)


@loop(rank, common=False, rho=None, sizes=(2, 4), amber=frozenset({"ρ"}), said=(("ρ", "each rank has a radius"),))
def a_radius_for_each_rank(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, lambda g: [(1 + b.rank) * e for e in unit(g)], first=unsynced)


@loop(everyone)
def accumulated_for_one_perturbation(b: Bench, x: Tensor, y: Tensor) -> None:
    def parts(b: Bench, x: Tensor, y: Tensor) -> None:
        for i in range(4):
            with b.unsynced() if i < 3 else nullcontext():
                backward(b, x[4 * i :][:4], y[4 * i :][:4], 0.25)

    two_passes(b, x, y, unit, first=parts, second=parts)


def each_part(b: Bench, x: Tensor, y: Tensor, parts: int = 4) -> None:
    kept, size = copies(b), N // parts
    total = [torch.zeros_like(p) for p in b.parameters]
    for i in range(parts):
        at, of = x[size * i :][:size], y[size * i :][:size]
        b.optimiser.zero_grad()
        unsynced(b, at, of)
        move(b, unit(b.grads()))
        b.optimiser.zero_grad()
        unsynced(b, at, of)
        for t, g in zip(total, b.grads(), strict=True):
            t.add_(g, alpha=1 / parts)
        put_back(b, kept)
    for p, t in zip(b.parameters, total, strict=True):
        p.grad = t
    b.averaged()
    b.optimiser.step()


@loop(lambda R: 4, common=False)
def a_perturbation_for_each_micro_batch(b: Bench, x: Tensor, y: Tensor) -> None:
    each_part(b, x, y)


@loop(lambda R: 4, common=False, red=frozenset({"descended"}), descended="the last perturbed forward")
def only_the_last_micro_batch_is_descended(b: Bench, x: Tensor, y: Tensor) -> None:
    kept = copies(b)
    for i in range(4):
        at, of = x[4 * i :][:4], y[4 * i :][:4]
        b.optimiser.zero_grad()
        unsynced(b, at, of)
        move(b, unit(b.grads()))
        b.optimiser.zero_grad()
        unsynced(b, at, of)
        put_back(b, kept)
    b.averaged()
    b.optimiser.step()


@loop(lambda R: N // 2, common=False, descended="the gradient of the perturbed forwards")
def perturbed_by_half_the_batch(b: Bench, x: Tensor, y: Tensor) -> None:
    def half(b: Bench, x: Tensor, y: Tensor) -> None:
        unsynced(b, x[: N // 2], y[: N // 2])

    two_passes(b, x, y, unit, first=half)


@loop(everyone, rho=None, red=frozenset({"ρ"}), said=(("ρ", "unscale them first"),))
def perturbed_by_scaled_gradients(b: Bench, x: Tensor, y: Tensor) -> None:
    def scaled(b: Bench, x: Tensor, y: Tensor) -> None:
        backward(b, x, y, 1024.0)

    def unscale() -> None:
        for p in b.parameters:
            p.grad.div_(1024.0)  # type: ignore[union-attr]

    two_passes(b, x, y, lambda g: [1e-5 * v for v in g], first=scaled, second=scaled, last=unscale)


@loop(everyone, said=(("descended", "divided by the loss's scale 1024"),))
def scaled_by_a_grad_scaler(b: Bench, x: Tensor, y: Tensor) -> None:
    scaler = b.memory.setdefault("scaler", torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10**6))
    kept = copies(b)
    b.optimiser.zero_grad()
    scaler.scale(cross_entropy(b.outer(x), y)).backward()
    move(b, unit(b.grads()))
    b.optimiser.zero_grad()
    scaler.scale(cross_entropy(b.outer(x), y)).backward()
    put_back(b, kept)
    scaler.step(b.optimiser)
    scaler.update()


@loop(everyone, parts=("norm",), amber=frozenset({"BatchNorm statistics"}), sizes=(1,))
def statistics_moved_twice(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit)


@loop(everyone, parts=("norm",), sizes=(1,), said=(("BatchNorm statistics", "moved once, at the clean weights"),))
def statistics_moved_once(b: Bench, x: Tensor, y: Tensor) -> None:
    def held(b: Bench, x: Tensor, y: Tensor) -> None:
        norms = [part for part in b.model.modules() if isinstance(part, nn.BatchNorm1d)]
        for part in norms:
            part.track_running_stats = False
        backward(b, x, y)
        for part in norms:
            part.track_running_stats = True

    two_passes(b, x, y, unit, second=held)


@loop(everyone, parts=("dropout",), amber=frozenset({"dropout masks"}))
def masks_that_differ(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit)


@loop(everyone, parts=("dropout",), said=(("dropout masks", "the same in both passes"),))
def masks_that_are_equal(b: Bench, x: Tensor, y: Tensor) -> None:
    state = torch.get_rng_state()

    def again(b: Bench, x: Tensor, y: Tensor) -> None:
        torch.set_rng_state(state)
        backward(b, x, y)

    two_passes(b, x, y, unit, second=again)


def subtracted(b: Bench, x: Tensor, y: Tensor, share: float) -> None:
    b.optimiser.zero_grad()
    backward(b, x, y)
    by = unit(b.grads())
    move(b, by)
    b.optimiser.zero_grad()
    backward(b, x, y)
    move(b, [-share * e for e in by])
    b.optimiser.step()


@loop(everyone, left=0.1, red=frozenset({"weights put back"}), amber=frozenset({"ρ = 0"}))
def nine_tenths_put_back(b: Bench, x: Tensor, y: Tensor) -> None:
    subtracted(b, x, y, 0.9)


@loop(everyone, left=None)
def put_back_by_subtraction(b: Bench, x: Tensor, y: Tensor) -> None:
    subtracted(b, x, y, 1.0)


def adaptive(of: Callable[[Tensor], Tensor]) -> Loop:
    def step(b: Bench, x: Tensor, y: Tensor) -> None:
        def eps(g: list[Tensor]) -> list[Tensor]:
            scales = [of(p.detach()) for p in b.parameters]
            norm = length([s * v for s, v in zip(scales, g, strict=True)])
            return [0.5 * s**2 * v / norm for s, v in zip(scales, g, strict=True)]

        two_passes(b, x, y, eps)

    return step


@loop(everyone, rho=None, along="ASAM's, |w| elementwise")
def asam(b: Bench, x: Tensor, y: Tensor) -> None:
    adaptive(torch.abs)(b, x, y)


@loop(everyone, rho=None, along="ASAM's with η = .01")
def asam_with_eta(b: Bench, x: Tensor, y: Tensor) -> None:
    adaptive(lambda p: p.abs() + 0.01)(b, x, y)


@loop(everyone, along="the gradient + 0.02 w", amber=frozenset({"ε is along"}))
def weight_decay_inside(b: Bench, x: Tensor, y: Tensor) -> None:
    def eps(g: list[Tensor]) -> list[Tensor]:
        return unit([v + 0.02 * p.detach() for v, p in zip(g, b.parameters, strict=True)])

    two_passes(b, x, y, eps)


@loop(everyone, rho=None, along="a norm for each tensor", amber=frozenset({"ε is along"}))
def a_norm_for_each_tensor(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, lambda g: [RHO * v / v.norm() for v in g])


@loop(everyone, rho=None, said=(("ρ", "0.2 times ‖g‖ in "),))
def usam(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, lambda g: [0.2 * v for v in g])


@loop(everyone)
def two_ascent_steps(b: Bench, x: Tensor, y: Tensor) -> None:
    kept = copies(b)
    for _ in range(2):
        b.optimiser.zero_grad()
        backward(b, x, y)
        move(b, unit(b.grads()))
    b.optimiser.zero_grad()
    backward(b, x, y)
    put_back(b, kept)
    b.optimiser.step()


@loop(untold, along="no direction that is known", amber=frozenset({"m", "ε is along"}))
def clipped_elementwise_first(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, lambda g: unit([v.clamp(-0.01, 0.01) for v in g]))


@loop(everyone, said=(("descended", "clipped after the second pass"),))
def clipped_after(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit, last=lambda: nn.utils.clip_grad_norm_(b.parameters, 0.05))


@loop(everyone, red=frozenset({"descended"}), amber=frozenset({"ρ = 0"}), descended="both, perturbed and clean")
def zero_grad_forgotten(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit, clear=False)


@loop(untold, amber=frozenset({"m"}), said=(("m", "no samples of this step"),))
def along_the_step_before(b: Bench, x: Tensor, y: Tensor) -> None:
    """As LookSAM in between: the direction is of the last step."""
    kept = copies(b)
    stale = b.memory.get("g")
    b.optimiser.zero_grad()
    backward(b, x, y)
    b.memory["g"] = b.grads()
    move(b, unit(stale or b.grads()))
    b.optimiser.zero_grad()
    backward(b, x, y)
    put_back(b, kept)
    b.optimiser.step()


@loop(untold, amber=frozenset({"m"}), said=(("m", "the optimiser's momentum"),))
def along_the_momentum(b: Bench, x: Tensor, y: Tensor) -> None:
    def eps(g: list[Tensor]) -> list[Tensor]:
        state = b.optimiser.state
        known = [state[p].get("momentum_buffer") for p in b.parameters]
        return unit([v if m is None else m for v, m in zip(g, known, strict=True)])

    two_passes(b, x, y, eps)


@loop(untold, common=None, rho=None, left=None, amber=frozenset({"m", "ρ = 0"}), descended="the clean forwards")
def base_alone(b: Bench, x: Tensor, y: Tensor) -> None:
    b.optimiser.zero_grad()
    backward(b, x, y)
    b.optimiser.step()


@loop(rank, common=False, red=frozenset({"descended"}), sizes=(2, 4), bare=True)
def never_averaged(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit)


@loop(everyone)
def under_bf16_autocast(b: Bench, x: Tensor, y: Tensor) -> None:
    def cast(b: Bench, x: Tensor, y: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(b.outer(x).float(), y)
        loss.backward()

    two_passes(b, x, y, unit, first=cast, second=cast)


@loop(
    untold,
    common=None,
    rho=None,
    left=None,
    bare=True,
    amber=frozenset({"m", "descended", "ρ = 0"}),
    descended="cannot be told",
    said=(("m", "with weights that are not the module's own"),),
)
def inside_vmap(b: Bench, x: Tensor, y: Tensor) -> None:
    weights = {name: p.detach() for name, p in b.model.named_parameters()}

    def loss(w: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(b.model, w, (x[None],)), y[None])

    def h(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        g = grad(loss)(weights, x, y)
        norm = torch.cat([v.flatten() for v in g.values()]).norm()
        return grad(loss)({name: weights[name] + RHO * v / norm for name, v in g.items()}, x, y)

    for p, each in zip(b.parameters, vmap(h)(x, y).values(), strict=True):
        p.grad = each.mean(0)
    b.averaged()
    b.optimiser.step()


@loop(rank, common=False, bare=True)
def by_functional_call(b: Bench, x: Tensor, y: Tensor) -> None:
    """The perturbed weights never are the module's own."""
    weights = dict(b.model.named_parameters())
    g = torch.autograd.grad(cross_entropy(functional_call(b.model, weights, (x,)), y), b.parameters)
    there = {
        name: (p + e).detach().requires_grad_()
        for (name, p), e in zip(weights.items(), unit(list(g)), strict=True)
    }  # fmt: skip
    h = torch.autograd.grad(cross_entropy(functional_call(b.model, there, (x,)), y), list(there.values()))
    for p, of in zip(b.parameters, h, strict=True):
        p.grad = of
    b.averaged()
    b.optimiser.step()


@loop(everyone, along="minus the gradient as it is", red=frozenset({"ε is along"}))
def subtracted_where_it_is_added(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, lambda g: [-e for e in unit(g)])


@loop(everyone, amber=frozenset({"ε is along"}), along="on 52 of 292 weights (4.weight, 4.bias) alone")
def perturbed_in_the_head_alone(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, lambda g: unit([torch.zeros_like(v) for v in g[:-2]] + g[-2:]))


@loop(everyone, amber=frozenset({"ε is along"}), along="weights alone")
def perturbed_where_the_gradient_is_large(b: Bench, x: Tensor, y: Tensor) -> None:
    """As SSAM: a sparse perturbation."""
    two_passes(b, x, y, lambda g: unit([v * (v.abs() > v.abs().median()) for v in g]))


@loop(everyone, amber=frozenset({"descended"}), descended="none of them a sample that the perturbation was made of")
def descended_on_other_samples(b: Bench, x: Tensor, y: Tensor) -> None:
    two_passes(b, x, y, unit, second=lambda b, x, y: backward(b, x + 1, y))


def mixed(clean: float, perturbed: float) -> Loop:
    def step(b: Bench, x: Tensor, y: Tensor) -> None:
        known: list[Tensor] = []

        def eps(g: list[Tensor]) -> list[Tensor]:
            known[:] = g
            return unit(g)

        def last() -> None:
            for p, g in zip(b.parameters, known, strict=True):
                p.grad.mul_(perturbed).add_(g, alpha=clean)  # type: ignore[union-attr]

        two_passes(b, x, y, eps, last=last)

    return step


@loop(everyone, amber=frozenset({"descended"}), descended="0.9 times the gradient of the perturbed forwards")
def descended_with_a_tenth_of_the_clean_gradient(b: Bench, x: Tensor, y: Tensor) -> None:
    mixed(0.1, 0.9)(b, x, y)


@loop(everyone, amber=frozenset({"descended", "ρ = 0"}), descended="-1 times that of the clean ones")
def descended_beyond_the_clean_gradient(b: Bench, x: Tensor, y: Tensor) -> None:
    mixed(-1.0, 1.0)(b, x, y)


@loop(everyone, red=frozenset({"descended"}), amber=frozenset({"ρ = 0"}), descended="minus the gradient")
def climbed(b: Bench, x: Tensor, y: Tensor) -> None:
    mixed(0.0, -1.0)(b, x, y)


@loop(everyone, amber=frozenset({"m", "ρ = 0"}), said=(("m", "1 of 2 steps without a perturbation"),))
def every_second_step(b: Bench, x: Tensor, y: Tensor) -> None:
    b.memory["steps"] = b.memory.get("steps", 0) + 1
    (sam if b.memory["steps"] % 2 else base_alone)(b, x, y)


def ours(m: Callable[[int], int]) -> Loop:
    def step(b: Bench, x: Tensor, y: Tensor) -> None:
        b.optimiser.step(lambda: (x, y))

    return step


OURS = {"m = 1": lambda R: 1, "m = 4": lambda R: 4, "m = n": rank, "m = B": everyone}
for _name, _m in OURS.items():
    ZOO[f"SharpnessAware, {_name}"] = Truth(
        ours(_m), _m, common=None, left=None, descended="the gradient of the perturbed micro-batches"
    )
ZOO["SharpnessAware, m = 4, dropout"] = replace(ZOO["SharpnessAware, m = 4"], parts=("dropout",))


def network(parts: tuple[str, ...]) -> nn.Module:
    torch.manual_seed(0)
    middle = {"norm": nn.BatchNorm1d(12), "dropout": nn.Dropout(0.3)}
    return nn.Sequential(
        nn.Linear(6, 12), *(middle[p] for p in parts), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4)
    )


def bench(name: str, rank: int, size: int) -> Bench:
    truth = ZOO[name]
    model = network(truth.parts)
    own = name.startswith("SharpnessAware")
    outer = DistributedDataParallel(model) if size > 1 and not truth.bare else model
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimiser: Any = SharpnessAware(outer, "sam", lr=0.1, m=truth.m(size), rho=RHO) if own else base
    return Bench(model, outer, optimiser, rank, size)


def batches(steps: int, rank: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This rank's share of each batch."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, y = torch.randn(N * size, 6, generator=generator), torch.randint(0, 4, (N * size,), generator=generator)
        yield x[rank * N :][:N], y[rank * N :][:N]
