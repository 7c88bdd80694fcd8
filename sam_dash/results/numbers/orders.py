"""The order of an error: the slope of its logarithm over that of what it depends on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam_dash.results.numbers.statistics import NOTHING, Mean, half_width


def order(x: Sequence[float], y: Sequence[float]) -> Mean:
    """The least-squares slope of log y over log x with its 95 % t-interval; n is the number of points.

    Of exact values the interval says how straight the line is, not how uncertain they are. Points that are not positive
    are left out; nothing is said of fewer than three.
    """
    points = np.array([(a, b) for a, b in zip(x, y, strict=True) if a > 0 and b > 0])
    if len(points) < 3:
        return NOTHING
    u, v = np.log(points).T
    u = u - u.mean()
    slope = float(u @ v / (u @ u))
    rest = v - v.mean() - slope * u
    se = float(np.sqrt(rest @ rest / (len(u) - 2) / (u @ u)))
    half = float(half_width(se, len(u) - 1))
    return Mean(slope, slope - half, slope + half, len(u), se)
