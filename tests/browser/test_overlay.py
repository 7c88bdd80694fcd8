"""Two journeys: two ρ of three variants on one figure, its best cell found and taken away; three studies on one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam_dash.results import words
from sam_dash.runs.store import Store
from tests.browser.driver import served, settle
from tests.browser.test_journey import FIGURE, downloaded
from tests.synthetic import SWEEP, fill

RHOS = replace(SWEEP, variants=("sgd", "nsam", "sam"), m=(8, 2, 1), knobs={"rho": (0.1, 0.2)})
WIDE = replace(RHOS, problem=replace(RHOS.problem, network="mlp:16"))
CLEAN = replace(RHOS, problem=replace(RHOS.problem, label_noise=0.0))
HAIRS = """() => [...document.querySelectorAll('.hair')].map(e => [e.getBoundingClientRect().left,
  e.parentElement.getBoundingClientRect().left])"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[tuple[str, list[str]]]:
    """A server, and the studies in its store."""
    folder = tmp_path_factory.mktemp("overlay")
    store = Store(folder / "store.db")
    ids = [fill(store, sweep) for sweep in (RHOS, WIDE, CLEAN)]
    store.close()
    with served(folder) as address:
        yield address, ids


@pytest.mark.timeout(180)
def test_two_rho_of_three_variants_are_overlaid_the_best_is_named_and_the_csv_is_the_figure(
    stored: tuple[str, list[str]], page: Any, tmp_path: Path
) -> None:
    address, ids = stored
    page.goto(f"{address}/sharpness?study={ids[0]}")
    settle(page, 90_000)
    page.get_by_role("combobox", name="ρ").click()
    page.get_by_role("option", name="All").click()
    page.wait_for_url(re.compile("at_rho=All"))
    page.get_by_text(re.compile("highest of 9 settings")).first.wait_for()
    settle(page, 90_000)
    frame = downloaded(page, "CSV", tmp_path)
    means = frame[(frame["kind"] == "mean") & (frame["quantity"] == "test_acc")]
    best = means.loc[means["y"].idxmax()]
    assert best["best"]
    said = page.get_by_text(re.compile("highest of 9 settings")).first.inner_text()
    assert f"SAM, m = {best['m']:g}, ρ = {best['rho']:g}: {words.show('test_acc', best['y'])}" in said
    traces = page.evaluate(FIGURE)[0]
    sam = frame[(frame["variant"] == "sam") & (frame["kind"] == "mean") & (frame["quantity"] == "tr_H")]
    for rho, of in sam.groupby("rho"):
        drawn = next(t for t in traces if t["name"] == f"SAM, ρ = {rho:g}" and t["mode"] == "lines+markers")
        assert drawn["y"] == list(of.sort_values("m")["y"])


@pytest.mark.timeout(180)
def test_three_studies_are_one_figure_with_one_hover_line_over_all_its_panels(
    stored: tuple[str, list[str]], page: Any, tmp_path: Path
) -> None:
    address, (first, wide, clean) = stored
    page.goto(f"{address}/sharpness?study={first}&with={wide},{clean}&facet=Study")
    settle(page, 90_000)
    frame = downloaded(page, "CSV", tmp_path)
    assert set(frame["study"]) == {"width 8, 40 % label noise", "width 16, 40 % label noise", "width 8, clean labels"}
    titles = page.locator(".js-plotly-plot .annotation-text").all_inner_texts()
    panels = len(titles)
    assert panels == 3 * frame["quantity"].nunique()
    panel = page.locator(".js-plotly-plot .nsewdrag").first
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("() => document.querySelectorAll('.hair').length")
    lines = page.evaluate(HAIRS)
    assert len(lines) == panels
    assert min(abs(left - box["x"] - box["width"] / 2) for left, _ in lines) < 2
    page.mouse.move(1, 1)
    page.wait_for_function("() => !document.querySelectorAll('.hair').length")
