"""The first minute of a newcomer: one click on the Overview, and the figure of her own runs with its sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from sam_dash.runs import presets
from sam_dash.runs.store import Store
from tests.browser.driver import served, settle
from tests.synthetic import fill

WINDOWS = ({"width": 1280, "height": 720}, {"width": 1440, "height": 900})
LAST = 3  # runs of the preset that are left to be trained, of SGD
HEADLINE = "test accuracy is best at|no difference|beyond the error|has the best"
# how far the page is scrolled, and where its first figure ends
PLACE = """() => [document.querySelector('[data-testid=stMain]').scrollTop,
  document.querySelector('.js-plotly-plot').getBoundingClientRect().bottom]"""


@pytest.fixture
def nearly(tmp_path: Path) -> Iterator[str]:
    """A server whose store has all runs of the first preset but its last, with invented numbers."""
    store = Store(tmp_path / "store.db")
    sweep = presets.get(presets.FIRST).sweep
    runs = sweep.runs()
    assert {r.variant for r in runs[:LAST]} == {"sgd"}
    fill(store, sweep, {r.key: "stopped" for r in runs[:LAST]})
    store.close()
    with served(tmp_path) as found:
        yield found


@pytest.mark.timeout(240)
def test_from_the_overview_one_click_leads_to_the_own_figure_above_the_fold(nearly: str, page: Any) -> None:
    page.set_viewport_size(WINDOWS[0])
    page.goto(nearly)
    button = page.get_by_role("button", name=re.compile(rf"Run this yourself \({LAST} runs, "))
    button.wait_for(timeout=60_000)
    settle(page, 90_000)
    begun = time.perf_counter()
    button.click()
    page.get_by_text(re.compile(r"of 27 runs finished")).first.wait_for(timeout=60_000)
    watching = time.perf_counter() - begun
    assert page.get_by_text("You have this study").count() == 0
    assert page.get_by_role("button", name="Start").count() == 0
    page.wait_for_function("() => /^[▸✓] /.test(document.title)", timeout=60_000)  # they may have ended by now
    expect(page.get_by_text(re.compile("27 of 27 runs finished")).first).to_be_visible(timeout=120_000)  # the toast
    sentence = page.get_by_text(re.compile(HEADLINE)).first
    sentence.wait_for(timeout=60_000)
    page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    print(f"one click; progress after {watching:.1f} s, own figure after {time.perf_counter() - begun:.1f} s")
    page.wait_for_function("() => document.title.startsWith('✓ ')", timeout=60_000)
    for window in WINDOWS:
        page.set_viewport_size(window)
        page.wait_for_timeout(400)
        settle(page, 90_000)
        scrolled, end = page.evaluate(PLACE)
        assert scrolled == 0
        assert 0 < sentence.bounding_box()["y"] < end <= window["height"]
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_role("button", name="Start")).to_be_enabled(timeout=60_000)
    page.wait_for_function("() => document.title === 'Run'", timeout=60_000)
    assert "study=" not in page.url
