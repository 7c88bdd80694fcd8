"""The rule of `decide` on synthetic learners of known gain, and on both sides of each of its edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from sam_dash.decide.boundaries import ALPHA, LOOKS, TABLE, boundaries, kept, looks, planned, simulated, spent
from sam_dash.decide.rule import (
    EXPLORED,
    NO,
    RUNGS,
    UNTOLD,
    YES,
    Answer,
    Look,
    OutOfBudgetError,
    Pair,
    Plan,
    decide,
    explore,
    leading,
    more,
    pair,
    race,
    spread,
)  # fmt: skip
from tests.decide.learners import ARMS, LAWS, Learner, oracle, rates, study

STUDIES = 150


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_a_false_yes_and_a_false_no_are_rarer_than_one_in_twenty(law: str, margin: float) -> None:
    """At the gains at which each is hardest to avoid: 0, and the margin itself."""
    none, _ = rates(0.0, margin, law, STUDIES)
    enough, _ = rates(margin, margin, law, STUDIES)
    assert none[YES] <= 0.05
    assert enough[NO] <= 0.05
    assert min(none[NO], enough[YES]) > 0.75, "and it does answer"


def test_the_best_of_twelve_by_the_seeds_they_were_chosen_on_would_be_a_false_yes_far_more_often() -> None:
    """The rule that the fresh seeds are there against: the study would notice if they were not fresh."""
    wrong = 0
    for seed in range(200):
        learner = Learner(0.0, "normal", seed)
        found = learner([*learner.arms("base"), *learner.arms("sam")], range(6))
        best = max(learner.arms("sam"), key=lambda arm: np.mean(list(found[arm].values())))
        d = np.array(list(found[best].values())) - np.array(list(found["base 0"].values()))
        wrong += d.mean() / d.std(ddof=1) * np.sqrt(6) > 2.57
    assert wrong / 200 > 0.15


def test_an_oracle_of_one_pair_needs_fewer_runs() -> None:
    _, runs = rates(1.0, 1.0, "normal", 50)
    known = [oracle(1.0, 1.0, "normal", seed) for seed in range(50)]
    assert np.mean([n for _, n in known]) < runs
    assert np.mean([verdict == YES for verdict, _ in known]) > 0.9


def test_boundaries_are_those_that_a_simulation_finds_and_spend_what_is_said() -> None:
    for N in (11, 29):
        assert boundaries(N) == pytest.approx(dict(zip(looks(N), simulated(N, 200_000, seed=1), strict=True)), rel=0.06)
    assert [n for n in LOOKS if n >= 11] == list(TABLE)
    assert spent(29, 29) == ALPHA / 2
    assert spent(40, 40) == ALPHA / 3
    assert [kept(N) for N in (29, 40)] == [2, 3]
    for bounds in map(boundaries, TABLE):
        assert list(bounds.values()) == sorted(bounds.values(), reverse=True), "later looks ask for less"


def test_the_pairs_planned_grow_with_the_noise_beside_the_margin_up_to_the_last_look() -> None:
    assert [planned(sd, 1.0) for sd in (0.1, 0.74, 0.75, 1.0, 1.01, 1.2, 2.0, 9.0)] == [
        11,
        11,
        15,
        21,
        21,
        29,
        110,
        110,
    ]


def table(means: Mapping[str, float], noise: float = 0.0, seeds: int = 200):
    rng = np.random.default_rng(0)
    known = {arm: mean + noise * rng.standard_normal(seeds) for arm, mean in means.items()}

    def learner(arms: Sequence[str], of: Sequence[int]) -> Mapping[str, Mapping[int, float]]:
        return {arm: {s: float(known[arm][s]) for s in of} for arm in arms}

    return learner


def test_halving_gives_the_better_half_and_quarter_more_seeds() -> None:
    means = {f"arm {i}": float(i) for i in range(ARMS)}
    rungs = [rung for rung, _ in explore(table(means, 0.1), list(means))]
    assert [(rung.seeds, len(rung.means)) for rung in rungs] == [(3, 11), (6, 6), (12, 3)]
    assert [n for n, _ in RUNGS] == [3, 6, EXPLORED]
    assert rungs[-1].kept == ("arm 10", "arm 9", "arm 8")


def ended(gain: float, half: float, margin: float = 1.0, bad: int = 0) -> Answer:
    """A race of one SAM and one base finalist whose differences have that mean and, at 6 pairs, that half-width."""
    N = 11
    bound = boundaries(N)[6]
    d = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    d = gain + d / d.std(ddof=1) * half / bound * math.sqrt(6)
    d[:bad] = np.nan
    seeds = range(EXPLORED, EXPLORED + 6)

    def learner(arms: Sequence[str], of: Sequence[int]) -> Mapping[str, Mapping[int, float]]:
        if len(of) > 6:
            raise OutOfBudgetError("5 more runs")
        return {"s": dict(zip(seeds, d, strict=True)), "b": dict.fromkeys(seeds, 0.0)}

    answer = Answer(UNTOLD, Plan(margin, 1.0, N, boundaries(N), ("b",), ("s",)))
    race(learner, answer, lambda *_: None)
    return answer


@pytest.mark.parametrize(
    ("gain", "half", "verdict"),
    [(0.7, 0.69, YES), (0.7, 0.71, UNTOLD), (3.0, 2.9, YES), (0.2, 0.79, NO), (0.2, 0.81, UNTOLD), (-3, 1, NO)],
)
def test_a_look_answers_as_soon_as_an_end_of_the_interval_passes_its_edge(gain, half, verdict) -> None:
    assert ended(gain, half).verdict == verdict


def test_better_by_less_than_matters_is_a_no_that_says_so() -> None:
    answer = ended(0.5, 0.1)
    assert answer.verdict == NO
    assert answer.leading is not None
    assert answer.leading.low > 0


def test_a_finalist_that_collapsed_is_out_and_why_is_said() -> None:
    answer = ended(5.0, 0.1, bad=1)
    assert answer.verdict == NO
    assert answer.looks[0].out == {"s": "collapsed in 1 of 6"}
    assert study(2.0, 1.0, "normal", 0, collapse=0.5)[0].verdict == NO


def test_what_the_budget_does_not_pay_is_said_with_the_runs_that_are_missing() -> None:
    answer = ended(0.5, 0.9)
    assert (answer.verdict, answer.why) == (UNTOLD, "5 more runs")
    assert answer.more == 5 * 2, "at 11 pairs the half-width would be below .5"
    plan = answer.plan
    assert plan is not None
    at = Pair("s", "b", 6, 0.5, 30.0, 0)
    far = Answer(UNTOLD, plan, at, looks=[Look(6, (at,), {})])
    sd = 30.0 / plan.bounds[6] * math.sqrt(6)
    assert more(far, plan, 1) == 2 * (math.ceil((plan.bounds[11] * sd / 0.5) ** 2) - 6)


def test_the_leading_pair_is_the_best_finalist_against_the_better_base() -> None:
    pairs = [
        Pair("s", "b", 6, 1.0, 0, 0),
        Pair("s", "c", 6, 3.0, 0, 0),
        Pair("t", "b", 6, 2.0, 0, 0),
        Pair("t", "c", 6, 4, 0, 0),
    ]
    assert leading(pairs) == pairs[2]


def test_a_pair_leaves_out_seeds_at_which_either_collapsed_and_counts_those_of_sam() -> None:
    sam, base = {0: 1.0, 1: math.nan, 2: 3.0, 3: 5.0}, {0: 0.0, 1: 0.0, 2: math.nan, 3: 1.0}
    found = pair(sam, base, "s", "b", 2.0)
    assert (found.n, found.mean, found.collapsed) == (2, 2.5, 1)
    assert found.half == pytest.approx(2.0 * np.std([1.0, 4.0], ddof=1) / math.sqrt(2))
    assert pair({0: 1.0}, {0: 0.0}, "s", "b", 2.0).half == math.inf


def test_the_spread_is_that_of_differences_and_not_of_scores() -> None:
    seeds = {s: float(s) for s in range(8)}
    assert spread({"s": seeds, "b": seeds}, ["b"], ["s"]) == 0
    noisy = {s: v + (-1.0) ** s for s, v in seeds.items()}
    assert spread({"s": noisy, "b": seeds}, ["b"], ["s"]) == pytest.approx(np.std([1, -1] * 4, ddof=1))


def test_families_of_other_sizes_a_margin_of_0_and_a_base_that_collapses_are_no_studies() -> None:
    learner = table({"b": 0.0, "s": 0.0})
    with pytest.raises(ValueError, match="1 base arms and 2 SAM arms: expected as many of both"):
        decide(learner, ["b"], lambda _: ["s", "b"], 1.0)
    with pytest.raises(ValueError, match="margin = 0: expected a positive number"):
        decide(learner, ["b"], lambda _: ["s"], 0)
    gone = decide(table({"b": math.nan, "s": 0.0}), ["b"], lambda _: ["s"], 1.0)
    assert (gone.verdict, gone.why) == (UNTOLD, "every setting of the base optimiser collapsed")
    assert decide(table({"b": 0.0, "s": math.nan}, 0.1), ["b"], lambda _: ["s"], 1.0).verdict == NO
