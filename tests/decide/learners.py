"""Synthetic learners of known gain: arms around a best one, seeds that both families share, three laws of noise.

python -m tests.decide.learners prints the table of docs/decide.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sam_dash.decide.boundaries import boundaries, looks, planned
from sam_dash.decide.rule import NO, UNTOLD, YES, Answer, decide

ARMS, SPREAD = 11, 0.5  # of each family; the sd of the arms' means


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """A gamma law turned to the left: skew -2, mean 0, sd 1."""
    return 1 - rng.gamma(1.0, 1.0, n)


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    """Student's t of 4 degrees of freedom, sd 1."""
    return rng.standard_t(4, n) / np.sqrt(2.0)


LAWS = {"normal": normal, "skewed": skewed, "heavy tails": heavy}


@dataclass
class Learner:
    """Scores of arms by seed: the arm's mean, what the seed shares (sd 1), the run's own (of a pair's difference sd 1).

    The best base arm has mean 0, the best SAM arm the gain.
    """

    gain: float
    law: str = "normal"
    seed: int = 0
    collapse: float = 0.0  # the chance that a SAM run collapses
    spread: float = SPREAD
    many: int = ARMS
    runs: int = 0
    known: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.means: dict[str, float] = {}
        for family, best in (("base", 0.0), ("sam", self.gain)):
            drawn = self.spread * self.rng.standard_normal(self.many)
            self.means |= {f"{family} {i}": best + float(of - drawn.max()) for i, of in enumerate(drawn)}
        self.shared = self.rng.standard_normal(200)

    def arms(self, family: str) -> list[str]:
        return [arm for arm in self.means if arm.startswith(family)]

    def __call__(self, arms: Sequence[str], seeds: Sequence[int]) -> Mapping[str, Mapping[int, float]]:
        for arm in arms:
            new = [s for s in seeds if (arm, s) not in self.known]
            own = LAWS[self.law](self.rng, len(new)) / np.sqrt(2.0)
            gone = self.rng.random(len(new)) < (self.collapse if arm.startswith("sam") else 0.0)
            for s, e, bad in zip(new, own, gone, strict=True):
                self.known[arm, s] = np.nan if bad else self.means[arm] + self.shared[s] + float(e)
            self.runs += len(new)
        return {arm: {s: self.known[arm, s] for s in seeds} for arm in arms}


def study(gain: float, margin: float, law: str, seed: int, **options: float) -> tuple[Answer, Learner]:
    learner = Learner(gain, law, seed, **options)  # type: ignore[arg-type]
    return decide(learner, learner.arms("base"), lambda _: learner.arms("sam"), margin), learner


def rates(gain: float, margin: float, law: str, studies: int, **options: float) -> tuple[dict[str, float], float]:
    """The shares of answers, and the mean number of runs."""
    found = [study(gain, margin, law, seed, **options) for seed in range(studies)]
    counts = Counter(answer.verdict for answer, _ in found)
    shares = {verdict: counts[verdict] / studies for verdict in (YES, NO, UNTOLD)}
    return shares, float(np.mean([learner.runs for _, learner in found]))


def oracle(gain: float, margin: float, law: str, seed: int) -> tuple[str, int]:
    """One pair of arms, known to be the best of their families: the answer, and the runs it took."""
    rng = np.random.default_rng(seed)
    N = planned(1.0, margin)
    d = gain + (LAWS[law](rng, N) - LAWS[law](rng, N)) / np.sqrt(2.0)
    for n in looks(N):
        half = boundaries(N)[n] * d[:n].std(ddof=1) / np.sqrt(n)
        if d[:n].mean() + half < margin:
            return NO, 2 * n
        if d[:n].mean() - half > 0:
            return YES, 2 * n
    return UNTOLD, 2 * N


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--arms", type=int, default=ARMS, help="of each family")
    studies, arms = (getattr(parser.parse_args(), name) for name in ("studies", "arms"))
    print("| law | margin, sd | gain, sd | yes | no | cannot be told | runs | oracle: yes, no, runs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for law in LAWS:
        for margin in (1.0, 0.5):
            for gain in (0.0, 0.1, margin, 1.0 if margin < 1 else 2.0):
                of, runs = rates(gain, margin, law, studies, many=arms)
                best = [oracle(gain, margin, law, seed) for seed in range(studies)]
                yes, no = (100 * sum(v == what for v, _ in best) / studies for what in (YES, NO))
                shares = " | ".join(f"{100 * of[v]:.1f}" for v in (YES, NO, UNTOLD))
                mean = np.mean([n for _, n in best])
                print(
                    f"| {law} | {margin} | {gain} | {shares} | {runs:.0f} | {yes:.1f}, {no:.1f}, {mean:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
