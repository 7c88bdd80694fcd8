"""A reviewer, a sceptic, a telephone, and two windows on one sweep, in a real browser."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from sam_dash.results.drawing import paper
from sam_dash.results.numbers import study as studies
from tests.browser.driver import settle
from tests.browser.test_journey import text

EXAMPLE = "study=example"
needs_chrome = pytest.mark.skipif(paper.chrome() is None, reason="no Chrome that kaleido finds")


def saved(page: Any, button: Any, path: Path) -> bytes:
    """What a download button gives, and its suggested name's ending checked."""
    with page.expect_download(timeout=60_000) as event:
        button.click()
    assert event.value.suggested_filename.endswith(path.suffix)
    event.value.save_as(path)
    return path.read_bytes()


@needs_chrome
@pytest.mark.timeout(120)
def test_a_reviewer_follows_a_verdict_to_its_plot_and_takes_pdf_and_zip(
    address: str, page: Any, tmp_path: Path
) -> None:
    page.goto(f"{address}/claims?{EXAMPLE}")
    settle(page)
    expect(page.locator(".stMarkdownBadge").get_by_text("5 not supported")).to_be_visible(timeout=30_000)
    page.get_by_text("See the plot").nth(3).click()
    page.wait_for_url(re.compile(r"/sharpness\?"))
    page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    settle(page)
    titles = page.locator(".js-plotly-plot").first.locator(".annotation-text").all_text_contents()
    assert titles == ["Test accuracy", "Train loss"]
    assert EXAMPLE in page.url
    page.get_by_role("tab", name="Export").first.click()
    page.get_by_text("89 mm", exact=True).first.click()
    settle(page)
    pdf = saved(page, page.get_by_role("button", name="PDF", exact=True).first, tmp_path / "figure.pdf")
    box = re.search(rb"/MediaBox ?\[ ?0 0 ([\d.]+)", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(252, abs=1)
    page.goto(f"{address}/export?{EXAMPLE}")
    settle(page)
    data = saved(page, page.get_by_role("button", name="Download the study", exact=True), tmp_path / "study.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    assert files["figures/sharpness.pdf"].startswith(b"%PDF")
    assert b"<svg" in files["figures/rw-sam.svg"]
    assert json.loads(files["config.json"]) == json.loads((studies.EXAMPLE / "config.json").read_text())


@pytest.mark.timeout(90)
def test_a_sceptic_sees_what_differs_between_two_runs_and_how_good_the_estimates_are(address: str, page: Any) -> None:
    found = studies.from_folder(studies.EXAMPLE)
    assert found is not None
    a, b = (r.key for r in found.spec.runs() if r.variant == "sam" and r.seed == 0 and r.m in (64, 1))
    page.goto(f"{address}/runs?{EXAMPLE}&run={a}&run={b}")
    settle(page)
    expect(page.get_by_role("heading", name="Two runs compared")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("One pair of runs is one replicate")).to_be_visible(timeout=30_000)
    assert page.get_by_label("Settings of the two runs; they differ in m").count()
    page.goto(f"{address}/estimators?{EXAMPLE}")
    settle(page)
    expect(page.get_by_text("The least certain single estimate is one of")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("the ratio with its 95 % t-interval over runs")).to_be_visible(timeout=30_000)


PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36"


@pytest.mark.timeout(150)
def test_on_a_telephone_a_drag_over_a_figure_scrolls(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, user_agent=PHONE, has_touch=True)
    page = context.new_page()
    touch = context.new_cdp_session(page)
    page.goto(f"{address}/sharpness?{EXAMPLE}")
    settle(page)
    main = "document.querySelector('[data-testid=stMain]').scrollTop"
    page.evaluate(f"() => {{ {main} = 300 }}")
    page.wait_for_function(f"() => {main} === 300")
    box = page.evaluate("() => { const r = document.querySelector('.nsewdrag').getBoundingClientRect(); "
                        "return {x: r.x + r.width / 2, y: r.y + r.height / 2} }")  # fmt: skip
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [box]})
    for up in range(15, 151, 15):
        move = [{"x": box["x"], "y": box["y"] - up}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": move})
        page.wait_for_timeout(20)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"() => {main} > 350", timeout=5000)
    context.close()


@pytest.mark.timeout(150)
def test_two_windows_follow_one_sweep_that_the_keyboard_starts_and_stops(address: str, page: Any) -> None:
    page.goto(f"{address}/run?network=mlp:64&epochs=10000&m=2&m=1&seeds=2&variants=SAM")
    page.get_by_text(re.compile(r"to train")).first.wait_for()
    settle(page)
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile("study=[0-9a-f]{12}"), timeout=30_000)
    second = page.context.new_page()
    second.goto(page.url)
    moving = "() => /of 4 runs finished · [1-9]/.test(document.body.innerText)"
    for window in (page, second):
        window.wait_for_function(moving, timeout=90_000)
        window.get_by_role("button", name="Stop study").wait_for()
    second.keyboard.press("Shift+S")
    for window in (second, page):
        text(window, "4 stopped")
        expect(window.get_by_role("button", name="Resume: run the 4 missing")).to_be_visible(timeout=30_000)
    second.close()


@pytest.mark.timeout(120)
def test_tab_and_width_of_a_figure_are_in_the_link_and_a_forged_one_is_dropped(address: str, page: Any) -> None:
    page.goto(f"{address}/sharpness?{EXAMPLE}")
    settle(page)
    assert "_tab" not in page.url
    page.get_by_role("tab", name="Export").first.click()
    page.get_by_text("89 mm", exact=True).first.click()
    page.wait_for_url(re.compile(r"sharpness_tab=Export.*sharpness_width=89"))
    link = page.url
    page.goto(f"{address}/export")
    page.goto(link)
    settle(page)
    expect(page.get_by_role("tab", name="Export").first).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("radio", name="89 mm").first).to_have_attribute("aria-checked", "true")
    page.get_by_role("tab", name="Chart").first.click()
    page.wait_for_url(lambda url: "sharpness_tab" not in url)
    page.goto(f"{address}/sharpness?{EXAMPLE}&sharpness_tab=nonsense&sharpness_width=9+km")
    settle(page)
    page.wait_for_url(lambda url: "nonsense" not in url and "9+km" not in url)
    expect(page.get_by_role("tab", name="Chart").first).to_have_attribute("aria-selected", "true")
