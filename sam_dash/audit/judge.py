"""One watched step, judged: each perturbation's direction and length, what is left of it, and what was descended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sam_dash.audit.directions import SLACK, Direction, Fit, apart, every_apart, fit, floor, shares
from sam_dash.audit.replay import Replay
from sam_dash.audit.together import Source, Together
from sam_dash.audit.watch import Forward, Step, Watch

BACK, ALONG = 0.6, 1e-3  # of ε that may be left and of what it may be off its line, for weights to count as put back


@dataclass(eq=False)
class Perturbation:
    """A displacement of the weights that some forwards of a step were made at.

    Of several ascent steps each is one, from where the one before it has led.
    """

    eps: Tensor  # (d,), float64
    clean: Tensor  # what was displaced (d,)
    before: list[Forward]  # of the step, at those weights, all before the displacement
    since: list[Forward]  # of these, those since the last perturbation
    forwards: list[Forward] = field(default_factory=list)
    start: Tensor | None = None  # the weights from which the first of several ascent steps went (d,); None: `clean`
    further: bool = False  # whether another ascent step goes on from it
    left: float = 0.0  # ‖w - clean‖ / ‖eps‖ once it was put back
    fit: Fit | None = None
    common: bool | None = None  # whether all ranks have the same; None: one rank

    @property
    def away(self) -> Tensor:
        """How far the weights are from where they were before all ascent steps (d,)."""
        return self.eps if self.start is None else self.forwards[0].weights.double() - self.start.double()

    @property
    def rho(self) -> float:
        """‖eps‖."""
        return float(self.eps.norm())


@dataclass(frozen=True)
class Descent:
    """What the optimiser was given, as a multiple of gradients of the step."""

    of: str  # in words, "" where no candidate fits
    n: int  # samples, on all ranks
    ranks: int
    share: float  # .grad = share * the mean over these ranks of the gradient that the loop's backwards give
    r: float
    length: float  # ‖.grad‖
    climbs: bool = False  # whether the optimiser goes up what was differentiated, though it is not set to maximise
    mixed: tuple[float, ...] = ()  # of a mixture: by how much the clean and the perturbed gradient are multiplied


def perturbations(step: Step) -> tuple[list[Perturbation], list[Forward]]:
    """The displacements of a step in their order, and its forwards at clean weights."""
    out: list[Perturbation] = []
    clean, now, at = step.start, None, []
    mark = 0
    for forward in step.forwards:
        moved = _moved(forward.weights, clean)
        if moved is None:
            now = None
            at.append(forward)
            continue
        if now is not None and torch.equal(forward.weights, now.forwards[0].weights):
            now.forwards.append(forward)
            continue
        if out and (left := _left(moved, out[-1])) is not None:
            out[-1].left, clean, now = max(out[-1].left, left), forward.weights, None
            at.append(forward)
            continue
        if now is not None and any(f.told for f in now.forwards):
            here, before = now.forwards[0].weights, now.forwards
            now.further = True
            now = Perturbation(forward.weights.double() - here.double(), here, before, before, [forward], clean)
        else:
            now = Perturbation(moved, clean, list(at), at[mark:], [forward])
        mark = len(at)
        out.append(now)
    if out and step.entry is not None and (moved := _moved(step.entry, clean)) is not None:
        out[-1].left = max(out[-1].left, float(moved.norm() / out[-1].away.norm()))
    return out, at


def _moved(w: Tensor, clean: Tensor) -> Tensor | None:
    if w is clean or torch.equal(w, clean):
        return None
    return w.double() - clean.double()


def _left(moved: Tensor, last: Perturbation) -> float | None:
    """The share of the last perturbation that these weights still have; None where they are another's."""
    share = float(moved.norm() / last.away.norm())
    small = share < ALONG or (share <= BACK and apart(moved, last.away) < ALONG)
    return share if small else None


class Judge:
    """What one rank can say of watched steps, with what the others tell it."""

    def __init__(self, watch: Watch, together: Together) -> None:
        self.watch, self.together, self.replay = watch, together, Replay(watch)

    def perturbed(self, step: Step, earlier: Step | None) -> tuple[list[Perturbation], list[Forward]]:
        """The perturbations of a step, each with its `fit`, and the step's clean forwards."""
        found, clean = perturbations(step)
        alike = len(set(self.together.objects(len(found)))) == 1
        for p in found:
            if alike:
                every = self.together.vectors(p.eps)
                p.common = None if len(every) == 1 else _alike(p, every)
            sources = self._sources(p, step, earlier)
            here = self.together.directions(sources) if alike else self.together.alone(sources)
            p.fit = fit(p.eps, p.clean, here, self._beside(p, step), self.watch.layout)
        return found, clean

    def _sources(self, p: Perturbation, step: Step, earlier: Step | None) -> list[Source]:
        told = [f for f in p.before if f.told]
        since = [f for f in p.since if f.told]
        out: list[Source] = []

        def add(words: str, forwards: Sequence[Forward], stale: bool = False) -> None:
            if forwards:
                out.append((words, sum(f.n for f in forwards), self._sum(forwards), stale))

        if told:
            last = told[-1]
            add("the forward before it", [last])
            add(f"the {len(since)} forwards since the last perturbation", since if len(since) > 1 else [])
            add(f"all {len(told)} forwards before it", told if len(told) > max(1, len(since)) else [])
            add("the forward before the last one", told[-2:-1])
            if last.cuttable:
                for parts, of in ((2, "half"), (4, "quarter")):
                    if last.n % parts == 0 and last.n > parts:
                        size = last.n // parts
                        for i in range(parts):
                            rows = (i * size, (i + 1) * size)
                            vector = self.replay.gradient(last, rows)
                            out.append((f"{of} {i + 1} of the forward before it", size, vector, False))
        if earlier:
            before, at = perturbations(earlier)
            add("the forwards of the step before", [f for f in at if f.told], True)
            add("the perturbed forwards of the step before", [f for q in before for f in q.forwards if f.told], True)
            if before:
                out.append(("the perturbation of the step before", 0, before[-1].eps, True))
        for words, known in (("the optimiser's momentum", step.momentum), ("an earlier .grad", step.stale)):
            if known is not None and bool(known.any()):
                out.append((words, 0, known.double(), True))
        return out

    def _sum(self, forwards: Sequence[Forward]) -> Tensor:
        return torch.stack([self.replay.gradient(f) for f in forwards]).sum(0)

    def _beside(self, p: Perturbation, step: Step) -> dict[str, Tensor]:
        known = {"w": p.clean, "the momentum": step.momentum, "an earlier .grad": step.stale}
        return {name: v.double() for name, v in known.items() if v is not None and bool(v.any())}

    def descended(self, step: Step, found: Sequence[Perturbation], clean: Sequence[Forward]) -> Descent | None:
        """What .grad was when the optimiser stepped; None where there was no gradient."""
        if step.descended is None:
            return None
        D = step.descended.double()
        at = [f for p in found for f in p.forwards if f.told and not p.further]
        plain = [f for f in clean if f.told]
        named = {"the perturbed forwards": at, "the clean forwards": plain, "both, perturbed and clean": []}
        if at and plain:
            named["both, perturbed and clean"] = at + plain
        if len(at) > 1:
            named["the last perturbed forward"] = at[-1:]
        sources = [(words, sum(f.n for f in of), self._sum(of), False) for words, of in named.items() if of]
        candidates = [c for c in self.together.directions(sources) if "normalised" not in c.of]
        limit = SLACK + 10 * torch.finfo(step.descended.dtype).eps ** 2
        fits = sorted((r, i) for i, r in enumerate(every_apart(D, [c.vector for c in candidates])))
        length = float(D.norm())
        near = [i for r, i in fits if r <= limit]
        if not near:
            off = fits[0][0] if fits else 1.0
            return self._mixed(D, candidates, limit, length) or Descent("", 0, 1, 0.0, off, length)
        c = candidates[min(near)]
        share = float(D @ c.vector / c.vector.square().sum()) * len(c.ranks)
        r = next(r for r, i in fits if i == min(near))
        return Descent(c.of, c.n, len(c.ranks), share, r, length, share < 0 and not step.maximises)

    def _mixed(self, D: Tensor, candidates: Sequence[Direction], limit: float, length: float) -> Descent | None:
        """The clean and the perturbed gradient of the same ranks, each by a number of its own; None where D is none."""
        named = {c.of: c for c in candidates}
        for words, c in named.items():
            other = named.get(words.replace("the perturbed forwards", "the clean forwards"))
            found = shares(D, [other.vector, c.vector]) if other not in (None, c) else None
            if found is not None and other is not None:
                r = apart(D, found[0] * other.vector + found[1] * c.vector)
                if r <= limit:
                    mixed = tuple(float(a) * len(c.ranks) for a in found)
                    return Descent(words, c.n, len(c.ranks), mixed[1], r, length, mixed=mixed)
        return None


def _alike(p: Perturbation, every: Tensor) -> bool:
    """Whether the displacements (R, d) of all ranks are one, to the rounding of weights."""
    off = (every - p.eps).norm(dim=1) / p.eps.norm()
    return bool((off.square() / 2 <= 10 * floor(p.clean, p.eps) + SLACK).all())
