"""Which m several devices can have, against what the optimiser takes; strengths against sums over all micro-batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sam_dash.maths.devices import sizes, strength
from sam_dash.maths.ranks import Ranks


@pytest.mark.parametrize(("batch", "ranks"), [(64, 1), (64, 2), (48, 4), (24, 6), (7, 1)])
def test_the_sizes_are_those_that_the_optimiser_takes(batch, ranks) -> None:
    here = Ranks(ranks, 0, {k: None for k in range(2, ranks + 1) if ranks % k == 0})
    taken = {}
    for m in range(1, batch + 1):
        try:
            taken[m] = here.sharing(m, batch // ranks)
        except ValueError:
            continue
    assert {of.m: of.ranks for of in sizes(batch, ranks)} == taken
    assert {of.reduces for of in sizes(batch, ranks) if of.ranks == 1} == {1}
    assert {of.reduces for of in sizes(batch, ranks) if of.ranks > 1} <= {2}
    assert [of.m for of in sizes(batch, ranks)] == sorted(taken, reverse=True)


def test_ranks_that_do_not_divide_the_batch_are_refused() -> None:
    for ranks in (3, 0):
        with pytest.raises(ValueError, match=f"{ranks} ranks do not divide the batch of 64 samples"):
            sizes(64, ranks)


@pytest.mark.parametrize(("m", "batch"), [(1, 3), (2, 3), (1, 2)])
def test_the_strength_is_the_ratio_of_mean_squared_norms_over_all_micro_batches(m, batch) -> None:
    g = np.random.default_rng(0).normal(size=(7, 4)) + 0.4
    G, V = float((g.mean(0) ** 2).sum()), float(g.var(0).sum())

    def mean_squared(size: int) -> float:
        drawn = [g[list(of)].mean(0) for of in itertools.product(range(len(g)), repeat=size)]
        return float(np.mean([(a**2).sum() for a in drawn]))

    ratio = mean_squared(m) / mean_squared(batch)
    assert strength(m, batch, (G, 0.0), (V, 0.0), "usam") == pytest.approx((ratio,) * 3)
    assert strength(m, batch, (G, 0.0), (V, 0.0)).value == pytest.approx(ratio**0.5)


def test_the_interval_covers_what_the_errors_allow_and_ends_where_all_is_noise() -> None:
    found = strength(1, 64, (1.0, 0.1), (10.0, 0.5))
    inside = [strength(1, 64, (1.0 + 0.1 * a, 0.0), (10.0 + 0.5 * b, 0.0)).value for a in (-1, 1) for b in (-1, 1)]
    assert found.low < min(inside) < found.value < max(inside) < found.high < 8.0
    assert strength(1, 64, (1.0, 0.6), (10.0, 0.5)).high == pytest.approx(8.0), "the gradient may be 0"
    assert strength(1, 64, (-0.1, 0.1), (10.0, 0.5)).value == pytest.approx(8.0)
    assert strength(1, 64, (-0.1, 0.1), (10.0, 0.5)).low < 8.0
    assert strength(64, 64, (1.0, 0.1), (10.0, 0.5)) == (1.0, 1.0, 1.0)
    assert strength(1, 64, (1.0, 0.1), (0.0, 0.0)) == (1.0, 1.0, 1.0), "without noise m is nothing"
