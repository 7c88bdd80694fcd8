"""The layers' shares of the noise: sums, intervals, the share of the parameters, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats

from sam_dash.results.drawing import cells
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import layers
from tests.results.frames import SWEEP

HIDDEN = {"sgd": (6.0, 8.0), "sam": (2.0, 3.0)}  # of 10, by seed


def finals(names: tuple[str, ...] = ("hidden1", "output")) -> pd.DataFrame:
    """SGD, and SAM at two m: the first layer has the given share, the others the rest, equally."""
    rows, runs = [], []
    for run in SWEEP.runs():
        runs.append({"key": run.key, "spec": run.to_dict(), "status": "done"})
        first = HIDDEN[run.variant][run.seed]
        for name in names:
            value = first if name == names[0] else (10 - first) / (len(names) - 1)
            row = {"run": run.key, "step": 1, "epoch": 1.0, "quantity": f"layer_noise@{name}", "value": value}
            rows.append(row | {"stderr": 0.3, "method": "by hand", "budget": 9, "converged": True})
    return tables.finals(tables.runs_frame(runs), tables.curves_frame(rows))


def look(of: pd.DataFrame) -> cells.Looks:
    return cells.Looks(of, SWEEP.training.batch)


def framed(of: pd.DataFrame, sizes: dict[str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = layers.gathered(layers.per_run(of))
    return table, layers.frame(table, sizes, look(of))


def test_the_shares_have_seed_means_with_t_intervals_and_stand_beside_those_of_the_parameters() -> None:
    _, frame = framed(finals(), {"hidden1": 75, "output": 25})
    assert list(dict.fromkeys(frame["line"])) == ["Parameters", "SGD", "SAM, m = B = 4", "SAM, m = 1"]
    assert list(frame["y"][:2]) == [0.75, 0.25]
    sgd = frame[(frame["line"] == "SGD") & (frame["layer"] == "hidden1")].iloc[0]
    assert (sgd["y"], sgd["n"], sgd["value"]) == pytest.approx((0.7, 2, 7.0))
    assert sgd["high"] - sgd["y"] == pytest.approx(stats.t.ppf(0.975, 1) * 0.1)
    assert sgd["stderr"] == pytest.approx(0.3)
    assert frame.groupby("line")["y"].sum().tolist() == pytest.approx([1.0] * 4)


def test_of_many_layers_those_of_least_noise_are_one() -> None:
    names = tuple(f"layer{i}" for i in range(20))
    table, frame = framed(finals(names), {name: 5 for name in names})
    shown = list(dict.fromkeys(frame["layer"]))
    assert len(shown) == layers.MOST
    assert shown[0] == "layer0"
    assert shown[-1] == "13 other layers"
    rest = frame[frame["layer"] == "13 other layers"]
    assert rest["y"].iloc[0] == pytest.approx(13 / 20)
    assert rest[rest["line"] == "SGD"]["y"].iloc[0] == pytest.approx(0.3 / 19 * 13)
    assert rest[rest["line"] == "SGD"]["stderr"].iloc[0] == pytest.approx(0.3 * 13**0.5)
    assert frame.groupby("line")["y"].sum().tolist() == pytest.approx([1.0] * 4)
    assert table.groupby("run")["share"].sum().tolist() == pytest.approx([1.0] * 6)


def test_what_is_said_names_the_layer_of_most_noise_and_calls_ties_ties() -> None:
    table, frame = framed(finals(), {"hidden1": 90, "output": 10})
    found = layers.findings(table, frame, look(table))
    assert found[0] == (
        "Most noise is in output: 30 % to 75 % of tr(V), with 10 % of the parameters "
        "(more than that in 2 and a tie with that in 1 of 3 settings)."
    )
    assert found[1].startswith("The share of output is in a tie: even the lowest, SGD (30.0 %)")
    assert "parameters" not in layers.findings(table, framed(finals(), {})[1], look(table))[0]
    one = finals()
    table, frame = framed(one[one["seed"] == 0], {"hidden1": 90, "output": 10})
    assert "no interval" in layers.findings(table, frame, look(table))[1]
    assert "settings" not in layers.findings(table, frame, look(table))[0]


def test_the_bars_are_of_100_percent_and_no_layer_is_told_by_its_colour_alone() -> None:
    _, frame = framed(finals(), {"hidden1": 90, "output": 10})
    fig = layers.figure(frame)
    assert [t.name for t in fig.data] == ["hidden1", "output"]
    assert [sum(x) for x in zip(*(t.x for t in fig.data), strict=True)] == pytest.approx([1.0] * 4)
    assert len({(t.marker.color, t.marker.pattern.shape) for t in fig.data}) == 2
    assert len({t.marker.pattern.shape for t in fig.data}) == 2
    assert fig.data[0].text[0] == "hidden1 90 %"
    assert (fig.layout.uniformtext.mode, fig.layout.uniformtext.minsize) == ("hide", 10), "no label of 5 px"
    assert layers.caption(Study("0123456789ab", SWEEP, pd.DataFrame(), pd.DataFrame()), frame, "ci").startswith(
        "Each layer's share of tr(V) of the finished weights, weights and biases together; mean over 2 seeds"
    )


def test_the_parameters_are_those_of_the_network_and_none_where_the_data_are_gone(tmp_path) -> None:
    assert layers.parameters(SWEEP) == {"hidden1": 64 * 8 + 8, "output": 8 * 10 + 10}
    gone = replace(SWEEP.problem, dataset=f"npz:{tmp_path / 'gone.npz'}", data_hash="0" * 64)
    assert layers.parameters(replace(SWEEP, problem=gone)) == {}
