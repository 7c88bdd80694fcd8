"""Columns of a table for the screen: numbers stay numbers, and how they are written is said once.

One number of digits a column (three significant ones of the median, two of what the values differ by), thousands
separated, a true minus sign, "–" where there is none. The unit stands in the name: "Test accuracy (%)". An interval is
two columns, `LOW` and `HIGH`, written with the digits of the value at their left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.numbers import statistics

LOW, HIGH = "95 % low", "95 % high"
MISSING = "–"
SIGNED = re.compile("^Difference|^Change| minus |^B − A$|^Pearson|^Spearman")
"""Names of columns whose values have a plus sign."""


def spread(name: str, mean: statistics.Mean, key: str = "", of: str = "") -> dict[str, float]:
    """The value, in the unit of the quantity `key`, and its interval, whose columns are told apart by `of`."""
    values = (words.in_unit(key, v) for v in (mean.mean, mean.low, mean.high))
    return dict(zip((name, f"{of}{LOW}", f"{of}{HIGH}"), values, strict=True))


def written(frame: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """The frame as text: `by` a column whose values have digits of their own."""
    out = frame.astype(object)
    for _, rows in frame.groupby(by, sort=False, dropna=False) if by else [(None, frame)]:
        before = None
        for name in frame.columns[[pd.api.types.is_numeric_dtype(t) for t in frame.dtypes]]:
            if pd.api.types.is_bool_dtype(frame[name]):
                continue
            values = rows[name].to_numpy(float, na_value=math.nan)
            bound = str(name).endswith((LOW, HIGH)) and before is not None
            if pd.api.types.is_integer_dtype(frame[name]):  # a count, whatever the unit of the row
                before = 0
            elif not bound:
                before = decimals(f"{name} {rows[by].iloc[0]}" if by else str(name), values)
            write = _writer(str(name), before)
            out.loc[rows.index, name] = [write(v) for v in values]
    return out.where(frame.notna(), MISSING)


def styled(frame: pd.DataFrame, by: str | None = None) -> Any:
    """The frame with its numbers, shown as `written`: a pandas Styler. See `written`."""
    frame = frame.reset_index(drop=True)
    text = written(frame, by)
    style = frame.style
    for column in frame:
        cells = iter(text[column].tolist())  # a Styler asks once a cell, from the first row on
        style = style.format(partial(_next, cells), subset=[column])
    return style


def _next(cells: Iterator[Any], _: Any) -> Any:
    return next(cells)


def decimals(name: str, values: np.ndarray) -> int | None:
    """Decimal places of a column, by its name with its unit and its values (n,); None for powers of ten."""
    values = values[np.isfinite(values)]
    size = np.abs(values[values != 0])
    middle = float(np.median(size)) if len(size) else 1.0
    if "(points)" in name or ("(%)" in name and middle >= 1):
        return 1 if middle >= 1 else 2
    if (values == np.round(values)).all():
        return 0
    if not 1e-4 <= middle < 1e7:
        return None
    whole, apart = 1 + math.floor(math.log10(middle)), float(np.ptp(values))
    places = max(3 - whole, 1 - math.floor(math.log10(apart)) if apart else 0)
    places = max(0, min(places, 6 - whole))
    while places and np.allclose(values, np.round(values, places - 1), rtol=1e-9, atol=0):
        places -= 1  # 0.1 and 0.25, but not 0.100 and 0.250: chosen values are short
    return places


def _writer(name: str, places: int | None) -> Callable[[float], str]:
    if re.match(r"p\b", name):
        return words.p_text
    sign = "+" if SIGNED.search(name) else ""

    def write(value: float) -> str:
        if math.isnan(value):
            return MISSING
        if math.isinf(value):
            return "∞" if value > 0 else "\N{MINUS SIGN}∞"
        text = f"{value:{sign}.2e}" if places is None else f"{value:{sign}z,.{places}f}"
        return text.replace("-", "\N{MINUS SIGN}")

    return write
