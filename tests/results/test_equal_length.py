"""RW-SAM at SAM's length and the equivalent m, on rows made by hand: every rule on both sides of its edge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.drawing import cells
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.views import equal_length
from sam_dash.results.views.equal_length import Equal, Equivalent

LINE = "RW-SAM, λ = 1"


def run(variant: str, seed: int, m: float | None = 4, **known: Any) -> dict[str, Any]:
    knobs = {name: None for name in tables.knob_names()}
    return {"run": f"{variant} {m} {seed} {known}", "variant": variant, "m": m, **knobs, "seed": seed} | known


def test_sam_is_taken_at_an_equal_length_or_between_two_in_log_length() -> None:
    assert equal_length.at_length({0.1: 1.0, 0.4: 3.0}, 0.2) == pytest.approx(2.0)
    assert equal_length.at_length({0.1: 1.0, 0.8: 4.0}, 0.2) == pytest.approx(2.0)
    assert equal_length.at_length({0.01: 9.0, 0.1: 1.0, 0.8: 4.0, 5.0: 7.0}, 0.4) == pytest.approx(3.0)
    assert equal_length.at_length({0.1: 1.0, 0.4: 3.0}, 0.399) == 3.0
    assert equal_length.at_length({0.1: 1.0, 0.4: 3.0}, 0.101) == 1.0
    assert equal_length.at_length({0.1: 1.0}, 0.2) is None
    assert equal_length.at_length({0.1: 1.0}, 0.05) is None
    assert equal_length.at_length({}, 0.2) is None


@pytest.mark.parametrize(("length", "expected"), [(0.1019, 5.0), (0.1021, None), (0.0981, 5.0), (0.0979, None)])
def test_a_length_within_2_percent_is_the_same_and_beyond_it_there_is_none(
    length: float, expected: float | None
) -> None:
    assert equal_length.at_length({0.1: 5.0}, length) == expected


def test_only_a_perturbation_of_some_length_and_a_known_value_is_compared() -> None:
    sam = [
        run("sam", 0, rho=0.0, eps_norm=0.0, test_acc=0.9), run("sam", 0, rho=0.1, eps_norm=0.1, test_acc=0.7),
        run("sam", 0, rho=0.2, eps_norm=0.102, test_acc=math.nan), run("usam", 0, rho=0.1, eps_norm=0.1, test_acc=0.1),
        run("sam", 0, m=1, rho=0.1, eps_norm=0.1, test_acc=0.2),
    ]  # fmt: skip
    weighted = [
        run("rwsam", 0, rho=0.1, lam=1.0, eps_norm=0.102, test_acc=0.75),
        run("rwsam", 0, rho=0.1, lam=0.0, eps_norm=0.1, test_acc=0.99),
        run("rwsam", 0, rho=0.0, lam=0.5, eps_norm=0.0, test_acc=0.99),
    ]
    frame = pd.DataFrame(sam + weighted)
    (found,) = equal_length.compare(frame, frame, "test_acc", cells.Looks(frame, 4))
    assert (found.rwsam.mean, found.sam.mean, found.difference.n, found.outside) == (0.75, 0.7, 1, 0)
    assert found.length == 0.102


def test_a_seed_without_sam_at_its_length_is_counted_and_left_out_of_both_means() -> None:
    rows = [run("sam", s, rho=0.1, eps_norm=0.1, test_acc=0.7 + 0.01 * s) for s in range(3)]
    rows += [
        run("rwsam", s, rho=0.1, lam=1.0, eps_norm=e, test_acc=0.8 + 0.1 * s) for s, e in enumerate((0.1, 0.1, 0.3))
    ]
    frame = pd.DataFrame(rows)
    (found,) = equal_length.compare(frame, frame, "test_acc", cells.Looks(frame, 4))
    assert (found.rwsam.mean, found.sam.mean) == pytest.approx((0.85, 0.705))
    assert (found.rwsam.n, found.difference.n, found.outside) == (2, 2, 1)
    assert found.length == pytest.approx(0.5 / 3), "of all its seeds"


def equal(difference: list[float], outside: int = 0, length: float = 0.4) -> Equal:
    rwsam, sam = statistics.mean([0.7 + d for d in difference]), statistics.mean([0.7] * len(difference))
    return Equal(LINE, length, rwsam, sam, statistics.mean(difference), outside)


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        (0.4, (0.36, 0.44)),
        (0.333, (0.29, 0.37)),
        (3.0, (2.7, 3.3)),
        (2.5e-7, (2.2e-7, 2.8e-7)),
        (0.099, (0.089, 0.109)),
    ],
)
def test_sam_is_wanted_a_tenth_below_and_above_to_two_digits_outwards(
    length: float, wanted: tuple[float, float]
) -> None:
    assert equal_length.lengths_missing([equal([], 1, length), equal([0.1], 0, 7.0)]) == wanted
    assert wanted[0] <= 0.9 * length * (1 + 1e-9) < 1.1 * length <= wanted[1] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        ([], "no SAM run of this length"), ([0.1], "one seed: no interval"), ([0.1, -0.1], "a tie"),
        ([0.1, 0.1001], "RW-SAM is higher"), ([-0.1, -0.1001], "RW-SAM is lower"), ([0.1, 0.2, -0.01], "a tie"),
    ],
)  # fmt: skip
def test_a_difference_at_equal_length_is_read_by_its_interval(difference: list[float], told: str) -> None:
    (row,) = tables.records(equal_length.shown([equal(difference, 5)], "test_acc"))
    assert row["Reading"] == told
    assert (row["RW-SAM"], row["Mean ‖ε‖"], row["Seeds"], row["Seeds without SAM"]) == (LINE, 0.4, len(difference), 5)


def test_accuracies_at_equal_length_are_in_per_cent_and_their_difference_in_points() -> None:
    (row,) = tables.records(equal_length.shown([equal([0.1, 0.12, 0.11])], "test_acc"))
    low, high = stats.t.interval(0.95, 2, loc=11, scale=stats.sem([10, 12, 11]))
    names = ("Test accuracy (%)", "SAM at this ‖ε‖ (%)", "Difference, paired (points)", "95 % low", "95 % high")
    assert [row[name] for name in names] == pytest.approx([81, 70, 11, low, high])


def test_a_curve_over_m_is_inverted_in_log_m() -> None:
    assert equal_length.invert({1: 10.0, 4: 30.0, 16: 40.0}, 20.0) == pytest.approx(1.0)
    assert equal_length.invert({1: 10.0, 4: 30.0, 16: 40.0}, 32.5) == pytest.approx(2.5)
    assert equal_length.invert({16: 10.0, 4: 30.0, 1: 40.0}, 15.0) == pytest.approx(3.5), "whatever their order"
    assert equal_length.invert({1: 10.0, 4: 30.0}, 30.0) == 2.0
    assert equal_length.invert({1: 10.0, 4: 30.0, 16: 40.0}, 30.0) == 2.0
    assert equal_length.invert({1: 10.0, 4: 30.0, 16: 10.0}, 20.0) is None, "it passes 20 twice"


@pytest.mark.parametrize(
    ("curve", "value", "side"),
    [
        ({1: 10.0, 4: 30.0}, 35.0, "above"), ({1: 10.0, 4: 30.0}, 5.0, "below"), ({1: 30.0, 4: 10.0}, 35.0, "below"),
        ({1: 30.0, 4: 10.0}, 5.0, "above"), ({1: 30.0, 4: 30.0}, 5.0, "below"),
    ],
)  # fmt: skip
def test_a_value_out_of_a_curve_is_on_the_side_of_the_end_that_is_nearer(
    curve: dict[int, float], value: float, side: str
) -> None:
    assert equal_length.invert(curve, value) == side


@pytest.mark.parametrize(
    ("curve", "value"), [({}, 1.0), ({1: 10.0}, 10.0), ({1: 10.0, 4: math.nan}, 10.0), ({1: 10.0, 4: 30.0}, math.nan)]
)
def test_without_a_curve_or_a_value_there_is_no_m(curve: dict[int, float], value: float) -> None:
    assert equal_length.invert(curve, value) is None


def test_the_equivalent_m_of_a_cell_is_that_of_its_seeds_and_lambda_0_is_sam() -> None:
    rows = [run("sam", s, m, rho=0.1, tr_H=10.0 * m) for m in (1, 4, 16) for s in range(4)]
    rows += [run("sgd", s, None, tr_H=1.0) for s in range(4)]
    rows += [run("rwsam", s, 16, rho=0.1, lam=lam, tr_H=y) for lam in (0.0, 1.0) for s, y in
             enumerate((20.0, 30.0, 5.0, 200.0))]  # fmt: skip
    frame = pd.DataFrame(rows)
    (found,) = equal_length.equivalent(frame, frame, "tr_H", cells.Looks(frame, 16))
    assert found.log2_m[:4] == pytest.approx(statistics.mean([2 * 10 / 30, 2 * 20 / 30])[:4])
    assert (found.below, found.above) == (1, 1)


@pytest.mark.parametrize(
    ("values", "below", "above", "told", "m"),
    [
        ([1.0, 3.0], 0, 0, "inside the range", 4.0), ([1.0], 0, 0, "one seed: no interval", 2.0),
        ([1.0], 2, 1, "outside the range: 2 of 4 seeds below m = 1 and 1 of 4 seeds above m = 8", math.nan),
        ([1.0], 1, 0, "outside the range: 1 of 2 seeds below m = 1", math.nan),
        ([], 0, 0, "no m-SAM curve to read it off", math.nan),
    ],
)  # fmt: skip
def test_an_equivalent_m_is_shown_only_where_every_seed_has_one(
    values: list[float], below: int, above: int, told: str, m: float
) -> None:
    found = Equivalent(LINE, statistics.mean(values), below, above)
    (row,) = tables.records(equal_length.equivalents_shown([found], "tr_H", [1.0, 2.0, 8.0]))
    assert (row["RW-SAM"], row["By"], row["Seeds inside"], row["Reading"]) == (LINE, "tr(H)", len(values), told)
    assert row["Equivalent m"] == pytest.approx(m, nan_ok=True)
    if len(values) > 1:
        assert (row["95 % low"], row["95 % high"]) == pytest.approx((2**found.log2_m.low, 2**found.log2_m.high))


def modes(change: dict[float, list[float]], quantity: str = "test_acc", lam: float = 1.0) -> pd.DataFrame:
    """Of RW-SAM at each rho, normalised minus not, seed by seed."""
    rows = [
        run("rwsam", s, rho=rho, lam=lam, norms="exact", normalised=on, quantity=quantity, value=0.5 + d * on)
        for rho, differences in change.items() for s, d in enumerate(differences) for on in (True, False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_modes_are_compared_by_seed_with_all_else_equal() -> None:
    finals = modes({0.1: [0.1, 0.12, 0.11], 0.2: [-0.1, -0.1001], 0.3: [0.1, -0.1], 0.4: [0.3]})
    found = equal_length.modes(finals, ["test_acc"], "normalised", False, True)
    assert list(found["At"]) == [f"ρ = {rho:g}, λ = 1" for rho in (0.1, 0.2, 0.3, 0.4)], (
        "what is one in all is not named"
    )
    readings = ["normalised is higher", "normalised is lower", "a tie", "one seed: no interval"]
    assert list(found["Reading"]) == readings
    assert list(found["Seeds"]) == [3, 2, 2, 1]
    name = "normalised minus not normalised, paired"
    assert list(found[name]) == pytest.approx([11.0, -10.005, 0.0, 30.0])
    low, high = stats.t.interval(0.95, 2, loc=11, scale=stats.sem([10, 12, 11]))
    assert tuple(found.loc[0, ["95 % low", "95 % high"]]) == pytest.approx((low, high))
    assert set(found["Quantity"]) == {"Test accuracy (points)"}
    turned = equal_length.modes(finals, ["test_acc"], "normalised", True, False)
    assert list(turned["not normalised minus normalised, paired"]) == pytest.approx([-11.0, 10.005, 0.0, -30.0])


def test_a_knob_of_one_value_has_no_modes_and_lambda_0_none_either() -> None:
    finals = modes({0.1: [0.1, 0.2]})
    assert equal_length.modes(finals[finals["normalised"]], ["test_acc"], "normalised", False, True).empty
    assert equal_length.modes(modes({0.1: [0.1, 0.2]}, lam=0.0), ["test_acc"], "normalised", False, True).empty
    assert len(equal_length.modes(finals, ["test_acc", "tr_H"], "normalised", False, True)) == 1


def test_modes_that_share_no_seed_are_no_row_and_another_knob_that_differs_is_named() -> None:
    apart = modes({0.1: [0.1, 0.2]})
    assert equal_length.modes(
        apart[(apart["seed"] == 0) == apart["normalised"]], ["test_acc"], "normalised", False, True
    ).empty
    several = pd.concat([apart, apart.assign(norms="one-probe")])
    found = equal_length.modes(several, ["test_acc"], "normalised", False, True)
    assert np.all(["exact" in found["At"][0], "one-probe" in found["At"][1]])
