"""`python -m sam_dash decide`: should SAM be used on this problem? Tuned against tuned, within a budget."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sam_dash import headless, variants
from sam_dash.decide import arms as families
from sam_dash.decide.record import ANSWER, BEGIN, FAMILIES, RULE, Effort, Record
from sam_dash.decide.rule import EXPLORED, OutOfBudgetError, Pair, decide
from sam_dash.options import source, whole
from sam_dash.problems.listing import allow
from sam_dash.problems.problem import Problem, SpecError
from sam_dash.results import answer as words
from sam_dash.results.drawing.captions import listed
from sam_dash.results.numbers import collapse
from sam_dash.results.words import better
from sam_dash.runs import cost
from sam_dash.runs.environment import default_workers
from sam_dash.runs.plain import digest, finite, plain
from sam_dash.runs.report import FINISHED
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store


@dataclass
class Runs:
    """Arms trained through the store: what it has is not trained again, so that the same command goes on."""

    store: Store
    problem: Problem
    workers: int
    first: int
    deadline: float
    gradients: float
    arms: dict[str, families.Arm] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)  # the epoch whose score counts, found while exploring
    spent: float = 0.0  # gradients, by this command
    taken: dict[str, dict[str, Effort]] = field(default_factory=dict)  # by arm and run, by earlier commands too

    def __call__(self, names: Sequence[str], seeds: Sequence[int]) -> Mapping[str, Mapping[int, float]]:
        """The scores by arm and seed, larger is better, NaN of a run that collapsed; what is not known is trained."""
        sweeps = [self.arms[name].sweep(self.problem, tuple(self.first + s for s in seeds)) for name in names]
        specs = [spec for sweep in sweeps for spec in sweep.runs()]
        before = self.store.statuses([spec.key for spec in specs])
        expected = cost.preview(sweeps, before, self.workers, self.store.speed())
        left = [spec for spec in specs if before.get(spec.key) not in FINISHED]
        if left:
            if self.spent + expected.grad_evals > self.gradients:
                raise OutOfBudgetError(f"the next {len(left)} runs take {expected.grad_evals:.3g} gradients more")
            if time.monotonic() + expected.low > self.deadline:
                raise OutOfBudgetError(f"the next {len(left)} runs take {expected.time} more")
            submitted = headless.queue(self.store, sweeps)
            headless.work(self.store, submitted, [spec.key for spec in left], self.workers)
        self.spent += sum(map(cost.gradients, left))
        exploring = seeds[0] < EXPLORED
        return {name: self._scores(name, sweep.runs(), exploring) for name, sweep in zip(names, sweeps, strict=True)}

    def _scores(self, name: str, specs: Sequence[RunSpec], exploring: bool) -> dict[int, float]:
        keys = {spec.key: spec.seed - self.first for spec in specs}
        statuses = self.store.statuses(list(keys))
        bad = [key for key, status in statuses.items() if status not in ("done", "diverged")]
        if bad:
            raise SpecError(f"{len(bad)} runs of {name} have no result ({statuses[bad[0]]}): run the command again")
        score = f"test_{self.problem.score}"
        curves: dict[int, dict[int, float]] = {seed: {} for seed in keys.values()}
        took: dict[str, float] = {}
        for row in self.store.measurements(keys=list(keys), quantities=[score, "train_seconds"]):
            if row["quantity"] == score:
                curves[keys[row["run"]]][row["step"]] = row["value"]
            else:
                took[row["run"]] = row["value"]
        self.taken.setdefault(name, {}).update(
            {spec.key: Effort(1, cost.gradients(spec), took.get(spec.key, 0.0)) for spec in specs}
        )
        guess = collapse.chance(self.arms[name].sweep(self.problem, (self.first,)))
        done = {s: statuses[key] == "done" for key, s in keys.items()}
        ended = {s: done[s] and bool(c) and (guess is None or c[max(c)] > guess.high) for s, c in curves.items()}
        sign = better(score)
        whole = [{step: sign * v for step, v in curves[s].items()} for s, good in ended.items() if good]
        if exploring and whole:
            steps = sorted(set.intersection(*(set(c) for c in whole)) - {0})
            self.stops[name] = max(steps, key=lambda step: float(np.mean([c[step] for c in whole])))
        at = self.stops.get(name, 0)
        return {s: sign * curves[s][at] if good and at in curves[s] else math.nan for s, good in ended.items()}

    def effort(self) -> dict[str, Effort]:
        """What each family has taken so far."""
        out = dict.fromkeys(FAMILIES, Effort())
        for name, of in self.taken.items():
            family = "base" if self.arms[name].variant == "sgd" else "sam"
            out[family] = sum(of.values(), out[family])
        return out

    def ratio(self, p: Pair) -> Effort:
        """What a run of the SAM arm takes in runs of the base arm."""
        sam, base = (sum(self.taken[name].values(), Effort()).each for name in (p.sam, p.base))
        return Effort(1, sam.gradients / base.gradients, sam.seconds / base.seconds if base.seconds else math.nan)


def run(args: argparse.Namespace) -> int:
    """Decide and print the answer; 0 for a yes or a no, 1 where it cannot be told."""
    if not (args.margin > 0 and args.minutes > 0 and args.gradients > 0 and args.first_seed >= 0):
        raise SpecError("--margin, --minutes and --gradients: expected positive numbers; --first-seed: 0 or more")
    raced = families.raced(args.variants)
    sweep = started_from(args.target)
    problem = sweep.problem
    score = problem.score
    if not score:
        raise SpecError(f"{problem.title} has no score beside the loss, and a decision needs one: give it a `score`")
    by, _ = words.scale(score)
    margin = args.margin / by
    training = replace(sweep.training, optimiser="sgd")
    record = _begun(problem, training, raced, args.first_seed, margin)
    with closing(Store(args.store)) as store:
        arms, deadline = families.of_base(training, len(raced)), time.monotonic() + 60 * args.minutes
        workers = args.workers or default_workers()
        learner = Runs(store, problem, workers, args.first_seed, deadline, args.gradients, arms)
        base = list(learner.arms)

        def on_top(best: str) -> list[str]:
            found = families.of_sam(learner.arms[best], raced)
            learner.arms |= found
            return list(found)

        def log(what: str, found: Any) -> None:
            record.say(what, {**plain(found), "effort": plain(learner.effort())})
            _say(_progress(what, found, score))

        answer = decide(learner, base, on_top, margin, log)
    ratio = Effort() if answer.leading is None else learner.ratio(answer.leading)
    text = words.sentence(
        answer, score, margin, ratio, _edges(answer, learner), listed(variants.get(key).title for key in raced)
    )
    effort = plain(learner.effort())
    said = {"verdict": answer.verdict, "why": answer.why, "more": answer.more, "sentence": text, "effort": effort}
    record.say(ANSWER, said)
    if args.json:
        about = {"answer": answer.verdict, "sentence": text, "margin": margin, "score": score,
                 "effort": effort, "record": str(record.path)}  # fmt: skip
        print(json.dumps(finite({**plain(answer), **about}), indent=1, ensure_ascii=False))
    else:
        print(text)
    return 0 if answer.verdict in ("yes", "no") else 1


def _begun(problem: Problem, training: Any, raced: Sequence[str], first: int, margin: float) -> Record:
    """The record of these seeds, begun; another margin on them is refused."""
    record = Record.of(digest([RULE, plain(problem), plain(training), raced, first]))
    known = record.margin
    if known is not None and known != margin:
        raise SpecError(
            f"these seeds were looked at with a margin of {known:g} already; another would be chosen by what they say: "
            f"use that one, or --first-seed {first + 1000} for fresh ones"
        )
    begun = {"margin": margin, "rule": RULE, "problem": problem.title, "score": problem.score, "first": first}
    record.say(BEGIN, {**begun, "began": time.time()})
    return record


def _edges(answer: Any, learner: Runs) -> str:
    """Which values of the leading arms are the largest or the smallest of their family, where several were tried."""
    if answer.leading is None:
        return ""
    of_variant = variants.get(learner.arms[answer.leading.sam].variant).title
    return "; ".join(
        f"{name}'s {text}" for name, key in ((of_variant, answer.leading.sam), ("the base", answer.leading.base))
        if (text := families.edges(learner.arms[key], learner.arms.values()))
    )  # fmt: skip


def started_from(target: str) -> Any:
    """The sweep of a problem file, a specification or a preset."""
    file = whole(target) if target.endswith(".py") else None
    if file is not None:
        allow(file)
    spec = target if Path(target).suffix == ".json" else None
    preset = None if file or spec else target
    given = argparse.Namespace(
        preset=preset, spec=spec, npz=None, csv=None, problem=None if file is None else str(file)
    )
    return source(given)[0]


def _progress(what: str, found: Any, score: str) -> str:
    by, unit = words.scale(score)
    if what == "plan":
        finalists = " | ".join((*found.sam, *found.base))
        return f"finalists: {finalists}; the sd of a pair is {by * found.sd:.2g}{unit}: {found.N} pairs planned"
    if what == "look":
        pairs = "; ".join(f"{p.sam} - {p.base}: {words.interval(p, score)}" for p in found.pairs)
        return f"{found.n} fresh seeds: {pairs}"
    best = max((mean for mean in found.means.values() if math.isfinite(mean)), default=math.nan)
    return f"{what}: {len(found.means)} settings, {found.seeds} seeds each; the best mean {by * best:.4g}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
