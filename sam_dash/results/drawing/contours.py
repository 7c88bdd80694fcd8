"""Lines of equal height of a function of two variables, as one trace."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

DIGITS = 4  # a fiftieth of a pixel
Point = tuple[float, float]


def level_lines(x: np.ndarray, y: np.ndarray, z: np.ndarray, levels: int) -> dict[str, list[float | None]]:
    """The lines of equal z (rows along y) at so many heights, even in z, a gap after each; to `DIGITS` places.

    Not Plotly's own contours: they vanish while a figure plays within Streamlit.
    """
    xs: list[float | None] = []
    ys: list[float | None] = []
    corners = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)]
    for level in np.linspace(z.min(), z.max(), levels + 2)[1:-1]:
        above = z > level
        mixed = sum(above[r : r + len(y) - 1, c : c + len(x) - 1].astype(int) for r, c in corners[:4])
        pieces: list[tuple[Point, Point]] = []
        for i, j in np.argwhere((mixed > 0) & (mixed < 4)):
            ends = []
            for (a, b), (c, d) in itertools.pairwise(corners):
                low, high = z[i + a, j + b], z[i + c, j + d]
                if (low > level) != (high > level):
                    s = (level - low) / (high - low)
                    at = (x[j + b] + s * (x[j + d] - x[j + b]), y[i + a] + s * (y[i + c] - y[i + a]))
                    ends.append((round(float(at[0]), DIGITS), round(float(at[1]), DIGITS)))
            pieces += zip(ends[::2], ends[1::2], strict=True)
        for line in joined(pieces):
            xs += [*(p[0] for p in line), None]
            ys += [*(p[1] for p in line), None]
    return {"x": xs, "y": ys}


def joined(pieces: Iterable[tuple[Point, Point]]) -> Iterator[list[Point]]:
    """Pieces that meet, as lines: what is drawn stays, in a third of the points."""
    meets: dict[Point, list[Point]] = defaultdict(list)
    for a, b in pieces:
        if a != b:
            meets[a].append(b)
            meets[b].append(a)
    for start in sorted(meets, key=lambda p: len(meets[p])):  # first the ends of open lines
        while meets[start]:
            line = [start]
            while meets[line[-1]]:
                line.append(meets[line[-1]].pop())
                meets[line[-1]].remove(line[-2])
            yield line
