"""The frame of an experiment's figure: per panel, place on the axis and line a mean row, and a row a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, style
from sam_dash.results.drawing.lines import LOOK
from sam_dash.results.numbers import statistics
from sam_dash.results.numbers.statistics import Mean

COLUMNS = ["panel", "x", "line", "variant", "kind", "seed", "y", "low", "high", "n", *LOOK]
By = Mapping[int, float]


def rows(
    panel: str,
    x: str | float,
    line: str,
    variant: str,
    values: By,
    ratio: bool = False,
    look: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The rows of one point: `values` maps seed -> value. Of a ratio the mean and its interval are geometric.

    `look`: colour, dash and marker of its cell, as from `cells.Looks`; without it those of the variant.
    """
    mean = statistics.geometric(values.values()) if ratio else statistics.mean(values.values())
    if not mean.n:
        return []
    drawn = style.look(variant)._asdict() if look is None else {k: look[k] for k in LOOK}
    common = {"panel": panel, "x": x, "line": line, "variant": variant} | drawn
    first = common | {"kind": "mean", "y": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n}
    return [first, *(common | {"kind": "seed", "seed": s, "y": y} for s, y in sorted(values.items()))]


def frame(points: Iterable[list[dict[str, Any]]]) -> pd.DataFrame:
    """All points in one frame."""
    return pd.DataFrame([row for point in points for row in point], columns=COLUMNS)


def by_seed(finals: pd.DataFrame, quantity: str, where: Mapping[str, Any]) -> dict[int, float]:
    """Seed -> final value of a quantity, of the runs whose columns have these values."""
    of = finals[finals["quantity"] == quantity]
    for column, value in where.items():
        of = of[of[column] == value]
    return {int(s): float(v) for s, v in zip(of["seed"], of["value"], strict=True) if np.isfinite(v)}


def seeds(frame: pd.DataFrame, panel: str, x: Any, line: str) -> dict[int, float]:
    """Seed -> value of one point of a frame."""
    at = (frame["panel"] == panel) & (frame["x"] == x) & (frame["line"] == line) & (frame["kind"] == "seed")
    return {int(s): float(y) for s, y in zip(frame.loc[at, "seed"], frame.loc[at, "y"], strict=True)}


def points(mean: Mean) -> str:
    """A difference of accuracies with its interval: "+1.3 points [0.2, 2.4], n = 5"."""
    if mean.n < 2:
        return f"{words.points(mean.mean)} points, n = {mean.n}: no interval"
    return (
        f"{words.points(mean.mean)} points [{words.points(mean.low, '')}, {words.points(mean.high, '')}], n = {mean.n}"
    )


def means_over(frame: pd.DataFrame) -> str:
    """For a caption: over how many seeds the means are, and what the bars are."""
    return f"Mean over {captions.over(frame)}; small dots: single seeds."
