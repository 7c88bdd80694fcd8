"""The best of a grid, and its difference from a choice, on scores written down here."""

import math

import pytest

from benchmarks.regret import best, told

SCORES = {"a": {0: 1.0, 1: 3.0, 2: 0.0, 3: 0.5}, "b": {0: 2.5, 1: 2.5, 2: 2.0, 3: 3.5}, "c": {0: 9.0, 1: math.nan}}


def test_the_best_is_that_of_the_seeds_asked_for_and_never_one_that_collapsed() -> None:
    assert best(SCORES, [0, 1]) == "b"
    assert best({k: SCORES[k] for k in "ac"}, [0, 1]) == "a"
    assert best({"a": {0: 1.0}, "b": {0: 0.5}}, [0]) == "a"


def test_a_difference_is_by_seed_with_its_interval() -> None:
    mean, low, high = -1.5, -1.5 - 12.7062 * 0.5, -1.5 + 12.7062 * 0.5  # t of one degree of freedom, sd / sqrt(2)
    found = told({0: 1.0, 1: 2.0}, {0: 3.0, 1: 3.0}, [0, 1])
    assert [float(part.strip("[],")) for part in found.split()] == pytest.approx([mean, low, high], abs=1e-3)
