"""The analysis pages in a real browser, on a small real study: drawn without errors, equal to their CSV, dark too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.driver import settle
from tests.browser.test_journey import FIGURE, downloaded, start

SMALL = (
    "run?network=mlp:8&epochs=3&m=8&seeds=2&variants=SGD&variants=SAM&variants=RW-SAM&rho=0.1&lam=0,0.5"
    "&measures=trace&every=1"
)


@pytest.fixture(scope="session")
def study(address: str, browser: Any) -> str:
    page = browser.new_page()
    found = start(page, f"{address}/{SMALL}")
    page.get_by_text("8 done").wait_for(timeout=150_000)
    page.close()
    return found


@pytest.mark.timeout(180)
def test_the_curves_are_the_numbers_of_their_csv(address: str, page: Any, study: str, tmp_path: Path) -> None:
    page.goto(f"{address}/dynamics?study={study}&clock=Step&curves=tr(H)")
    page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    settle(page)
    traces = page.evaluate(FIGURE)[0]
    frame = downloaded(page, "CSV", tmp_path)
    assert set(frame["panel"]) == {"tr_H"}
    for line, of in frame[frame["kind"] == "mean"].groupby("line"):
        drawn = next(t for t in traces if t["name"] == line and t["mode"] == "lines+markers")
        rows = of.sort_values("x")
        assert drawn["x"] == list(rows["x"]) == [0, 15, 30, 45]
        assert drawn["y"] == list(rows["y"])


@pytest.mark.timeout(180)
def test_a_control_is_in_the_link_and_a_missing_measure_leads_to_the_form(address: str, page: Any, study: str) -> None:
    page.goto(f"{address}/matched?study={study}")
    settle(page)
    page.get_by_role("radio", name="Gradient evaluations").click()
    page.wait_for_url(re.compile("against=Gradient"))
    page.goto(f"{address}/rw_sam?study={study}&rw_part=Its+modes")
    settle(page)
    page.get_by_role("link", name=re.compile("Set up RW-SAM with exact norms")).click()
    page.get_by_text(re.compile(r"to train|in the store already")).first.wait_for()
    expect(page.get_by_role("heading", name="Run a study")).to_be_visible(timeout=30_000)
    assert "exact" in page.url
