"""One case: steps of `SharpnessAware` are those of the loop by hand, and nothing else of the module has changed.

A step that is refused must be one of `REFUSALS`, or of a module that fails in the loop by hand as well.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from sam_dash.maths.draws import draw
from sam_dash.optim import SharpnessAware
from tests.fuzz.grammar import BASES, Case, Node
from tests.fuzz.naive import Loop

TOLERANCE = 1e-7
REFUSALS = {  # what must be refused, in words that the refusal must have
    "outside": "something random in the model does not come from torch's generators",
    "combined": "leaves open what parameters that are not perturbed descend",
    "statistics": "BatchNorm normalises each batch's",
    "renormed": "changes its own parameters as it runs",
}


class WrongError(Exception):
    """What is not as it must be, and which kind of wrong that is."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


def demand(right: Any, kind: str, what: str = "") -> None:
    if not right:
        raise WrongError(kind, what or kind)


def check(case: Case) -> str:
    """The ways that the steps took, or "refused: ..."; WrongError where the case is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on backward hooks and the like; and of BatchNorm
        trial, ways = Trial(case), []
        for t in range(case.steps):
            found = trial.step(t)
            if found.startswith("refused"):
                return found
            ways.append(found)
        return "; ".join(ways)


class Trial:
    """A case's module with the optimiser, and its twin with the loop by hand."""

    def __init__(self, case: Case) -> None:
        self.case, self.net, self.twin = case, case.build(), case.build()
        if case.top == "eval":
            self.net.eval()
            self.twin.eval()
        names = [n for n, p in self.net.named_parameters() if p.requires_grad]
        self.on = set(names[::2]) if case.perturb else {n for n, _ in self.net.named_parameters()}
        knobs = dict(case.knobs)
        perturb = [p for n, p in self.net.named_parameters() if n in self.on] if case.perturb else None
        self.optimiser = SharpnessAware(
            self.net, case.variant, BASES[case.base], lr=0.05, m=case.m, loss=case.loss_of(self.net), clip=case.clip,
            params=groups(self.net, case), perturb=perturb, **knobs,
        )  # fmt: skip
        base = BASES[case.base](groups(self.twin, case), lr=0.05)
        self.loop = Loop(
            self.twin, base, case.loss_of(self.twin), case.variant, knobs, case.m or case.n, self.on, case.clip
        )

    def step(self, t: int) -> str:
        """The way of one step, or "refused: ..."."""
        net, optimiser = self.net, self.optimiser
        if t:
            for one in (net, self.twin):
                between(one, self.case.between)
        batches = self.case.batch(t)
        before, values = facts(net), {n: a.clone() for n, a in net.state_dict().items()}
        size = sum(p.numel() for n, p in net.named_parameters() if n in self.on and p.requires_grad)
        z = draw(optimiser.variant, torch.zeros(size, dtype=torch.float64), optimiser.generator.clone_state())
        by_hand = functools.partial(self.loop.step, batches, z[0] if len(z) else None)
        torch.manual_seed(t)
        start, failed = torch.get_rng_state(), None
        try:
            loss = optimiser.step(lambda: batches)
        except Exception as error:  # whether it is one that is meant to be, is judged
            failed = error
        ended = torch.get_rng_state()
        changed = [name for name, fact in facts(net).items() if fact != before[name]]
        demand(not changed, "changed", f"step {t}: {changed} have changed")
        demand(not left_behind(net), "left behind", f"step {t}: a tensor of an ended vmap is left in the module")
        if failed is not None:
            moved = [n for n, a in net.state_dict().items() if not torch.equal(a, values[n]) and n not in renormed(net)]
            demand(not moved, "refused and changed", f"step {t}: refused, and yet {moved} have changed")
            demand(
                torch.equal(ended, start), "refused and drawn", f"step {t}: refused, and yet the generator has moved"
            )
            self.judge(failed, t, by_hand)
            return f"refused: {failed}"
        expected = self.refusal(t)
        demand(not expected, "not refused", f"step {t}: not refused, as it must be: {expected}")
        torch.manual_seed(t)
        self.compare(t, loss, by_hand())
        same = torch.equal(torch.get_rng_state(), ended)
        demand(same, "drawn", f"step {t} by {optimiser.way}: the generator is not where the loop leaves it")
        return optimiser.way

    def compare(self, t: int, loss: Tensor, was: dict[str, float]) -> None:
        """What the step came to, with what the loop by hand did."""
        way, last, net, twin = self.optimiser.way, self.optimiser.last, self.net, self.twin
        assert last is not None
        pairs: list[tuple[str, Any, Any]] = [("the loss", loss, was["loss"])]
        for (n, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
            none = p.grad is None, q.grad is None
            demand(none[0] == none[1], f"no gradient, {way}", f"step {t} by {way}: no gradient of {n}, by hand: {none}")
            pairs += [(n, p.detach(), q.detach())] + ([] if none[0] else [(f"the gradient of {n}", p.grad, q.grad)])
        pairs += [(n, a, b) for (n, a), b in zip(net.named_buffers(), twin.buffers(), strict=True)]
        pairs += [(f"last.{name}", getattr(last, name), was[name]) for name in ("loss", "eps", "h")]
        for name, *both in pairs:
            a, b = (torch.as_tensor(v, dtype=torch.float64) for v in both)
            apart, size = (float(v.abs().max()) for v in (a - b, b))
            told = f"step {t} by {way}: {name} apart by {apart:.3g}, of {size:.3g}"
            demand(apart <= TOLERANCE * (1 + size), f"values, {way}", told)

    def judge(self, failed: Exception, t: int, by_hand: Callable[[], Any]) -> None:
        """Whether the step had to fail, and so."""
        told, expected = f"step {t}: {type(failed).__name__}: {failed}", self.refusal(t)
        try:
            by_hand()
        except (ValueError, RuntimeError):  # of torch: the module does not train at all
            demand(isinstance(failed, ValueError | RuntimeError), type(failed).__name__, told)
            return
        right = expected and isinstance(failed, ValueError) and REFUSALS[expected] in str(failed)
        demand(right, f"{type(failed).__name__} {str(failed)[:20]}", told)

    def refusal(self, t: int) -> str:
        """Which of the refusals step t must have; "" for none."""
        case, net = self.case, self.net
        normed = any(isinstance(part, _BatchNorm) and part.training for part in net.modules())
        if normed and case.size and (case.m or case.n) == case.n:
            return "statistics"
        trained = {n for n, p in net.named_parameters() if p.requires_grad}
        if renormed(net) & trained & self.on:
            return "renormed"
        if "outside" in Node.read(case.module).names():
            return "outside"
        combined = case.variant in ("gsam", "wsam") or (case.variant == "looksam" and t % 2)
        return "combined" if combined and trained - self.on else ""


def facts(net: nn.Module) -> dict[str, Any]:
    """What a step must not change."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "parameters": [(n, id(p), p.requires_grad, p.dtype, p.shape) for n, p in net.named_parameters("", True, False)],
        "buffers": [n for n, _ in net.named_buffers()],
        "modes": [part.training for part in net.modules()],
        "hooks": [[list(getattr(part, kind)) for kind in hooks] for part in net.modules()],
        "hooks of parameters": [list(p._backward_hooks or ()) for p in net.parameters()],
        "modules": [(n, id(part)) for n, part in net.named_modules(remove_duplicate=False)],
    }


def left_behind(net: nn.Module) -> bool:
    """Whether a tensor of a `vmap` that has ended is an attribute of a module."""
    leaves = [a for part in net.modules() for a in pytree.tree_leaves(list(vars(part).values()))]
    return any(isinstance(a, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(a) for a in leaves)


def renormed(net: nn.Module) -> set[str]:
    """The weights that a forward changes."""
    return {f"{n}.weight" for n, part in net.named_modules() if getattr(part, "max_norm", None)}


def groups(net: nn.Module, case: Case) -> list[dict[str, Any]]:
    """All parameters, or two groups of them with a rate and a radius of their own."""
    given = list(net.parameters())
    if not case.groups or len(given) < 2:
        return [{"params": given}]
    rho = {"rho": 0.1} if "rho" in dict(case.knobs) else {}
    return [{"params": given[::2], "lr": 0.02}, {"params": given[1::2]} | rho]


def between(net: nn.Module, what: str) -> None:
    """What people do between steps."""
    if what == "eval":
        net.eval()
    elif what == "part":
        for part in (list(net.modules())[-1], next(net.children(), net)):
            part.train(not part.training)
    elif what == "freeze":
        for p in [p for p in net.parameters() if p.requires_grad][1::2][:2]:
            p.requires_grad_(False)
    elif what == "hook":
        last = list(net.modules())[-1]
        last.register_forward_hook(lambda _module, _given, out: 0.9 * out if isinstance(out, Tensor) else out)
    elif what == "thaw":
        net.requires_grad_(True)
    elif what == "load":
        net.load_state_dict({n: 0.9 * a if a.is_floating_point() else a for n, a in net.state_dict().items()})
