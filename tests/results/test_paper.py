"""Figures for print: their size to a point, embedded fonts, colours that are stated, light whatever the theme."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from sam_dash.results.drawing import paper, style
from tests.results import frames

needs_chrome = pytest.mark.skipif(paper.chrome() is None, reason="no Chrome or Chromium")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def fig() -> go.Figure:
    return frames.multiples(frames.summary(), "m")


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    yield
    paper.stop()


@needs_chrome
def test_no_two_ticks_of_an_axis_have_one_label() -> None:
    frame = frames.summary().query("quantity == 'test_acc'")
    near = frame.assign(**{c: 0.9 + (frame[c] - 0.75) / 60 for c in ("y", "low", "high")})
    svg = paper.render(frames.multiples(near, "m"), "SVG", paper.WIDTHS["89 mm"]).decode()
    ticks = re.findall(r'class="ytick"><text[^>]*>([^<]+)<', svg)
    assert len(ticks) > 2
    assert len(set(ticks)) == len(ticks), ticks


@needs_chrome
@pytest.mark.parametrize(("name", "points"), [("89 mm", 252), ("183 mm", 519), ("3.25 in", 234), ("6.75 in", 486)])
def test_a_pdf_is_as_wide_as_it_says_and_its_fonts_are_embedded(fig: go.Figure, name: str, points: int) -> None:
    pdf = paper.render(fig, "PDF", paper.WIDTHS[name])
    box = re.search(rb"/MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(points, abs=1)
    fonts = re.findall(rb"/FontDescriptor\b(?:(?!endobj).)*", pdf, re.DOTALL)
    described = [f for f in fonts if b"/FontName" in f]
    assert described
    assert all(re.search(rb"/FontFile[23]?\b", f) for f in described)


@needs_chrome
def test_an_svg_has_the_colours_of_the_variants_and_no_placeholder(
    fig: go.Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    import streamlit  # noqa: F401  it sets Plotly's default template to one whose colours are placeholders

    monkeypatch.setattr(pio.templates, "default", "streamlit")
    svg = paper.render(fig, "SVG", paper.WIDTHS["89 mm"]).decode()
    for variant in ("sgd", "sam"):
        hexadecimal = style.look(variant).colour
        r, g, b = (int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5))
        assert f"rgb({r}, {g}, {b})" in svg, variant
    assert not re.search(r"rgb\(0, 0, (?!0\))\d\)|#00000[1-9]", svg)
    assert "rgb(255, 255, 255)" in svg  # the background
    assert "23, 22, 20" not in svg  # Streamlit's dark one


@needs_chrome
def test_a_png_has_600_dots_an_inch(fig: go.Figure) -> None:
    png = paper.render(fig, "PNG", paper.WIDTHS["3.25 in"])
    width, _ = struct.unpack(">II", png[16:24])
    assert width == pytest.approx(3.25 * 600, abs=4)


def test_every_trace_states_its_colour_and_the_figure_on_screen_is_not_touched(fig: go.Figure) -> None:
    before = fig.to_json()
    out = paper.to_paper(fig, paper.WIDTHS["89 mm"])
    assert fig.to_json() == before
    for trace in out.data:
        assert trace.line.color or trace.marker.color or trace.fillcolor
    assert (out.layout.paper_bgcolor, out.layout.plot_bgcolor, out.layout.font.color) == ("white", "white", paper.INK)


@pytest.mark.parametrize(
    ("n", "width", "columns"), [(5, "89 mm", 2), (5, "183 mm", 3), (4, "6.75 in", 4), (1, "89 mm", 1)]
)
def test_panels_are_wrapped_to_the_width_without_overlap(n: int, width: str, columns: int) -> None:
    frame = frames.summary()
    part = frame[frame["quantity"] == "tr_H"]
    many = [part.assign(quantity=q) for q in ("tr_H", "lam_max", "tr_V", "train_loss", "test_loss")[:n]]
    out = paper.to_paper(frames.multiples(pd.concat(many), "m"), paper.WIDTHS[width])
    boxes = [
        (*out.layout[x].domain, *out.layout[x.replace("x", "y", 1)].domain) for x in out.layout if x.startswith("xaxis")
    ]
    assert len({b[0] for b in boxes}) == columns
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
    assert sum(bool(out.layout[x].title.text) for x in out.layout if x.startswith("xaxis")) == columns


def test_without_a_chrome_it_says_what_to_do(fig: go.Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "chrome", lambda: None)
    with pytest.raises(RuntimeError, match="install one, or use the camera"):
        paper.render(fig, "PDF", paper.WIDTHS["89 mm"])
