"""Columns of tables: numbers stay numbers and are written in one number of digits."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sam_dash.results.drawing import columns
from sam_dash.results.numbers import statistics

INF = math.inf


@pytest.mark.parametrize(
    ("name", "values", "texts"),
    [
        ("tr(H)", [1234.5, 35.0, 1.25], ["1,234.5", "35.0", "1.2"]),
        ("tr(H)", [12345.0, 23456.0], ["12,345", "23,456"]),
        ("Test accuracy (%)", [86.04, 76.0, math.nan], ["86.0", "76.0", "–"]),
        ("Value (points)", [-0.04, -2.0, 12.345], ["0.0", "−2.0", "12.3"]),
        ("Relative error (%)", [0.0123, 0.0456], ["0.0123", "0.0456"]),
        ("Relative error (%)", [0.0, 1.0, 3.75], ["0.0", "1.0", "3.8"]),
        ("Factor", [1.008, 0.992], ["1.008", "0.992"]),
        ("Distance", [0.25, INF, -INF], ["0.25", "∞", "−∞"]),
        ("Residual", [1.2e-6, 3.4e-3, 2e-5], ["1.20e−06", "3.40e−03", "2.00e−05"]),
        ("Seeds", [3, 1200], ["3", "1,200"]),
        ("ρ", [0.1, 0.25, 0.5], ["0.10", "0.25", "0.50"]),
        ("Runs of tr(H)", [10.0], ["10"]),
        ("‖w − saddle‖", [0.1], ["0.1"]),
        ("B − A", [0.1], ["+0.1"]),
        ("m", [4.0, math.nan], ["4", "–"]),
        ("p (Page)", [1e-9, 0.0312, math.nan], ["< 0.0001", "0.031", "–"]),
    ],
)
def test_a_column_is_written_in_one_number_of_digits(name: str, values: list[float], texts: list[str]) -> None:
    assert list(columns.written(pd.DataFrame({name: values}))[name]) == texts


def test_an_interval_has_the_digits_of_its_value_and_a_difference_its_sign() -> None:
    mean = statistics.Mean(0.123, -0.0456, 0.2916, 3)
    frame = pd.DataFrame([columns.spread("Difference (points)", mean, "test_acc"), columns.spread("x", mean)])
    assert list(frame) == ["Difference (points)", "95 % low", "95 % high", "x"]
    shown = columns.written(frame[:1])
    assert list(shown.iloc[0]) == ["+12.3", "−4.6", "29.2", "–"]
    two = pd.DataFrame([columns.spread("a", mean, of="a, ") | columns.spread("b", mean, of="b, ")])
    assert list(two) == ["a", "a, 95 % low", "a, 95 % high", "b", "b, 95 % low", "b, 95 % high"]


def test_rows_of_several_quantities_have_digits_of_their_own() -> None:
    frame = pd.DataFrame({"Quantity": ["tr(H)", "Accuracy gap (points)", "tr(H)"], "y": [1234.0, -0.26, 0.5]})
    assert list(columns.written(frame, by="Quantity")["y"]) == ["1,234", "−0.26", "0"]


def test_a_count_beside_points_is_whole() -> None:
    frame = pd.DataFrame({"Quantity": ["Accuracy (points)", "tr(H)"], "Change": [-1.7, 8.0], "Seeds": [10, 10]})
    shown = columns.written(frame, by="Quantity")
    assert shown[["Change", "Seeds"]].to_numpy().tolist() == [["−1.7", "10"], ["+8", "10"]]


def test_what_is_shown_is_numbers_still_and_text_and_truth_are_left_as_they_are() -> None:
    frame = pd.DataFrame({"a": [2.5, np.nan], "of": ["x", None], "yes": [True, False]}, index=[7, 7])
    style = columns.styled(frame)
    assert style.data["a"].dtype == float
    body = style._translate(False, False)["body"]
    shown = [[cell["display_value"] for cell in row if cell["type"] == "td"] for row in body]
    assert shown == [["2.5", "x", True], ["–", "–", False]]
    assert columns.styled(frame[:0]) is not None
