"""Every tab of every page, and every experiment: in the link, and opened by it, in a real browser."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from playwright.sync_api import expect

from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.ui import router
from tests.browser.conftest import Watch
from tests.browser.driver import settle

PAGES = ["", *(name for name in router.PAGES if name != "overview"), "saddles?saddle_of=In+a+network"]
TABLETS = '[data-testid="stTabs"] [role="tablist"]'
CHOSEN = f"""() => [...document.querySelectorAll('{TABLETS}')].map(
  of => [...of.querySelectorAll('[role="tab"]')].findIndex(tab => tab.getAttribute('aria-selected') === 'true'))"""
PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36"
OVER = """() => { const m = document.querySelector('[data-testid=stMain]');
  return [m.scrollWidth - m.clientWidth, ...[...document.querySelectorAll('.js-plotly-plot')]
    .map(p => p.getBoundingClientRect().right - window.innerWidth)] }"""

BETWEEN = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(p => p.querySelector('.legend')).map(p => {
  const tops = [...p.querySelectorAll('.annotation-text')].map(a => a.getBoundingClientRect().top);
  return Math.min(...tops) - p.querySelector('.legend').getBoundingClientRect().bottom })"""


def test_no_legend_lies_over_a_title_on_a_telephone(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, user_agent=PHONE)
    page = context.new_page()
    for name in ("dynamics?study=example", "noise?study=example", "rw_sam?study=example&rw_part=Its+weights"):
        page.goto(f"{address}/{name}")
        settle(page)
        assert min(page.evaluate(BETWEEN)) >= 0, name
    context.close()


@pytest.mark.timeout(400)
def test_every_tab_of_every_page_is_in_the_link_that_opens_it(address: str, page: Any) -> None:
    walked = 0
    for name in PAGES:
        page.goto(f"{address}/{name}{'&' if '?' in name else '?'}study=example")
        settle(page)
        widgets = page.locator(TABLETS)
        before = page.url
        for i in range(widgets.count()):
            widgets.nth(i).get_by_role("tab").last.click()
            page.wait_for_function("url => location.href !== url", arg=before)
            before = page.url
        if not widgets.count():
            continue
        settle(page)
        last = [widgets.nth(i).get_by_role("tab").count() - 1 for i in range(widgets.count())]
        page.goto("about:blank")
        page.goto(before)
        settle(page)
        assert page.evaluate(CHOSEN) == last, name
        walked += len(last)
    assert walked >= 14


@pytest.mark.timeout(240)
def test_every_experiment_opens_by_its_link_and_by_its_button(address: str, browser: Any) -> None:
    for scheme, cold, phone in (("light", True, False), ("light", False, True), ("dark", False, False)):
        agent = {"user_agent": PHONE} if phone else {}
        window = {"width": 390 if phone else 1280, "height": 800}
        context = browser.new_context(color_scheme=scheme, viewport=window, **agent)
        page = context.new_page()
        watch = Watch(page)
        for e in EXPERIMENTS.values():
            if cold or page.url == "about:blank":
                page.goto(f"{address}/experiments?experiment={quote_plus(e.title)}")
            else:
                page.get_by_role("radio", name=e.title, exact=True).click()
            page.locator(f".st-key-fig_experiment-{e.name} .js-plotly-plot").wait_for(timeout=60_000)
            settle(page)
            expect(page.get_by_role("radio", name=e.title, exact=True)).to_have_attribute("aria-checked", "true")
            assert max(page.evaluate(OVER)) <= 1, (e.name, scheme, window)
        context.close()
        assert watch.errors == []
        assert watch.abroad == []
