"""What a figure costs the browser: one whose labels do not fit its margins is drawn once more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.driver import settle

GROWN = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(p => !p.layout.yaxis.automargin).map(p => {
  const {margin, _size} = p._fullLayout;
  return ['l', 't', 'b'].filter(side => _size[side] > margin[side] + 0.5);
})"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "name", ["", "sharpness", "rw_sam?rw_part=Its+weights", "noise", "dynamics", "matched", "saddles"]
)
def test_the_margins_of_every_figure_hold_its_labels(address: str, page: Any, name: str) -> None:
    """But those with names of their own length along an axis, which ask for a margin that grows."""
    page.goto(f"{address}/{name}{'&' if '?' in name else '?'}study=example")
    page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    settle(page)
    grown = page.evaluate(GROWN)
    assert grown
    assert grown == [[]] * len(grown)
