"""Figures for print, as a browser draws their SVG: nothing of a long legend covers anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from sam_dash.results.drawing import lines, paper
from tests.results import frames

BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
  const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })"""
LONG = [f"RW-SAM, λ = {k}, norms = one-probe, scale = standardised, normalised = False" for k in range(4)]
pytestmark = [
    pytest.mark.skipif(paper.chrome() is None, reason="no Chrome that kaleido finds"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    yield
    paper.stop()


def many(names: list[str]) -> Any:
    """Two panels, each with a line a name."""
    part = frames.summary()
    part = part[(part["variant"] == "sam") & (part["kind"] == "mean")]
    rows = [
        part.assign(panel=part["quantity"], line=n, x=part["m"], kind="mean", colour="#0072B2", dash="dot", marker="x")
        for n in names
    ]
    return lines.figure(pd.concat(rows), lines.Axes("m", log2=True), {})


def apart(a: list[float], b: list[float]) -> bool:
    return a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("width", ["89 mm", "183 mm"])
@pytest.mark.parametrize("names", [LONG, [*LONG, "SGD", "n-SAM"], ["SGD", "SAM", "RW-SAM"], None])
def test_a_legend_covers_neither_itself_nor_the_panels(page: Any, width: str, names: list[str] | None) -> None:
    fig = many(names) if names else frames.multiples(frames.summary(), "m")
    if names is None:  # without groups, Plotly fills the rows otherwise
        fig.update_traces(legendgroup=None)
    drawn = paper.WIDTHS[width]
    page.set_content(f"<body style='margin:0'>{paper.render(fig, 'SVG', drawn).decode()}</body>")
    legend = page.evaluate(BOXES, ".legendtext")
    others = page.evaluate(BOXES, ".annotation-text, .xtick, .ytick, .plotclip")
    assert len(legend) >= 2
    assert len(others) > 4
    assert all(box[0] >= 0 and box[2] <= drawn.px + 1 and box[1] >= 0 for box in legend)
    for i, box in enumerate(legend):
        assert all(apart(box, b) for b in [*legend[i + 1 :], *others]), box
