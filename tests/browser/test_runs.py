"""A researcher overlays eight runs, filters the table by m, names one of them and finds it again by its name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import FILLED
from tests.browser.driver import settle

LATE = 60_000  # ms
LINES = "() => [...new Set(document.querySelector('.js-plotly-plot')._fullData.map(t => t.name))].sort()"


@pytest.mark.timeout(180)
def test_eight_runs_are_overlaid_filtered_named_and_found_again(address: str, page: Any) -> None:
    done = [r.key for r in FILLED.runs() if r.variant == "sam" and r.seed < 2]
    chosen = "".join(f"&run={key}" for key in done)
    page.goto(f"{address}/runs?study={FILLED.key}{chosen}")
    page.get_by_role("heading", name="8 runs compared").wait_for(timeout=LATE)
    page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=LATE)
    names = page.evaluate(LINES)
    assert [name[0] for name in names] == list("ABCDEFGH")
    page.get_by_role("combobox", name="m", exact=True).click()
    page.get_by_role("option", name="1", exact=True).click()
    page.wait_for_url(re.compile("runs_m=1"), timeout=LATE)
    expect(page.get_by_text("selected are not among those shown")).to_be_visible(timeout=LATE)
    assert len(re.findall("[?&]run=", page.url)) == len(done)
    page.goto(f"{address}/runs?study={FILLED.key}&run={done[0]}")
    page.locator(".st-key-label_run button").click(timeout=LATE)
    field = page.get_by_label("Name", exact=True)
    field.fill("the flattest")
    field.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("^the flattest"))).to_be_visible(timeout=LATE)
    page.goto(f"{address}/runs?study={FILLED.key}")
    search = page.get_by_label("Search", exact=True)
    search.fill("FLATTEST")
    search.press("Enter")
    expect(page.get_by_text(f"1 of {len(FILLED.runs())} runs.")).to_be_visible(timeout=LATE)
    settle(page, LATE)


def test_the_link_of_a_page_is_copied_without_folders_of_the_server(address: str, page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{address}/runs?study=example&runs_variant=SAM")
    settle(page, LATE)
    page.evaluate("() => history.replaceState(0, '', location.href + '&dataset=npz:/srv/secret/mine.npz')")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Link copied").wait_for(timeout=LATE)
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == f"{address}/runs?study=example&runs_variant=SAM&dataset=npz%3Amine.npz"


def test_a_page_prints_without_its_controls_and_keeps_still_for_who_asks_for_that(address: str, page: Any) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{address}/sharpness?study=example")
    settle(page, LATE)
    assert (
        page.evaluate("() => parseFloat(getComputedStyle(document.querySelector('button')).transitionDuration)") <= 1e-4
    )
    for media, shown in (("print", False), ("screen", True)):
        page.emulate_media(media=media)
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        expect(page.locator(".stDownloadButton").first).to_be_visible(visible=shown)
