"""What is claimed of escapes from a saddle, judged on runs made by hand: each rule on both sides of its edge.

Of n seeds that all say one thing, the exact interval of level 1 - .05/k begins at (.025/k)^(1/n): above one half for
6 seeds and one cell, for 7 and up to three cells, for 8 and up to six.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sam_dash.results.claims import escape_claims
from sam_dash.results.claims.rule import OPEN, REFUTED, SUPPORTED, UNTESTED

NEVER, EARLY, LATE = np.nan, 50.0, 80.0
CRITICAL, SAM, USAM, MOMENTUM, BATCH = range(5)  # the claims, in their order


def runs(
    variant: str, steps: float | list[float], share: float = np.nan, batch: int = 64, momentum: float = 0.0, n: int = 7
) -> pd.DataFrame:
    """A cell: the step at which each seed leaves."""
    values = steps if isinstance(steps, list) else [steps] * n
    rows = [(variant, share, batch, momentum, seed, step) for seed, step in enumerate(values)]
    return pd.DataFrame(rows, columns=["variant", "share", "batch", "momentum", "seed", "step"])


def judged(*cells: pd.DataFrame) -> list[dict[str, Any]]:
    return escape_claims.judge(pd.concat(cells, ignore_index=True)).to_dict("records")


def verdict(claim: int, *cells: pd.DataFrame) -> str:
    return str(judged(*cells)[claim]["Verdict"])


def usam(steps: float | list[float], *shares: float, **known: Any) -> list[pd.DataFrame]:
    return [runs("usam", steps, share, **known) for share in shares]


def test_the_claims_follow_their_rules() -> None:
    good = judged(runs("sgd", EARLY), *usam(LATE, 0.5), *usam(NEVER, 2.0), runs("sam", NEVER, 0.5))
    assert [r["Verdict"] for r in good] == [SUPPORTED] * 3 + [UNTESTED] * 2, "one momentum and one batch size"
    bad = judged(runs("sgd", LATE), *usam(EARLY, 0.5, 2.0), runs("sam", EARLY, 0.5))
    assert [r["Verdict"] for r in bad] == [REFUTED] * 3 + [UNTESTED] * 2
    few = judged(runs("sgd", EARLY, n=3), *usam(LATE, 0.5, n=3), *usam(NEVER, 2.0, n=3), runs("sam", NEVER, 0.5, n=3))
    assert [r["Verdict"] for r in few] == [OPEN] * 3 + [UNTESTED] * 2


def test_the_saddle_turns_between_the_radii_that_are_not_judged() -> None:
    found = judged(*usam(LATE, 0.8), *usam(NEVER, 1.25))[CRITICAL]
    assert (found["Verdict"], found["These runs"]) == (
        SUPPORTED, "100 % of 7 seeds escape up to 0.8 ρ_c, 0 % from 1.25 ρ_c.",
    )  # fmt: skip
    assert verdict(CRITICAL, *usam(LATE, 0.81), *usam(NEVER, 1.25)) == UNTESTED
    assert verdict(CRITICAL, *usam(LATE, 0.8), *usam(NEVER, 1.24)) == UNTESTED


def test_every_radius_counts_and_the_interval_is_widened_for_their_number() -> None:
    three = [*usam(LATE, 0.3, 0.5), *usam(NEVER, 2.0)]
    assert verdict(CRITICAL, *three, *usam(NEVER, 0.9)) == SUPPORTED, "0.9 is not judged"
    assert verdict(CRITICAL, *three, *usam(NEVER, 3.0)) == OPEN, "seven seeds do not do for four"
    half = [LATE, NEVER] * 4
    assert verdict(CRITICAL, *usam(LATE, 0.3, n=8), *usam(half, 0.5), *usam(NEVER, 2.0, n=8)) == OPEN
    assert verdict(CRITICAL, *usam(LATE, 0.3, n=8), *usam(NEVER, 2.0, n=8), *usam(half, 3.0)) == OPEN
    assert verdict(CRITICAL, *usam(LATE, 0.3, n=8), *usam(NEVER, 0.5, n=8), *usam(NEVER, 2.0, n=8)) == REFUTED
    assert verdict(CRITICAL, *usam(LATE, 0.3, n=8), *usam(NEVER, 2.0, n=8), *usam(LATE, 3.0, n=8)) == REFUTED


def test_the_saddle_is_judged_without_momentum_at_the_largest_batch_of_usam() -> None:
    judged_here = [*usam(LATE, 0.5), *usam(NEVER, 2.0)]
    other = [*usam(NEVER, 0.5, momentum=0.9), *usam(NEVER, 0.5, batch=32), runs("sam", NEVER, 0.5), runs("sgd", NEVER)]
    assert verdict(CRITICAL, *judged_here, *other) == SUPPORTED
    assert verdict(CRITICAL, *judged_here, *usam(NEVER, 0.5, batch=128)) == UNTESTED


@pytest.mark.parametrize(("claim", "key"), [(SAM, "sam"), (USAM, "usam")])
def test_a_variant_is_later_than_sgd_seed_by_seed_with_ties_left_out(claim: int, key: str) -> None:
    sgd = [EARLY] * 6 + [NEVER, EARLY]
    later = [LATE] * 5 + [NEVER, NEVER, EARLY]  # the last two are ties, and six are left
    assert verdict(claim, runs("sgd", sgd), runs(key, later, 0.5)) == SUPPORTED
    assert verdict(claim, runs("sgd", sgd[:5]), runs(key, later[:5], 0.5)) == OPEN
    assert verdict(claim, runs("sgd", later), runs(key, sgd, 0.5)) == REFUTED
    assert verdict(claim, runs("sgd", [*sgd[:5], LATE]), runs(key, [*later[:5], EARLY], 0.5)) == OPEN


def test_a_variant_is_paired_with_sgd_of_its_own_batch_and_momentum() -> None:
    cells = [runs("sam", LATE, 0.5, momentum=momentum) for momentum in (0.0, 0.9)]
    sgd = [runs("sgd", EARLY), runs("sgd", 99.0, momentum=0.9)]
    found = judged(*cells, *sgd)[SAM]
    assert found["These runs"] == "SAM is later than SGD in 1 of 2 cells, earlier in 1, a tie in 0."
    assert found["Verdict"] == REFUTED
    assert judged(*cells, runs("sgd", EARLY, batch=8))[SAM]["These runs"] == "Not tested: no such runs."


def test_usam_is_judged_below_the_critical_radius_and_sam_at_any() -> None:
    sgd = runs("sgd", EARLY)
    assert verdict(USAM, sgd, *usam(LATE, 0.99)) == SUPPORTED
    assert verdict(USAM, sgd, *usam(LATE, 1.0)) == UNTESTED
    assert verdict(SAM, sgd, runs("sam", LATE, 2.0)) == SUPPORTED


@pytest.mark.parametrize(
    ("for_", "against", "ties", "expected"),
    [(1, 0, 1, OPEN), (2, 0, 1, SUPPORTED), (2, 1, 0, REFUTED), (0, 0, 2, OPEN), (2, 0, 2, OPEN), (3, 0, 2, SUPPORTED)],
)
def test_most_cells_must_say_so_and_none_the_contrary(for_: int, against: int, ties: int, expected: str) -> None:
    told = [LATE] * for_ + [1.0] * against + [EARLY] * ties
    cells = [runs("sam", steps, 0.1 * (i + 1), n=9) for i, steps in enumerate(told)]
    found = judged(runs("sgd", EARLY, n=9), *cells)[SAM]
    assert found["Verdict"] == expected
    assert found["These runs"] == (
        f"SAM is later than SGD in {for_} of {len(told)} cells, earlier in {against}, a tie in {ties}."
    )


@pytest.mark.parametrize(("cells", "expected"), [(3, SUPPORTED), (4, OPEN)])
def test_the_interval_of_a_cell_is_widened_for_the_number_of_cells(cells: int, expected: str) -> None:
    made = [runs("sam", LATE, 0.1 * (i + 1)) for i in range(cells)]
    assert verdict(SAM, runs("sgd", EARLY), *made) == expected


@pytest.mark.parametrize(
    ("claim", "axis", "helped", "other"), [(MOMENTUM, "momentum", 0.9, 0.0), (BATCH, "batch", 8, 64)]
)
@pytest.mark.parametrize("key", ["sam", "usam"])
def test_one_end_of_an_axis_helps_where_more_seeds_leave_at_it(
    claim: int, axis: str, helped: float, other: float, key: str
) -> None:
    half = [EARLY, NEVER] * 7  # seven leave at one end only
    ends = runs(key, [EARLY] * 14, 0.5, **{axis: helped}), runs(key, half, 0.5, **{axis: other})  # type: ignore[arg-type]
    between = runs(key, [NEVER] * 14, 0.5, **{axis: 0.5 if axis == "momentum" else 32})  # type: ignore[arg-type]
    found = judged(*ends, between)[claim]
    assert (found["Verdict"], found["These runs"]) == (
        SUPPORTED,
        "it does in 1 of 1 cells, it hinders in 0, a tie in 0.",
    )
    turned = [cell.assign(**{axis: cell[axis].map({helped: other, other: helped})}) for cell in ends]
    assert verdict(claim, *turned) == REFUTED
    assert verdict(claim, *(cell[cell["seed"] < 10] for cell in ends)) == OPEN, "five seeds that differ do not do"
    assert verdict(claim, ends[0], ends[1].assign(seed=lambda f: f["seed"] + 99)) == UNTESTED
    assert judged(ends[0])[claim]["These runs"] == f"Not tested: it takes two values of {axis}."
    sgd = [cell.assign(variant="sgd") for cell in ends]
    assert judged(*sgd)[claim]["These runs"] == "Not tested: no such runs."
