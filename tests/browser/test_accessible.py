"""axe-core in the real browser, every page, light and dark: no serious violation that is ours to fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_dash.runs.store import Store
from sam_dash.ui.router import PAGES
from tests.browser.driver import served, settle
from tests.synthetic import SWEEP, fill

axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")

# Streamlit's own, by rule and by what it says of the element: no page can change them
KNOWN = {
    ("color-contrast", r"^<kbd"): "the hint of a shortcut on a button, drawn at part of the button's contrast",
    ("color-contrast", r"foreground color: #207ab1"): "a chosen pill in the dark: the primary colour as text, which "
    "white must be readable on, in buttons and chips, too; there is one setting for both (here 3.5)",
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("axe")
    store = Store(folder / "store.db")
    keys = [r.key for r in SWEEP.runs()]
    fill(store, SWEEP, {keys[4]: "failed", keys[9]: "diverged"})
    store.close()
    with served(folder) as address:
        yield address


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_violation_of_ours(filled: str, browser: Any, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    run = SWEEP.runs()[0].key
    found: list[str] = []
    for name in PAGES:
        page.goto(f"{filled}/{'' if name == 'overview' else name}?run={run}")
        settle(page)
        for v in axe_api.Axe().run(page).response["violations"]:
            if v["impact"] in ("serious", "critical"):
                found += [f"{name}: {v['id']}: {_said(n)}" for n in v["nodes"] if not _known(v["id"], _said(n))]
    context.close()
    assert not found, "\n".join(found)


def _known(rule: str, said: str) -> bool:
    return any(rule == known and re.search(pattern, said) for known, pattern in KNOWN)


def _said(node: dict[str, Any]) -> str:
    return f"{node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
