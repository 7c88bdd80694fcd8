"""A real server and a real browser, for the journey and for the screenshots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SERVE = (sys.executable, "-m", "sam_dash", "serve")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
# "notRunning" alone is not enough: chunks of JavaScript load after the script has ended
IDLE = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  if (!app || app.dataset.testConnectionState !== 'CONNECTED') return false;
  if (app.dataset.testScriptState !== 'notRunning') return false;
  const main = '[data-testid="stMainBlockContainer"] [data-testid="stElementContainer"]';
  if (!document.querySelector(main)) return false;
  if (document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]')) return false;
  for (const chart of document.querySelectorAll('[data-testid="stPlotlyChart"]'))
    if (!chart.querySelector('.main-svg')) return false;
  // what was stale is pale until its transition has ended
  if (document.getAnimations().some(a => a instanceof CSSTransition && a.playState === 'running')) return false;
  return document.fonts.status === 'loaded';
}"""


def browser_path() -> str | None:
    """A Chromium or Chrome on PATH; None to use Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def launch(playwright: Any) -> Any:
    """A headless Chromium."""
    return playwright.chromium.launch(executable_path=browser_path(), headless=True, args=ARGS)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def served(
    folder: Path, env: Mapping[str, str] | None = None, serve: Sequence[str] = SERVE, cwd: Path = ROOT
) -> Iterator[str]:  # fmt: skip
    """The dashboard on a free port with its store, cache and data under `folder`; its address."""
    port = free_port()
    home = {"XDG_DATA_HOME": str(folder / "data"), "HOME": str(folder)}
    own = os.environ | home | {"SAM_DASH_STORE": str(folder / "store.db")} | dict(env or {})
    command = [*serve, "--", "--server.headless=true", f"--server.port={port}"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=cwd, env=own, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(server, address, folder / "server.log")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the server has ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server does not answer: {log.read_text()[-2000:]}")


def settle(page: Any, timeout: float = 30_000) -> None:
    """Wait until the page has nothing more to draw. Not for a page with a live view, which is never idle for long."""
    page.wait_for_function(IDLE, timeout=timeout)
    page.wait_for_timeout(150)
    page.wait_for_function(IDLE, timeout=timeout)


def in_navigation(page: Any, group: str, title: str) -> Any:
    """A page's name in the navigation, where its group is opened if it has one."""
    if not group:
        return page.get_by_test_id("stTopNavLink").get_by_text(title, exact=True)
    found = page.get_by_test_id("stTopNavDropdownLink").get_by_text(title, exact=True)
    if not found.count():
        page.get_by_test_id("stTopNavSection").get_by_text(group, exact=True).click()
    return found


def full_shot(page: Any, path: Path, width: int = 1280, idle: bool = True) -> None:
    """A screenshot of the whole page: Streamlit scrolls its main element, so the window is made that high."""
    height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(600, min(int(height), 6000))})
    settle(page) if idle else page.wait_for_timeout(1500)
    page.screenshot(path=str(path))
