"""The rule: halve both families alike, then confirm the finalists of one against those of the other on fresh seeds.

    explore(family): all arms x 3 seeds; best half x 6; best quarter x 12
    sd   = root mean square over the 2 x 2 pairs of finalists of sd(difference), on the seeds explored   (planning only)
    N    = the pairs planned (`boundaries.planned`), fixed before the first fresh seed; two finalists of each family
           are kept, three from N = 40 on (`boundaries.kept`)
    look = at 6, 8, 11, 15, ... fresh seeds, up to N:
        mean(d) +- c[n] sd(d) / sqrt(n),  d = SAM finalist - base finalist by seed
        a SAM finalist is out whose interval against some base finalist lies below the margin, or that collapsed
        "no" where none is left; "yes" where one is above 0 against every base finalist

"yes" says: the gain is above 0. "no": it is below the margin. All looks together spend `boundaries.ALPHA`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sam_dash.decide.boundaries import boundaries, kept, looks, planned

RUNGS = ((3, 1.0), (6, 0.5), (12, 0.25))  # seeds, and the share of arms that are given them
EXPLORED, LEAST = RUNGS[-1][0], 3  # seeds of the last rung, and how many arms it has at least
Scores = Mapping[int, float]  # by seed; NaN of a run that collapsed
Learner = Callable[[Sequence[str], Sequence[int]], Mapping[str, Scores]]  # (arms, seeds) -> scores, larger is better
YES, NO, UNTOLD = "yes", "no", "cannot be told"


@dataclass(frozen=True)
class Pair:
    """A SAM finalist less a base finalist after n fresh seeds: the mean difference and its interval."""

    sam: str
    base: str
    n: int  # pairs
    mean: float
    half: float  # c[n] sd / sqrt(n)
    collapsed: int  # runs of the SAM finalist that collapsed

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half


@dataclass(frozen=True)
class Rung:
    """One rung of a family's exploration: how many seeds, the mean of every arm in it, and which go on."""

    seeds: int
    means: Mapping[str, float]
    kept: tuple[str, ...]  # the arms that did not collapse, the best first: the next rung takes of them


@dataclass(frozen=True)
class Plan:
    """What is fixed before the first fresh seed."""

    margin: float
    sd: float  # of a pair's difference
    N: int
    bounds: Mapping[int, float]
    base: tuple[str, ...]
    sam: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """A look of the race: n fresh seeds, the pairs of those still in, and which SAM finalists are out now, and why."""

    n: int
    pairs: tuple[Pair, ...]
    out: Mapping[str, str]


@dataclass
class Answer:
    """The verdict, the pair that it rests on, and all that led to it."""

    verdict: str  # YES, NO or UNTOLD
    plan: Plan | None = None
    leading: Pair | None = None  # of a yes its least difference; else the best SAM finalist against the better base
    more: int = 0  # runs that may still be needed, where it cannot be told
    why: str = ""
    rungs: dict[str, list[Rung]] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)


class OutOfBudgetError(Exception):
    """The budget does not pay the next runs; what they would have been is said by the learner."""


def decide(
    learner: Learner,
    base: Sequence[str],
    sam: Callable[[str], Sequence[str]],
    margin: float,
    log: Callable[[str, object], None] = lambda *_: None,
) -> Answer:
    """Whether the best SAM arm beats the best base arm.

    Args:
        learner: trains arms on seeds and returns their scores; the same call returns the same scores.
        base: the base arms.
        sam: the SAM arms, given the best base arm: as many.
        margin: the gain that matters, in units of the score.
        log: is told each rung, the plan and each look as they come.

    Returns:
        The `Answer`; "cannot be told" where the learner raises `OutOfBudgetError`, or N pairs do not tell.

    Raises:
        ValueError: for a margin that is not positive, or families of different sizes.
    """
    if not margin > 0:
        raise ValueError(f"margin = {margin!r}: expected a positive number")
    answer = Answer(UNTOLD)
    try:
        scores: dict[str, Scores] = {}
        finalists = []
        arms = list(base)
        for family in ("base", "sam"):
            rungs = answer.rungs.setdefault(family, [])
            for rung, found in explore(learner, arms):
                rungs.append(rung)
                scores |= found
                log(family, rung)
            finalists.append(rungs[-1].kept)
            if family == "base":
                if not finalists[0]:
                    answer.why = "every setting of the base optimiser collapsed"
                    return answer
                arms = list(sam(finalists[0][0]))
                if len(arms) != len(base):
                    raise ValueError(f"{len(base)} base arms and {len(arms)} SAM arms: expected as many of both")
        if not finalists[1]:
            answer.verdict, answer.why = NO, "every setting of SAM collapsed"
            return answer
        sd = spread(scores, *(of[:2] for of in finalists))
        N = planned(sd, margin)
        answer.plan = Plan(margin, sd, N, boundaries(N), *(of[: kept(N)] for of in finalists))
        log("plan", answer.plan)
        race(learner, answer, log)
    except OutOfBudgetError as error:
        answer.why = str(error)
    return answer


def explore(learner: Learner, arms: Sequence[str]) -> Iterator[tuple[Rung, dict[str, Scores]]]:
    """The rungs of a family's successive halving (Jamieson & Talwalkar 2016), and the scores of the arms in each."""
    left = list(arms)
    for seeds, share in RUNGS:
        left = left[: max(LEAST, math.ceil(share * len(arms)))]
        found = learner(left, range(seeds)) if left else {}
        means = {arm: float(np.mean(list(found[arm].values()))) for arm in left}  # NaN: collapsed
        left = sorted((arm for arm in left if math.isfinite(means[arm])), key=lambda arm: -means[arm])
        yield Rung(seeds, means, tuple(left)), {arm: dict(of) for arm, of in found.items()}


def spread(scores: Mapping[str, Scores], base: Sequence[str], sam: Sequence[str]) -> float:
    """The root mean square over the pairs of finalists of the sd of their differences by seed."""
    variances = [float(np.var(list(_difference(scores[s], scores[b]).values()), ddof=1)) for s in sam for b in base]
    return math.sqrt(float(np.mean(variances)))


def race(learner: Learner, answer: Answer, log: Callable[[str, object], None]) -> None:
    """Looks at growing numbers of fresh seeds, until there is an answer or N are used up."""
    plan = answer.plan
    assert plan is not None
    left = list(plan.sam)
    for n in looks(plan.N):
        try:
            found = learner([*left, *plan.base], range(EXPLORED, EXPLORED + n))
        except OutOfBudgetError as error:
            answer.why, answer.more = str(error), more(answer, plan, len(left))
            return
        pairs = [pair(found[s], found[b], s, b, plan.bounds[n]) for s in left for b in plan.base]
        out = {}
        for s in left:
            own = [p for p in pairs if p.sam == s]
            if own[0].collapsed:
                out[s] = f"collapsed in {own[0].collapsed} of {n}"
            elif (worst := min(own, key=lambda p: p.high)).high < plan.margin:
                out[s] = f"gains less than the margin: {worst.mean:.3g} [{worst.low:.3g}, {worst.high:.3g}]"
        answer.looks.append(Look(n, tuple(pairs), out))
        answer.leading = leading(pairs)
        log("look", answer.looks[-1])
        left = [s for s in left if s not in out]
        if not left:
            answer.verdict = NO
            return
        least = {s: min((p for p in pairs if p.sam == s), key=lambda p: p.low) for s in left}
        sure = [p for p in least.values() if p.low > 0]
        if sure:
            answer.verdict, answer.leading = YES, max(sure, key=lambda p: p.mean)
            return
    answer.why = f"{plan.N} pairs, as planned, leave both 0 and the margin possible: a new study needs fresh seeds"


def pair(sam: Scores, base: Scores, s: str, b: str, bound: float) -> Pair:
    """The difference of two arms by seed; base runs that collapsed are left out of it."""
    collapsed = sum(math.isnan(v) for v in sam.values())
    d = np.array(list(_difference(sam, base).values()))
    if len(d) < 2:
        return Pair(s, b, len(d), math.nan, math.inf, collapsed)
    return Pair(s, b, len(d), float(d.mean()), bound * float(d.std(ddof=1)) / math.sqrt(len(d)), collapsed)


def leading(pairs: Sequence[Pair]) -> Pair:
    """The largest of every SAM finalist's differences to the better base."""
    least = {s: min((p for p in pairs if p.sam == s), key=lambda p: p.mean) for s in {p.sam for p in pairs}}
    return max(least.values(), key=lambda p: p.mean)


def more(answer: Answer, plan: Plan, left: int) -> int:
    """About how many further runs an answer needs, if the leading pair stays as it is."""
    p = answer.leading
    if p is None:
        return looks(plan.N)[0] * (left + len(plan.base))
    sd = p.half / plan.bounds[answer.looks[-1].n] * math.sqrt(p.n)
    t = max(p.mean, plan.margin - p.mean)
    last = plan.bounds[plan.N]
    enough = (n for n, c in plan.bounds.items() if n > p.n and c * sd / math.sqrt(n) < t)
    n = next(enough, math.ceil((last * sd / t) ** 2))
    return (n - p.n) * (left + len(plan.base))


def _difference(a: Scores, b: Scores) -> dict[int, float]:
    """By seed, where neither collapsed."""
    return {seed: a[seed] - b[seed] for seed in a if seed in b and math.isfinite(a[seed]) and math.isfinite(b[seed])}
