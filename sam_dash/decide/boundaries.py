"""When looks at growing numbers of pairs are enough: boundaries of |t|, at which a study may stop at any look.

After n of N planned pairs the chance of a false answer that may have been spent is

    alpha(n) = alpha (n / N)^1.5        (Kim & DeMets 1987, power family; Lan & DeMets 1983)
    alpha    = ALPHA / kept(N)          (Bonferroni over the finalists of a family)

and c[n] is such that P(|t_n| > c[n], not before) is what may be spent at that look, for normal differences without a
gain. Late spending protects where t is worst: few pairs, skewed.
"""

from __future__ import annotations

import numpy as np

ALPHA = 0.05  # two-sided, of all finalists of a family together
LOOKS = (6, 8, 11, 15, 21, 29, 40, 56, 78, 110)
LEAST, PER_SD = 11, 20.0  # pairs planned: at least so many, and so many times (sd / margin)^2


def planned(sd: float, margin: float) -> int:
    """The number N of pairs that a study plans for, given the sd of a pair's difference: the first of LOOKS that is
    enough, or the last.
    """
    wanted = max(LEAST, PER_SD * (sd / margin) ** 2)
    return next((n for n in LOOKS if n >= wanted), LOOKS[-1])


def kept(N: int) -> int:
    """How many finalists of each family a study that plans for N pairs keeps: more where the margin is small beside
    the noise, since the best is then harder to know from a few seeds.
    """
    return 2 if N < 40 else 3


def looks(N: int) -> tuple[int, ...]:
    """The numbers of pairs at which a study that plans for N looks."""
    return tuple(n for n in LOOKS if n <= N)


def spent(n: int, N: int) -> float:
    """The chance of a false answer that may have been spent after n of N pairs, two-sided."""
    return ALPHA / kept(N) * (n / N) ** 1.5


def simulated(N: int, studies: int = 2_000_000, seed: int = 0, chunk: int = 100_000) -> tuple[float, ...]:
    """The boundaries of the looks up to N, of simulated studies of normal differences without a gain.

    The rarest crossing, at the first look of N = 110, is seen in 320 of a million studies.
    """
    at = looks(N)
    rng = np.random.default_rng(seed)
    seen = [_statistics(rng.standard_normal((min(chunk, studies - i), N)), at) for i in range(0, studies, chunk)]
    t = np.concatenate(seen)
    out: list[float] = []
    left, before = np.ones(len(t), bool), 0.0
    for k, n in enumerate(at):
        many = round((spent(n, N) - before) * len(t))
        values = np.sort(t[left, k])
        out.append(float(values[-many - 1 :][:2].mean()))
        left &= t[:, k] <= out[-1]
        before = spent(n, N)
    return tuple(out)


def _statistics(d: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
    """|t| of the first n columns, at each look: (studies, N) -> (studies, looks)."""
    n = np.array(at)
    total, squares = (np.cumsum(a, 1)[:, n - 1] for a in (d, d**2))
    mean = total / n
    variance = (squares - n * mean**2) / (n - 1)
    return np.abs(mean) / np.sqrt(variance / n)


TABLE: dict[int, tuple[float, ...]] = {
    11: (4.03, 3.61, 2.99),
    15: (4.51, 3.98, 3.28, 2.83),
    21: (5.09, 4.44, 3.61, 3.10, 2.70),
    29: (5.71, 4.91, 3.94, 3.37, 2.92, 2.62),
    40: (6.90, 5.74, 4.53, 3.84, 3.35, 3.01, 2.74),
    56: (7.76, 6.32, 4.87, 4.12, 3.59, 3.23, 2.95, 2.69),
    78: (8.54, 6.83, 5.25, 4.38, 3.79, 3.44, 3.14, 2.88, 2.66),
    110: (9.60, 7.55, 5.65, 4.67, 4.04, 3.64, 3.33, 3.08, 2.85, 2.63),
}  # fmt: skip


def boundaries(N: int) -> dict[int, float]:
    """n -> c[n], for the looks of a study that plans for N pairs."""
    return dict(zip(looks(N), TABLE[N], strict=True))


def main() -> None:
    """Print TABLE anew: python -m sam_dash.decide.boundaries."""
    for N in (n for n in LOOKS if n >= LEAST):
        print(f"    {N}: ({', '.join(f'{c:.2f}' for c in simulated(N))}),", flush=True)


if __name__ == "__main__":
    main()
