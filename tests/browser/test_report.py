"""The report of a study, opened as a file without a network: its figures are drawn, and are those of the frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sam_dash.results.files import bundle, gallery, report
from sam_dash.results.numbers import study as studies
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, fill

# by figure, the names, modes and numbers of its lines; what is drawn outside its own box
DRAWN = """() => [...document.querySelectorAll('.plot')].map(p => ({
  lines: p._fullData.filter(t => t.mode === 'lines+markers').map(t => [t.name, Array.from(t.x), Array.from(t.y)]),
  wide: p.querySelector('.main-svg').getBoundingClientRect().width - p.getBoundingClientRect().width,
  label: p.ariaLabel }))"""


@pytest.mark.timeout(180)
def test_a_report_is_drawn_without_a_network_and_shows_the_numbers_of_its_study(page: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    study = studies.from_store(store, fill(store, SWEEP))
    assert study is not None
    path = tmp_path / "report.html"
    path.write_text(report.write(study, store, "python -m sam_dash run <again>"), encoding="utf-8")
    pictures = report.in_order(gallery.pictures(study, bundle.curves(study, store), report.COLUMNS))
    assert pictures[0].name == "sharpness"
    store.close()
    page.context.set_offline(True)
    page.goto(path.as_uri())
    page.wait_for_function("() => document.documentElement.dataset.drawn", timeout=120_000)
    drawn = page.evaluate(DRAWN)
    assert len(drawn) == len(pictures) > 5
    assert all(abs(each["wide"]) <= 1 for each in drawn)
    assert [each["label"] for each in drawn] == [picture.alt for picture in pictures]
    frame = next(p for p in pictures if p.name == "sharpness").frame
    means = frame[(frame["kind"] == "mean") & (frame["variant"] == "sam")]
    first = drawn[[p.name for p in pictures].index("sharpness")]["lines"]
    for line, (_, of) in zip(first, means.groupby("quantity", sort=False), strict=True):
        of = of.sort_values("m")
        assert line == ["SAM", list(of["m"]), list(of["y"])]
    text = page.inner_text("body")
    assert next(p.headline for p in pictures if p.headline) in text
    assert "python -m sam_dash run <again>" in text
    page.emulate_media(media="print")
    assert page.locator(".modebar-container").first.is_hidden()
