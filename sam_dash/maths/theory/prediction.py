"""The mean of h at fixed weights, by enumerating micro-batches, against the gradient that the theory predicts."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sam_dash.maths.theory import sde
from sam_dash.maths.theory.draws import Draw
from sam_dash.maths.theory.problems import Array, Index, Problem
from sam_dash.maths.theory.sde import Rule
from sam_dash.maths.theory.simulate import drawn

MOST = 5_000  # micro-batches that are gone through
SAMPLED = 4_096  # that are drawn where there are more


def count(draw: Draw) -> int:
    """The number of different micro-batches of m."""
    return math.comb(draw.n + draw.m - 1, draw.m) if draw.replace else math.comb(draw.n, draw.m)


def micro_batches(draw: Draw) -> tuple[Index, Array]:
    """Every micro-batch of m of n samples and its probability.  (K, m), (K,).

    Raises ValueError where there are more than `MOST`.
    """
    if count(draw) > MOST:
        raise ValueError(
            f"{count(draw)} micro-batches of m = {draw.m}: expected at most {MOST}; choose a smaller m or n"
        )
    if not draw.replace:
        index = np.array(list(itertools.combinations(range(draw.n), draw.m)))
        return index, np.full(len(index), 1 / len(index))
    index = np.array(list(itertools.combinations_with_replacement(range(draw.n), draw.m)))
    ways = [math.factorial(draw.m) / math.prod(map(math.factorial, Counter(row).values())) for row in index.tolist()]
    return index, np.array(ways) / float(draw.n) ** draw.m


class Prediction(NamedTuple):
    """How far E[h] at some weights is from what is predicted; each (d,), exact where `stderr` is 0.

    `full`: from the theory. `without`: from grad(f + rho/2 ||grad f||^2), without tr V. `plain`: from grad f. `stderr`
    of each coordinate, of all three alike: of `budget` micro-batches, where there are too many to go through.
    """

    full: Array
    without: Array
    plain: Array
    stderr: Array
    budget: int


def prediction(problem: Problem, x: Array, rule: Rule, draw: Draw, seed: int = 0) -> Prediction:
    """The three distances at x (d,).

    h = g_I + rho H_I g_I + r, of which the mean of the first two is what the theory predicts: only r, of the second
    order in rho, is averaged over micro-batches I, so that its sampling error is of that order as well.
    """
    exact = rule.of_all or count(draw) <= MOST
    if rule.of_all:
        index, p = np.arange(problem.n)[None], np.ones(1)
    elif exact:
        index, p = micro_batches(draw)
    else:
        one = replace(draw, batch=draw.m)
        index = drawn(one, SAMPLED, np.random.default_rng(seed))[:, 0]
        p = np.full(SAMPLED, 1 / SAMPLED)
    g, H = problem.all_grads(x), problem.hessians(x)
    here = g[index].mean(1)
    along = rule.rho * np.einsum("kab,kb->ka", H[index].mean(1), here)
    far = problem.grads(x + rule.rho * here, index).mean(1)
    r = far - here - along
    full = p @ r
    stderr = np.zeros(problem.d) if exact else r.std(0, ddof=1) / len(r) ** 0.5
    of = [sde.drift(g, H, rule, draw), sde.drift(g, H, rule, draw, tr_v=False), g.mean(0)]
    return Prediction(full, full + of[0] - of[1], full + of[0] - of[2], stderr, len(index))


def mean_h(problem: Problem, x: Array, rule: Rule, draw: Draw) -> Array:
    """E[h] at x (d,), exactly.  (d,)."""
    index, p = micro_batches(draw)
    if rule.of_all:
        return np.asarray(problem.all_grads(x + rule.rho * problem.all_grads(x).mean(0)).mean(0))
    many = np.broadcast_to(x, (len(index), len(x)))
    g = problem.grads(many, index).mean(1)
    return np.asarray(p @ problem.grads(many + rule.rho * g, index).mean(1))


def predicted(problem: Problem, x: Array, rule: Rule, draw: Draw, tr_v: bool = True) -> Array:
    """grad( f + rho/2 ||grad f||^2 + rho/(2m) k tr V ) at x (d,); without its last term where not `tr_v`.  (d,)."""
    return sde.drift(problem.all_grads(x), problem.hessians(x), rule, draw, tr_v)
