"""The journeys that matter, in a real browser against a real server with a real engine."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import expect

from sam_dash.ui import router
from tests.browser.driver import in_navigation, settle

TINY = "run?network=mlp:32&epochs=4&m=64&m=16&m=4&seeds=2&variants=SGD&variants=n-SAM&variants=SAM"
LONG = "run?network=mlp:64&epochs=10000&m=4&m=1&seeds=2&variants=SAM"
# _fullData and not data: there the numbers are decoded from the base64 in which they travel
FIGURE = """() => [...document.querySelectorAll('.js-plotly-plot')].map(p => p._fullData.map(t => ({
  name: t.name, mode: t.mode, x: Array.from(t.x), y: Array.from(t.y),
  up: t.error_y && t.error_y.array ? Array.from(t.error_y.array) : null })))"""


def text(page: Any, pattern: str, timeout: float = 60_000) -> Any:
    found = page.get_by_text(re.compile(pattern)).first
    found.wait_for(timeout=timeout)
    return found


def start(page: Any, url: str) -> str:
    """Open the form by its link, press Start; the id of the study."""
    page.goto(url)
    page.get_by_role("button", name="Start").wait_for()
    page.get_by_text(re.compile(r"to train|in the store already")).first.wait_for()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("study=[0-9a-f]{12}"))
    return re.search("study=([0-9a-f]{12})", page.url)[1]  # type: ignore[index]


def downloaded(page: Any, name: str, folder: Path) -> pd.DataFrame:
    with page.expect_download() as event:
        page.get_by_role("button", name=name).first.click()
    path = folder / "figure.csv"
    event.value.save_as(path)
    return pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")))


@pytest.mark.timeout(180)
def test_a_cold_deep_link_shows_the_page_inside_its_frame(address: str, page: Any) -> None:
    page.goto(f"{address}/sharpness?study=0123456789ab")
    settle(page, 90_000)
    expect(page.get_by_role("heading", name="Sharpness over m")).to_be_visible(timeout=30_000)
    for group, files in router.GROUPS.items():
        for name in files.values():
            expect(in_navigation(page, group, name)).to_be_visible(timeout=30_000)
    expect(page.get_by_text("There is no study “0123456789ab” in this store")).to_be_visible(timeout=30_000)
    assert page.get_by_role("dialog").count() == 0
    assert page.title() == "Sharpness"


@pytest.mark.timeout(180)
def test_from_the_click_to_the_figure_and_its_csv(address: str, page: Any, tmp_path: Path) -> None:
    study = start(page, f"{address}/{TINY}")
    page.get_by_text("10 done").wait_for(timeout=120_000)
    page.goto(f"{address}/sharpness?study={study}")
    page.locator(".js-plotly-plot").wait_for(timeout=60_000)
    settle(page)
    traces = page.evaluate(FIGURE)[0]
    frame = downloaded(page, "CSV", tmp_path)
    means = frame[(frame["kind"] == "mean") & (frame["variant"] == "sam")].sort_values("m")
    lines = [t for t in traces if t["name"] == "SAM" and t["mode"] == "lines+markers"]
    quantities = list(dict.fromkeys(frame["quantity"]))
    assert quantities == ["tr_H", "lam_max", "tr_V", "test_acc", "gap_acc", "train_loss"]
    assert len(lines) == len(quantities)
    for quantity, line in zip(quantities, lines, strict=True):
        rows = means[means["quantity"] == quantity]
        assert line["x"] == list(rows["m"]) == [4, 16, 64]
        assert line["y"] == list(rows["y"])
        assert line["up"] == pytest.approx(list(rows["high"] - rows["y"]), rel=1e-12)
        assert (rows["n"] == 2).all()
    sgd = frame[(frame["kind"] == "mean") & (frame["variant"] == "sgd")]
    lines = [t for t in traces if t["name"] == "SGD" and t["mode"] == "lines" and len(set(t["y"])) == 1]
    assert [t["y"][0] for t in lines] == list(sgd["y"])


@pytest.mark.timeout(180)
def test_a_reload_mid_run_shows_the_same_progress_and_stop_ends_it(address: str, page: Any) -> None:
    study = start(page, f"{address}/{LONG}")
    bar = r"of 4 runs finished · (\d+) %"
    page.wait_for_function("() => /of 4 runs finished · [1-9]/.test(document.body.innerText)", timeout=90_000)
    before = int(re.search(bar, page.inner_text("body"))[1])  # type: ignore[index]
    page.reload()
    page.wait_for_function("() => /of 4 runs finished · [1-9]/.test(document.body.innerText)", timeout=60_000)
    after = int(re.search(bar, page.inner_text("body"))[1])  # type: ignore[index]
    assert f"study={study}" in page.url
    assert before <= after < 100
    page.get_by_role("button", name="Stop study").click()
    expect(text(page, "No run of this study finished")).to_be_visible(timeout=30_000)
    expect(text(page, "4 stopped")).to_be_visible(timeout=30_000)


@pytest.mark.timeout(60)
def test_dark_mode_follows_the_system(address: str, browser: Any) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    settle(page)
    colour = page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    context.close()
    assert max(map(int, re.findall(r"\d+", colour)[:3])) < 40


@pytest.mark.timeout(60)
def test_a_bad_number_in_the_form_is_answered_with_one_clear_line(address: str, page: Any) -> None:
    page.goto(f"{address}/run?rho=0.1,lots")
    message = text(page, "ρ = 'lots'")
    assert "expected a number in [0, 100]" in message.inner_text()
    assert page.get_by_role("button", name="Start").is_disabled()
    assert "Traceback" not in json.dumps(page.inner_text("body"))
