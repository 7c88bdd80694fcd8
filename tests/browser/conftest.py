"""One server and one browser for all browser tests; skipped, saying so, where there is no Chromium."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_dash.runs.store import Store
from tests.browser.driver import launch, served
from tests.synthetic import SWEEP, fill

PROBE = re.compile(r"/\w+/_stcore/(health|host-config)$")
FILLED = dataclasses.replace(SWEEP, problem=dataclasses.replace(SWEEP.problem, label_noise=0.3))
playwright_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose store holds one study, of which a run failed and another diverged."""
    folder = tmp_path_factory.mktemp("served")
    store = Store(folder / "store.db")
    runs = FILLED.runs()
    fill(store, FILLED, {runs[4].key: "failed", runs[9].key: "diverged"})
    store.close()
    with served(folder) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        try:
            found = launch(playwright)
        except playwright_api.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield found
        found.close()


class Watch:
    """What went wrong in a page: console errors, exceptions, and requests to other machines."""

    def __init__(self, page: Any) -> None:
        self.errors: list[str] = []
        self.abroad: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        """Errors, but not that Streamlit looks for its server below a deep link first, and gets a 404."""
        if message.type == "error" and not PROBE.search(message.location.get("url", "")):
            self.errors.append(f"{message.text} {message.location}")

    def _request(self, request: Any) -> None:
        local = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "file:")
        if not request.url.startswith(local):
            self.abroad.append(request.url)


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A page that fails the test if it logged an error or asked another machine for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    found = context.new_page()
    watch = Watch(found)
    yield found
    if os.environ.get("SAM_DASH_SHOTS"):
        found.screenshot(path=str(Path(os.environ["SAM_DASH_SHOTS"]) / f"{tmp_path.name}.png"))
    context.close()
    assert watch.errors == []
    assert watch.abroad == []
