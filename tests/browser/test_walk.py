"""Every page in a real browser: wide and light, made narrow and dark, and on a telephone; checked for all at once.

Wide, its last tabs are opened; the telephone opens their link. axe-core finds no serious violation that is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.experiments.paper import RECIPES
from sam_dash.ui import router
from tests.browser.conftest import FILLED, Watch
from tests.browser.driver import settle

axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")

PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36"
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}
WINDOWS: dict[str, dict[str, Any]] = {
    "wide": DESK,
    "telephone": {"viewport": {"width": 390, "height": 800}, "user_agent": PHONE, "has_touch": True},
}
NARROW = {"width": 760, "height": 900}
# Streamlit's own, by rule and by what axe says of the element: no page can change them
KNOWN = {
    ("color-contrast", r"^<kbd"): "the hint of a shortcut on a button, drawn at part of the button's contrast",
    ("color-contrast", r"foreground color: #207ab1"): "a chosen pill in the dark: the primary colour as text, which "
    "white must be readable on, in buttons and chips, too; there is one setting for both (here 3.5)",
    ("list", r'^<ul data-testid="stSidebarNavItems"'): "the groups of the navigation where a narrow window folds it",
    ("listitem", r'^<li class="st-emotion-cache'): "the pages within those groups; no list of ours has such a class",
}
LATE = 60_000  # ms, on a machine that trains beside
EXAMPLE = {"study": "example"}
VISITS: list[tuple[str, dict[str, str]]] = [
    *((name, EXAMPLE) for name in router.PAGES if name not in ("experiments", "paper")),
    ("rw_sam", EXAMPLE | {"rw_part": "Its weights"}),
    ("saddles", EXAMPLE | {"saddle_of": "In a network"}),
    ("theory", EXAMPLE | {"theory_part": "On a study's runs"}),
    ("dynamics", EXAMPLE | {"clock": "Step"}),
    ("matched", EXAMPLE | {"against": "Seconds"}),
    ("runs", {"study": FILLED.key, "run": FILLED.runs()[0].key}),
    *(("experiments", {"experiment": e.title}) for e in EXPERIMENTS.values()),
    *(("paper", {"recipe": r.title}) for r in RECIPES.values()),
]

TABLETS = '[data-testid="stTabs"] [role="tablist"]'
CHOSEN = f"""() => [...document.querySelectorAll('{TABLETS}')].map(
  of => [...of.querySelectorAll('[role="tab"]')].findIndex(tab => tab.getAttribute('aria-selected') === 'true'))"""
COLOUR = "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"
# px by which the page, or a figure, is wider than the window
OVER = """() => { const m = document.querySelector('[data-testid=stMain]');
  return [m.scrollWidth - m.clientWidth, ...[...document.querySelectorAll('.js-plotly-plot')]
    .map(p => p.getBoundingClientRect().right - window.innerWidth)] }"""
# names in a legend that lie under the tool bar, over another name or over a title of a panel
COVERED = """() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => {
  const box = e => e.getBoundingClientRect(), all = s => [...plot.querySelectorAll(s)];
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const names = all('.legendtext');
  return names.flatMap((name, i) =>
    [...all('.modebar-btn'), ...all('.annotation-text'), ...names.slice(i + 1)].map(box)
      .filter(b => b.width && meet(box(name), b)).map(() => name.textContent)) })"""
# sides on which the labels do not fit the margins, so that Plotly draws it once more
GROWN = """() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(p => {
  if (p.layout.yaxis?.automargin) return [];
  const {margin, _size} = p._fullLayout;
  return ['l', 't', 'b'].filter(side => _size[side] > margin[side] + 0.5) })"""
UNNAMED = """() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')].filter(c =>
  (c.ariaLabel || c.querySelector('[aria-label]')?.ariaLabel || '').length <= 40).length"""


@pytest.fixture(scope="module")
def windows(browser: Any) -> Iterator[dict[str, tuple[Any, Watch]]]:
    """A desk's and a telephone's, for all pages: what a page loads is loaded once."""
    contexts = [browser.new_context(**options) for options in WINDOWS.values()]
    pages = [context.new_page() for context in contexts]
    yield {window: (page, Watch(page)) for window, page in zip(WINDOWS, pages, strict=True)}
    for context in contexts:
        context.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "query"), VISITS, ids=lambda part: part if isinstance(part, str) else urlencode(part))
def test_a_page_is_right_in_every_layout(address: str, windows: dict[str, Any], name: str, query: dict[str, str]):
    link = f"{address}/{'' if name == 'overview' else name}?{urlencode(query)}"
    page, watch = windows["wide"]
    page.set_viewport_size(DESK["viewport"])
    page.emulate_media(color_scheme=DESK["color_scheme"])
    page.goto(link)
    settle(page, LATE)
    _is_right(page, watch, "wide")
    if query == EXAMPLE:
        assert page.evaluate(GROWN) == []
    last: list[int] = []
    if (tablets := page.locator(TABLETS)).count():
        link, last = _last_tabs(page, tablets)
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(400)  # until it has told its width
    settle(page, LATE)
    assert max(map(int, re.findall(r"\d+", page.evaluate(COLOUR))[:3])) < 40
    _is_right(page, watch, "narrow")
    assert page.evaluate(CHOSEN) == last
    page, watch = windows["telephone"]
    page.goto(link)
    settle(page, LATE)
    _is_right(page, watch, "telephone")
    assert page.evaluate(CHOSEN) == last


def _is_right(page: Any, watch: Watch, layout: str) -> None:
    assert page.get_by_test_id("stException").count() == 0, layout
    assert page.locator("h1, h2").count() > 0, layout
    assert page.evaluate(UNNAMED) == 0, layout
    assert max(page.evaluate(OVER)) <= 1, layout
    assert page.evaluate(COVERED) == [], layout
    if layout != "telephone":
        assert _violations(page) == [], layout
    assert watch.errors == [], layout
    assert watch.abroad == [], layout


def _last_tabs(page: Any, tablets: Any) -> tuple[str, list[int]]:
    """Open the last tab of each, also of those that another has opened; the page's link then, and the tabs' places."""
    i = 0
    while i < tablets.count():
        before = page.url
        tablets.nth(i).get_by_role("tab").last.click()
        page.wait_for_function("url => location.href !== url", arg=before, timeout=LATE)
        settle(page, LATE)
        i += 1
    return page.url, [tablets.nth(i).get_by_role("tab").count() - 1 for i in range(tablets.count())]


def _violations(page: Any) -> list[str]:
    found = [
        f"{v['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
        for v in axe_api.Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]  # fmt: skip
    known = lambda said: any(said.startswith(f"{r}: ") and re.search(p.replace("^", ": "), said) for r, p in KNOWN)  # noqa: E731
    return [said for said in found if not known(said)]


def test_the_walk_sees_every_page_tabs_and_figures(address: str, windows: dict[str, Any]) -> None:
    """What the walk asks of a page is asked of something."""
    assert {name for name, _ in VISITS} == set(router.PAGES)
    page, _ = windows["wide"]
    page.goto(f"{address}/sharpness?study=example")
    settle(page, LATE)
    assert page.locator(TABLETS).count() >= 1
    assert page.locator(".js-plotly-plot").count() >= 2
    page.evaluate("() => { document.querySelector('.legendtext').closest('.js-plotly-plot').style.width = '2000px' }")
    assert max(page.evaluate(OVER)) > 1
    page.evaluate("""() => { const all = document.querySelectorAll('.legendtext');
      all[1].textContent = all[0].textContent; const move = document.createElementNS('http://www.w3.org/2000/svg', 'g');
      all[0].parentNode.append(move); move.append(all[1]); all[1].setAttribute('x', all[0].getAttribute('x')) }""")
    assert page.evaluate(COVERED) != []
    assert page.evaluate(UNNAMED) == 0
    page.evaluate("() => { document.querySelector('[data-testid=stPlotlyChart]').ariaLabel = 'a chart' }")
    assert page.evaluate(UNNAMED) == 1


def test_an_experiment_is_opened_by_its_button(address: str, windows: dict[str, Any]) -> None:
    page, watch = windows["telephone"]
    page.goto(f"{address}/experiments")
    settle(page, LATE)
    for e in EXPERIMENTS.values():
        button = page.get_by_role("radio", name=e.title, exact=True)
        button.click()
        page.locator(f".st-key-fig_experiment-{e.name} .js-plotly-plot").wait_for(timeout=60_000)
        expect(button).to_have_attribute("aria-checked", "true")
    assert watch.errors == []
