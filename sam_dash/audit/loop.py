"""The context in which a training loop is watched, and the report on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sam_dash.audit.judge import Judge, Perturbation
from sam_dash.audit.lines import lines
from sam_dash.audit.own import replayed
from sam_dash.audit.report import Report
from sam_dash.audit.said import Found, Said, m_of, told
from sam_dash.audit.together import Together
from sam_dash.audit.watch import Forward, Step, Watch
from sam_dash.maths.samples import led


class Audit(Watch):
    """A context in which a training loop is watched; then its `report`."""

    def report(self, m: int | None = None, rho: float | None = None) -> Report:
        """What the watched steps were. With several ranks every rank must call it, after the context.

        Args:
            m: the samples that should share a perturbation, over all ranks; None: whatever is found.
            rho: the length that eps should have; None: whatever is found.

        Returns:
            A `Report`, the same on every rank. The model, its buffers, flags and generators are bit for bit as before.

        Raises:
            ValueError: where no step of an optimiser of this model was seen.
        """
        together = Together.here(self.parameters[0].device)
        if len(set(together.objects(len(self.steps)))) > 1:
            raise ValueError("ranks made different numbers of steps within audit(); watch the same steps on all")
        if not self.steps:
            raise ValueError(
                "no step of a torch optimiser over this model's parameters was seen: call the training step, "
                "optimiser.step() included, within audit(model, optimiser)"
            )
        judge = Judge(self, together)
        said = [
            together.objects(self._said(judge, step, self.steps[i - 1] if i else None))
            for i, step in enumerate(self.steps)
        ]
        every, found = told(said)
        by_rank = [[f for step in said for f in step[i].found] for i in range(together.size)]
        rhos = tuple(sum(f.rho for f in of) / len(of) for of in by_rank if of)
        if every[0].own_rho is not None:
            rhos = tuple(of.own_rho for of in said[-1] if of.own_rho is not None)
        common = {f.common for f in found}
        return Report(
            m=m_of(every, found), rho=rhos, common=common.pop() if len(common) == 1 else None,
            left=max((f.left for f in found), default=None), steps=len(self.steps), ranks=together.size,
            lines=tuple(lines(said, m, rho)),
        )  # fmt: skip

    def _said(self, judge: Judge, step: Step, earlier: Step | None) -> Said:
        found, clean = judge.perturbed(step, earlier)
        own = replayed(step, judge.together) if step.own else None
        norms = any(isinstance(part, _BatchNorm) for part in self.model.modules())
        at = [f for p in found for f in p.forwards]
        moved = norms, sum(f.moved for f in clean), sum(f.moved for f in at)
        size = sum(p.numel() * p.element_size() for p in self.parameters)
        return Said(
            tuple(_plain(p) for p in found), len(step.forwards), step.functional, moved, _masks(found),
            own.descent if own else judge.descended(step, found, clean), tuple(step.sent), size,
            sum(f.n for f in clean if f.told), own.words if own else "", own.m if own else (),
            own.rho if own else None, step.maximises, _of_the_same(found),
        )  # fmt: skip


def audit(model: nn.Module, optimiser: Any = None) -> Audit:
    """A context that watches training steps of a model.

    Args:
        model: the network that the loop calls; `DistributedDataParallel` is looked through.
        optimiser: the loop's optimiser, or its wrapper; only its momentum is read. None where there is none at hand.

    Raises:
        ValueError: for a model without trainable parameters, or cut by `fully_shard`.
    """
    return Audit(model, optimiser)


def _plain(p: Perturbation) -> Found:
    fit = p.fit
    assert fit is not None
    of = fit.direction
    length = float(of.vector.norm()) / max(len(of.ranks), 1) if of else 0.0
    return Found(
        of.n if of else 0, of.of if of else "", bool(of and of.stale), fit.transform, fit.beside,
        fit.share / (len(of.ranks) if of else 1), fit.clear, fit.r, fit.floor, fit.rival.of if fit.rival else "",
        fit.nearest, p.rho, length, p.common, p.left, fit.down, fit.part,
    )  # fmt: skip


def _masks(found: list[Perturbation]) -> str:
    """Whether the forwards at perturbed weights drew what the clean ones of the same inputs did."""
    kinds = set()
    for p in found:
        for f in p.forwards:
            same = [c for c in reversed(p.before) if _same_inputs(c, f)]
            if not (f.drew or any(c.drew for c in p.before)):
                kinds.add("none")
            elif not same:
                kinds.add("apart")
            else:
                now, then = f.generators, same[0].generators
                kinds.add("equal" if all(torch.equal(now[k], then[k]) for k in now) else "different")
    for kind in ("different", "apart", "equal"):
        if kind in kinds:
            return kind
    return "none"


def _of_the_same(found: list[Perturbation]) -> tuple[int, int]:
    """How many samples of the descended forwards are among those that their perturbation was made of, and of how many.

    (0, 0) where that is not of this step.
    """
    among = total = 0
    for p in found:
        if p.further or p.fit is None or p.fit.direction is None or p.fit.direction.stale:
            continue
        known = {row for f in p.before if f.told for row in _rows(f)}
        rows = [row for f in p.forwards if f.told for row in _rows(f)]
        among, total = among + sum(row in known for row in rows), total + len(rows)
    return among, total


def _rows(f: Forward) -> list[bytes]:
    """What each sample of a forward was, to be compared."""
    tensors = [a for a in torch.utils._pytree.tree_leaves((f.args, f.kwargs)) if led(a) and len(a) == f.n]
    parts = [a.reshape(f.n, -1).contiguous().view(torch.uint8).cpu().numpy() for a in tensors if a.numel()]
    return [b"".join(part[i].tobytes() for part in parts) for i in range(f.n)]


def _same_inputs(a: Forward, b: Forward) -> bool:
    of_a, of_b = ([x for x in torch.utils._pytree.tree_leaves((f.args, f.kwargs))] for f in (a, b))
    if len(of_a) != len(of_b):
        return False
    tensors = [(x, y) for x, y in zip(of_a, of_b, strict=True) if isinstance(x, torch.Tensor)]
    return all(isinstance(y, torch.Tensor) and x.shape == y.shape and torch.equal(x, y) for x, y in tensors)
