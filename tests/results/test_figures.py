"""The figures on twelve rows made by hand: traces, titles, error bars, numbers."""

from __future__ import annotations

import math
import re

import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, curves, panels, sentences, style
from sam_dash.results.drawing.panels import Panels
from sam_dash.results.numbers import collapse, tables
from sam_dash.results.numbers import study as studies
from tests.results import frames


def figure(**options: object) -> go.Figure:
    return frames.multiples(frames.summary(**options), "m")  # type: ignore[arg-type]


def traces(fig: go.Figure, name: str, mode: str) -> list[go.Scatter]:
    return [t for t in fig.data if t.name == name and t.mode == mode]


def test_one_panel_a_quantity_with_its_title() -> None:
    assert [a.text for a in figure().layout.annotations] == ["tr(<i>H</i>)", "Test accuracy"]


def test_the_curve_is_the_means_of_the_frame() -> None:
    frame = frames.summary()
    lines = traces(frames.multiples(frame, "m"), "SAM", "lines+markers")
    for line, quantity in zip(lines, ("tr_H", "test_acc"), strict=True):
        rows = frame[(frame["kind"] == "mean") & (frame["variant"] == "sam") & (frame["quantity"] == quantity)]
        rows = rows.sort_values("m")
        assert list(line.x) == [1, 4]
        assert list(line.y) == list(rows["y"])
        assert list(line.error_y.array) == list(rows["high"] - rows["y"])
        assert list(line.error_y.arrayminus) == list(rows["y"] - rows["low"])


def test_every_seed_is_a_dot() -> None:
    dots = traces(figure(), "SAM", "markers")
    assert sorted(dots[0].y) == [24, 25, 70, 74]
    assert sorted(traces(figure(), "SGD", "markers")[0].y) == [100, 104]


def test_every_mark_stands_at_the_m_that_it_is_of() -> None:
    doubled = frames.summary().assign(variant=lambda t: t["variant"].replace("sam", "usam"))
    of = pd.concat([frames.summary(), doubled[doubled["variant"] == "usam"]], ignore_index=True)
    fig = frames.multiples(of, "m")
    marks = [t for t in fig.data if t.mode in ("markers", "lines+markers") and t.name != "SGD"]
    assert {t.name for t in marks} == {"SAM", "USAM"}
    assert {x for t in marks for x in t.x} == {1, 4}, "two methods at one m stand above each other"


def test_sgd_is_a_horizontal_line_with_the_band_of_its_interval() -> None:
    band, line = traces(figure(), "SGD", "lines")[:2]
    frame = frames.summary()
    row = frame[(frame["kind"] == "mean") & (frame["variant"] == "sgd")].iloc[0]
    assert set(line.y) == {102}
    assert (min(band.y), max(band.y)) == (row["low"], row["high"])


def test_each_series_is_in_the_legend_once() -> None:
    assert [t.name for t in figure().data if t.showlegend] == ["SGD", "SAM"]


def test_the_ticks_are_the_values_of_m_on_a_log_axis() -> None:
    axis = figure().layout.xaxis
    assert (axis.type, list(axis.tickvals)) == ("log", [1, 4])
    assert any("log₂" in (a.title.text or "") for a in figure().select_xaxes())


def test_every_trace_has_the_colour_of_its_variant() -> None:
    for trace in figure().data:
        colour = trace.line.color or trace.marker.color
        if trace.fill != "toself":
            assert colour == {"SGD": "#0072B2", "SAM": "#009E73"}[trace.name]


def test_one_seed_has_no_band_and_no_bar() -> None:
    frame = frames.summary()
    frame = tables.summary(frames.study().finals.query("seed == 0"), frames.study().runs.query("seed == 0"), ("tr_H",))
    fig = frames.multiples(frame, "m")
    assert not [t for t in fig.data if t.fill == "toself"]
    assert all(math.isnan(e) for e in traces(fig, "SAM", "lines+markers")[0].error_y.array)


def test_a_wide_range_gets_a_log_axis_and_a_difference_never_does() -> None:
    study = frames.study()
    finals = study.finals.assign(value=lambda f: f["value"] * f["m"].eq(1).map({True: 100, False: 1}))
    wide = frames.multiples(tables.summary(finals, study.runs, ("tr_H",), "se"), "m")
    assert wide.layout.yaxis.type == "log"
    assert wide.layout.annotations[0].text.endswith(panels.LOG)
    assert wide.layout.yaxis.title.text is None
    frame = tables.summary(finals, study.runs, ("tr_H",), "se", {"variant": "sgd"})
    assert frames.multiples(frame, "m", difference="SGD").layout.yaxis.type != "log"


@pytest.mark.parametrize(
    ("low", "high", "within"),
    [(0.36, 60, [0.5, 1, 2, 5, 10, 20, 50]), (1.4, 64, [2, 5, 10, 20, 50]), (0.02, 3000, [0.1, 1, 10, 100, 1000])],
)
def test_a_log_axis_has_enough_labels_and_not_too_many(low: float, high: float, within: list[float]) -> None:
    assert [s for s in panels.log_steps(low, high) if low <= s <= high] == pytest.approx(within)


def test_values_that_are_all_the_same_are_not_shown_on_a_whole_unit() -> None:
    same = frames.summary().assign(y=0.969, low=0.969, high=0.969)
    axis = frames.multiples(same, "m").layout.yaxis2
    assert 0.9 < axis.range[0] < 0.969 < axis.range[1] < 1.02


def test_every_registered_variant_has_a_look_of_its_own() -> None:
    assert set(style.LOOKS) == set(variants.REGISTRY)
    assert set(style.MARKS) | set(style.BASES) <= set(variants.REGISTRY)
    markers = [look.marker for look in (*style.LOOKS.values(), style.OTHER)]
    assert len(set(markers)) == len(markers)
    spare = [m for m in style.SPARE if m not in markers]
    assert len(spare) == len(style.SPARE) - len(set(variants.REGISTRY) - set(style.MARKS) - set(style.BASES))
    drawn = (*markers, *spare)
    assert all(go.scatter.Marker(symbol=m).symbol == m for m in (*drawn, *(f"{m}-open" for m in drawn)))
    assert {look.colour for look in style.LOOKS.values()} == {look.colour for look in style.BASES.values()}
    assert len(style.BASES) == len({look.colour for look in style.BASES.values()})


def test_a_variant_has_the_colour_of_the_family_that_it_names() -> None:
    for key, v in variants.REGISTRY.items():
        assert style.look(key).colour == style.BASES[v.family].colour
    assert style.look("not registered here") == style.OTHER


def test_the_accuracy_of_a_class_is_named_and_shown_in_per_cent() -> None:
    assert words.quantity("test_acc@class=3").name == "Test accuracy, class 3"
    assert words.show("test_acc@class=3", 0.5) == "50.0 %"


def test_a_legend_has_the_rows_that_it_needs_whatever_the_number_of_panels() -> None:
    """Counted in the browser: on a telephone three, on a wide page one, of 29 px each."""
    names = ["SGD", "n-SAM", "SAM", "RW-SAM, scale = raw", "RW-SAM, scale = standardised"]
    tops = {n: panels.layout(4, 250, names, n, 44, 8, 58)["margin"]["t"] for n in (1, 6)}
    assert tops == {1: 77 + 3 * 29, 6: 77 + 29}
    few = frames.summary().query("quantity == 'tr_H'")
    assert frames.multiples(few, "m", columns=5).layout.margin.t == 77 + 29


def test_no_difference_is_shown_as_minus_zero() -> None:
    assert [words.points(x) for x in (-1e-6, 0.0, -0.01)] == ["+0.0", "+0.0", "\N{MINUS SIGN}1.0"]


def test_the_caption_names_data_rho_seeds_interval_and_what_is_left_out() -> None:
    study = frames.study("failed")
    text = captions.caption(study, frames.summary("failed"), "m")
    for part in (
        "1 to 2 seeds", "95 % t-interval", "scikit-learn digits", "mlp:8", "40 % label noise", "B = 4",
        "At this ρ = 0.1", "6 runs in this study; 1 failed, excluded", "horizontal lines: SGD",
    ):  # fmt: skip
        assert part in text
    assert "± 1 standard error" in captions.caption(study, frames.summary(), "m", "se")


def test_a_setting_without_any_result_is_named() -> None:
    study = frames.study("diverged")
    runs = study.runs.assign(status=["done"] * 4 + ["diverged"] * 2)
    finals = study.finals[study.finals["m"] != 1]
    broken = studies.Study(study.id, study.spec, runs, finals)
    frame = tables.summary(finals, runs, ("tr_H",))
    text = captions.caption(broken, frame, "m")
    assert "Without any result: SAM, m = 1 (2 diverged)." in text


def test_the_alternative_text_states_the_finding() -> None:
    text = sentences.alt(frames.summary(), "m", cells.of(frames.study()))
    by = "−47.5 [−66.6, −28.4]"  # of -46 and -49: 1.5 times t = 12.7 either way
    assert f"tr(H) falls from 72.0 at m = 4 (SAM) to 24.5 at m = 1: {by} (paired, 95 %, n = 2)." in text
    assert "Test accuracy: a tie between 73.0 % at m = 4 (SAM) and 77.0 % at m = 1" in text


def test_the_alternative_text_claims_nothing_from_one_seed() -> None:
    study = frames.study()
    frame = tables.summary(study.finals.query("seed == 0"), study.runs.query("seed == 0"), ("tr_H",))
    assert "(one seed: no interval)" in sentences.alt(frame, "m", cells.Looks(frame, 4))


def test_slopes_are_read_off_their_interval() -> None:
    table = captions.slope_table(tables.slopes(frames.study().finals, ("tr_H", "test_acc")))
    assert list(table["Reading"]) == ["rises with m", "no trend detected"]
    assert list(table["Quantity"]) == ["tr(H)", "Test accuracy (points)"]
    assert list(table["Change per doubling of m"]) == pytest.approx([23.75, -2])


def test_curves_are_coloured_in_the_order_of_m() -> None:
    study = frames.study()
    rows = tables.curves_frame(
        {"run": key, "step": s, "epoch": float(s), "quantity": "test_acc", "value": 0.5 + s}
        for key in study.runs["run"] for s in (0, 1)
    )  # fmt: skip
    frame = curves.by_cell(tables.curve_means(study.runs, rows, "test_acc"), cells.of(study))
    colours = dict(zip(frame["line"], frame["colour"], strict=True))
    assert colours == {"SGD": "#0072B2", "SAM, m = B = 4": "#009E73", "SAM, m = 1": "#945500"}
    assert (frame["n"] == 2).all()
    assert "SAM, m = 1 150.0 % at epoch 1" in curves.alt(frame, "test_acc")
    assert curves.chart(frame, "test_acc").to_dict()["encoding"]["y"]["title"] == "Test accuracy"


@pytest.mark.parametrize(
    ("value", "text"),
    [(24.6, "24.6"), (-0.5, "−0.5"), (1234.0, "1234"), (2e-5, "2.00e−05"), (float("nan"), "–"), (0.0, "0")],
)
def test_numbers_have_three_digits_and_a_true_minus(value: float, text: str) -> None:
    assert words.number(value) == text


def test_hover_texts_say_what_n_is() -> None:
    line = traces(figure(), "SAM", "lines+markers")[0]
    assert re.search(r"n = %\{customdata\[2\]\}", line.hovertemplate)
    assert list(line.customdata[0])[2:4] == [2, 0]


def test_a_collapsed_cell_is_a_cross_that_sets_no_axis_and_is_named() -> None:
    study = frames.study("done")
    frame = tables.summary(study.finals, study.runs, ("tr_H", "test_acc"))
    one = (study.runs["variant"] == "sam") & (study.runs["m"] == 1)
    lost = set(study.runs.loc[one, "run"])
    far = frame.assign(**{c: frame[c].where(frame["m"].ne(1), frame[c] * 1e6) for c in ("y", "low", "high")})
    marked = collapse.marked(far, lost)
    assert collapse.marked(far, set()) is far
    assert set(marked.loc[marked["collapsed"], "m"]) == {1.0}
    fig = frames.multiples(marked, "m")
    crosses = [t for t in fig.data if t.marker.symbol == "x-thin" and t.x[0] is not None]
    assert len(crosses) == 2
    assert [t.name for t in fig.data if t.marker.symbol == "x-thin" and t.showlegend] == ["collapsed"]
    alive = frame[frame["m"].ne(1) & (frame["quantity"] == "tr_H")]
    low, high = fig.layout.yaxis.range
    ends = [alive[c].dropna() for c in ("y", "low", "high")]
    if fig.layout.yaxis.type == "log":
        low, high = 10**low, 10**high
    assert low < min(e.min() for e in ends)
    assert max(e.max() for e in ends) < high < 1e5
    assert crosses[0].y[0] == pytest.approx(low)
    drawn = {v for t in fig.data if t.mode and "markers" in t.mode and t.marker.symbol != "x-thin" for v in t.y}
    assert max(drawn) < 1e5
    text = captions.caption(study, marked, "m")
    assert "Crosses at the lower edge: SAM, m = 1 collapsed to chance and set no axis." in text


def test_the_caption_calls_no_collapsed_cell_a_line() -> None:
    study = frames.study("done")
    lost = set(study.runs.loc[study.runs["variant"] == "sgd", "run"])
    text = captions.caption(study, collapse.marked(frames.summary(), lost), "m")
    assert "Crosses at the lower edge: SGD collapsed" in text
    assert "horizontal lines" not in text


def test_panels_stand_where_plotly_would_put_them() -> None:
    titles = list("abcdefg")
    panels = Panels(titles, 3, 0.08, 0.1)
    for i in range(len(titles)):
        panels.add(i, {"x": [1], "y": [2]})
    ours = panels.figure({})
    theirs = make_subplots(3, 3, horizontal_spacing=0.08, vertical_spacing=0.1, subplot_titles=titles)
    for i in range(len(titles)):
        theirs.add_scatter(x=[1], y=[2], row=i // 3 + 1, col=i % 3 + 1)
    for a, b in zip(ours.data, theirs.data, strict=True):
        assert (a.xaxis, a.yaxis) == (b.xaxis, b.yaxis)
        for axis in (a.xaxis.replace("x", "xaxis"), a.yaxis.replace("y", "yaxis")):
            assert ours.layout[axis].domain == pytest.approx(theirs.layout[axis].domain)
            assert ours.layout[axis].anchor == theirs.layout[axis].anchor
    places = [[(t.text, t.x, t.y) for t in fig.layout.annotations] for fig in (ours, theirs)]
    assert [t[0] for t in places[0]] == [t[0] for t in places[1]]
    assert [t[1:] for t in places[0]] == [pytest.approx(t[1:]) for t in places[1]]
    assert not hasattr(ours.layout, "xaxis8"), "no panel without a title"


def test_differences_of_accuracies_are_read_in_points_and_others_in_per_cent() -> None:
    axis = panels.in_points(-0.213, 0.04)
    assert axis["ticktext"] == ["\N{MINUS SIGN}20", "\N{MINUS SIGN}15", "\N{MINUS SIGN}10", "\N{MINUS SIGN}5", "0"]
    assert axis["tickvals"] == pytest.approx([-0.2, -0.15, -0.1, -0.05, 0])
    assert panels.in_points(0.0, 0.004)["ticktext"] == ["0", "+0.1", "+0.2", "+0.3", "+0.4"]
    assert len(panels.in_points(0.0, 0.0)["tickvals"]) >= 1
    study = frames.study()
    frame = tables.summary(study.finals, study.runs, ("test_acc",), "ci", {"variant": "sgd"})
    less = frames.multiples(frame, "m", difference="SGD")
    assert less.layout.annotations[0].text == "Δ Test accuracy" + panels.POINTS
    assert less.layout.yaxis.tickformat is None
    assert frames.multiples(frames.summary(), "m").layout.yaxis2.tickformat == ".1~%"


@pytest.mark.parametrize(
    ("n", "most", "expected"), [(6, 6, 6), (6, 3, 3), (6, 1, 1), (7, 6, 4), (4, 3, 2), (5, 3, 3), (1, 6, 1)]
)
def test_panels_stand_in_rows_of_nearly_one_length(n: int, most: int, expected: int) -> None:
    assert panels.columns(n, most) == expected
