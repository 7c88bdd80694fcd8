"""A cell has one name and one look in every figure of its study, and no two of a figure are drawn alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import pytest

from sam_dash.results import words
from sam_dash.results.drawing import cells, curves, style
from sam_dash.results.files import gallery
from sam_dash.results.numbers import recorded, tables
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs.store import Store
from tests import synthetic

OTHERS = {  # what is drawn beside cells
    "Pareto front", "collapsed", "SGD, stopped early", "tr(V)/m", "within a batch: tr(V)/m · (B−m)/B", "equal weights",
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, gallery.Curves]]:
    """Two ρ, four m, three λ."""
    with pytest.MonkeyPatch.context() as patch:
        plain = synthetic.values

        def values(run, share: float = 1.0) -> dict[str, float]:
            found = plain(run, share)
            found |= {f"tr_V@{m}": found["tr_V"] / m for m in (2, 4, 8)}
            return found | {f"m_sharp@{m}": 0.01 * found["tr_H"] / m for m in (1, 2, 4, 8)}

        patch.setattr(synthetic, "values", values)
        sweep = replace(synthetic.SWEEP, knobs={"rho": (0.05, 0.1), "lam": (0.0, 0.5, 1.0)})
        store = Store(tmp_path_factory.mktemp("looks") / "store.db")
        synthetic.fill(store, sweep)
    found = studies.from_store(store, sweep.key)
    assert found is not None

    def of(quantities: Sequence[str], points: int) -> pd.DataFrame:
        keys = list(found.runs["run"])
        return recorded.stored(store, keys, tuple(quantities), recorded.steps_per_epoch(found), points)

    yield found, of
    store.close()


@pytest.fixture(scope="module")
def pictures(study: tuple[Study, gallery.Curves]) -> list[gallery.Picture]:
    return gallery.pictures(*study)


def drawn(fig: go.Figure) -> list[tuple[str, str, str, str, str]]:
    """Name, colour, dash and marker of every trace that shows a line or points, as they are in the figure."""
    out = []
    for trace in fig.data:
        if trace.type != "scatter" or trace.fill or not trace.name:
            continue
        lines, points = "lines" in trace.mode, "markers" in trace.mode
        small = points and not lines and isinstance(trace.marker.size, int) and trace.marker.size < 6
        if small or (lines and trace.line.width is not None and trace.line.width < 2):
            continue
        marker = trace.marker.symbol if points else ""
        out.append((
            trace.name,
            trace.line.color if lines else trace.marker.color,
            (trace.line.dash or "solid") if lines else "",
            marker if isinstance(marker, str) else marker[0],
            trace.xaxis or "x",
        ))  # fmt: skip
    return out


def test_a_cell_has_one_name_and_one_look_in_all_figures(study, pictures) -> None:
    look = cells.of(study[0])
    known = {of["line"]: of for of in look}
    along = {look.name(of, x): look.along([of], x) for of in look for x in ("m", "lam")}
    seen: set[str] = set()
    assert {
        "sharpness-rho-0.05",
        "rw-sam-rho-0.1",
        "noise-rho-0.1",
        "dynamics-rho-0.1",
        "matched-train-loss-rho-0.1",
    } <= {p.name for p in pictures}
    for picture in pictures:
        for name, colour, dash, marker, _ in drawn(picture.figure):
            if name in OTHERS:
                continue
            of = known.get(name) or along[name]
            assert colour == of["colour"], (picture.name, name)
            assert dash in ("", style.DASHES[of["dash"]]), (picture.name, name)
            assert marker == "circle-open" or marker.removesuffix("-open") in ("", of["marker"]), (picture.name, name)
            seen.add(name)
    assert {
        "SAM, m = B = 8, ρ = 0.05",
        "SAM, m = 1, ρ = 0.1",
        "SAM, ρ = 0.1",
        "SGD",
        "RW-SAM, ρ = 0.1, λ = 0.5",
    } <= seen


def test_no_two_cells_of_a_figure_are_drawn_alike(pictures) -> None:
    for picture in pictures:
        looks: dict[tuple[str, ...], str] = {}
        for name, colour, dash, marker, panel in drawn(picture.figure):
            assert looks.setdefault((panel, colour, dash, marker), name) == name, picture.name


def test_two_rho_differ_in_dash_and_in_marker_wherever_they_are_drawn(study) -> None:
    look = cells.of(study[0])
    by = {cells.key_of(of | {"rho": None}): [] for of in look}
    for of in look:
        by[cells.key_of(of | {"rho": None})].append(of)
    pairs = [of for of in by.values() if len(of) == 2]
    assert len(pairs) == 1 + 4 + 3, "n-SAM, SAM at four m, RW-SAM at three λ"
    for a, b in pairs:
        assert a["colour"] == b["colour"]
        assert a["dash"] != b["dash"]
        assert a["marker"] != b["marker"]


def test_the_live_curves_have_the_look_of_the_figures(study) -> None:
    look = cells.of(study[0])
    rows = pd.DataFrame(
        [
            {"run": run, "step": s, "epoch": float(s), "quantity": "test_acc", "value": 0.5}
            for run in study[0].runs["run"] for s in (0, 1)
        ]
    )  # fmt: skip
    means = tables.curve_means(study[0].runs, rows, "test_acc")
    spec = curves.chart(curves.by_cell(means, look), "test_acc").to_dict()["encoding"]
    names = spec["color"]["scale"]["domain"]
    assert set(names) == {of["line"] for of in look}
    assert spec["strokeDash"]["scale"]["domain"] == names
    each = list(zip(spec["color"]["scale"]["range"], map(tuple, spec["strokeDash"]["scale"]["range"]), strict=True))
    assert len(set(each)) == len(names)
    assert dict(zip(names, [c for c, _ in each], strict=True)) == {of["line"]: of["colour"] for of in look}


def test_m_has_the_same_colour_in_every_study_and_m_of_b_that_of_its_method() -> None:
    assert cells.at("sam", 64, 64)["colour"] == cells.at("sam", None, 64)["colour"] == style.look("sam").colour
    assert [cells.place("sam", m, 64) for m in (64, 8, 1)] == [0, 0.5, 1]
    assert cells.place("sgd", 1, 64) == 0


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_seen_on_both_backgrounds() -> None:
    shades = [style.shade(of.colour, k / 6) for of in style.LOOKS.values() for k in range(7)]
    for colour in [*shades, *style.ORDERED, style.OTHER.colour, style.GREY]:
        for background in ("#FFFFFF", "#171614"):
            assert contrast(colour, background) >= 3, (colour, background)
    assert all(contrast(colour, "#FFFFFF") >= 4.5 for colour in style.ORDERED), "white letters are set on these"


def test_neighbouring_shades_can_be_told_apart() -> None:
    def lab(colour: str) -> tuple[float, float, float]:
        lightness, chroma, hue = style.oklch(colour)
        return lightness, chroma * math.cos(hue), chroma * math.sin(hue)

    shades = [lab(style.shade(style.look("sam").colour, k / 6)) for k in range(7)]
    assert min(math.dist(a, b) for i, a in enumerate(shades) for b in shades[i + 1 :]) > 0.03


def test_a_colour_goes_to_oklch_and_back() -> None:
    assert style.oklch("#FFFFFF")[0] == pytest.approx(1, abs=1e-6)
    assert style.oklch("#7F7F7F")[1] == pytest.approx(0, abs=1e-6)
    red = style.oklch("#FF0000")
    assert red == pytest.approx((0.62796, 0.25768, math.radians(29.234)), abs=1e-4), "Ottosson's table"
    for colour in ("#009E73", "#123456", "#FF0000", "#FFFFFF", "#000000"):
        assert style.from_oklch(*style.oklch(colour)) == colour


def test_more_cells_of_a_colour_than_dashes_still_differ() -> None:
    rows = [{"variant": "rwsam", "m": 8.0, "rho": r / 10, "lam": v, "norms": n} for r in range(3) for v in (0.0, 1.0)
            for n in ("exact", "one-probe")]  # fmt: skip
    found = list(cells.Looks(pd.DataFrame(rows), 8))
    assert len({(of["colour"], of["dash"], of["marker"]) for of in found}) == len(rows)
    assert len({of["line"] for of in found}) == len(rows)


def test_a_name_says_m_and_what_varies_and_no_word_in_front_of_the_method() -> None:
    assert words.cell_name("sam", 4, 64) == "SAM, m = 4"
    assert words.cell_name("sam", 64, 64) == "SAM, m = B = 64"
    assert words.cell_name("sam", None, 64, "ρ = 0.1") == "SAM, ρ = 0.1"
    assert words.cell_name("rwsam", 64, 64) == "RW-SAM"
