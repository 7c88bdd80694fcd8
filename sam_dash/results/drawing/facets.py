"""Parts of a figure: a panel for each value of a setting that varies, with what has none of it in each of them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import cells
from sam_dash.results.numbers import tables

NAMES = {"variant": "Variant", "m": "m", "study": "Study"}
SMALL = '<span style="font-size:11px">{}</span><br>'


def offered(frame: pd.DataFrame, without: str = "") -> dict[str, str]:
    """The settings by which panels can be told apart, by their names: those of several values, but `without`."""
    knobs = words.knobs()
    several = [k for k in tables.settings(frame) if k != without and len(levels(frame, k)) > 1]
    return {NAMES.get(k) or knobs[k].symbol: k for k in several}


def levels(frame: pd.DataFrame, by: str) -> list[Any]:
    """The values of a setting: numbers in order, names as they come."""
    values = frame[by].dropna().drop_duplicates()
    return list(values) if by == "variant" else cells.in_order(values)


def label(by: str, value: Any) -> str:
    """For example "ρ = 0.1", "m = 4", "SAM", "width 32"."""
    if by == "variant":
        return words.title(str(value))
    if by == "study":
        return str(value)
    return f"m = {value:g}" if by == "m" else words.knob_text({by: value})


def parts(frame: pd.DataFrame, by: str, everywhere: pd.Series[bool] | None = None) -> list[tuple[str, pd.DataFrame]]:
    """The rows at each value of `by`, with its label; the rows without one, and those `everywhere`, in each.

    Without `by`, or where nothing has it, one part without a label.
    """
    values = levels(frame, by) if by and by in frame else []
    shared = frame[by].isna() if values else None
    if shared is not None and everywhere is not None:
        shared |= everywhere
        values = [v for v in values if ((frame[by] == v) & ~shared).any()]
    if shared is None or not values:
        return [("", frame)]
    return [(label(by, v), frame[(frame[by] == v) | shared]) for v in values]


def titled(title: str, part: str) -> str:
    """The title of a panel of a part, HTML."""
    return (SMALL.format(part) if part else "") + title
