"""How fast the pages answer with 2000 runs in the store, and how large the app is: `python -m benchmarks.pages`.

A store of invented runs, a real server and a real Chromium. Each page is opened once, then again from the navigation:
timed from the click until the page has nothing more to draw.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

from sam_dash.runs.store import Store
from sam_dash.ui.router import PAGES
from tests.browser.driver import IDLE, launch, served, settle
from tests.synthetic import SWEEP, fill

LIMIT_S, LIMIT_MB = 1.0, 300
REPEATS = 3
LARGE = replace(SWEEP, seeds=tuple(range(30)), training=replace(SWEEP.training, epochs=20))  # 9 cells: 270 runs
SMALL = [
    replace(SWEEP, seeds=tuple(range(10)), training=replace(SWEEP.training, epochs=20, lr=0.1 + 0.001 * i))
    for i in range(1, 20)
]  # 19 studies of 90 runs, and one of 27


def populate(path: Path) -> int:
    """Fill a store; the number of its runs."""
    store = Store(path)
    fill(store, replace(SMALL[0], seeds=(90, 91, 92), training=replace(SWEEP.training, lr=0.3)))
    for sweep in [*SMALL, LARGE]:
        fill(store, sweep)
    total = len(store.runs())
    store.close()
    return total


def server(port: str) -> psutil.Process:
    """The app's process, not that of its engine."""
    mine = psutil.Process(os.getpid()).children(recursive=True)
    return next(p for p in mine if f"--server.port={port}" in p.cmdline())


def measure(address: str, browser: Any) -> list[tuple[str, float, float, float]]:
    """Per page: title, seconds of the first load, median seconds of later ones, and MB of the app after them."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    app = server(address.rpartition(":")[2])
    page.goto(address)
    settle(page)
    rows = {}
    for turn in range(REPEATS + 1):
        for title in PAGES.values():
            begun = time.perf_counter()
            page.get_by_role("link", name=title, exact=True).first.click()
            page.wait_for_function(
                "title => document.title === title && (" + IDLE + ")()", arg=title, timeout=60_000, polling=20
            )
            took = time.perf_counter() - begun
            first, later, _ = rows.get(title, (took, [], 0.0))
            rows[title] = (first, [*later, took] if turn else later, app.memory_info().rss / 1e6)
    return [(title, first, statistics.median(later), mb) for title, (first, later, mb) in rows.items()]


def main() -> int:
    """Print the table; 1 if a limit is broken."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = populate(folder / "store.db")
        with served(folder) as address, sync_playwright() as playwright:
            rows = measure(address, launch(playwright))
    print(
        f"{total} runs, {len(SMALL) + 2} studies, the largest of {len(LARGE.runs())}; {os.cpu_count()} cores,", end=" "
    )
    print("load average " + ", ".join(f"{x:.1f}" for x in os.getloadavg()) + "\n")
    print("| page | first load (s) | then, median of 3 (s) | app (MB) |\n| --- | --- | --- | --- |")
    for title, first, later, mb in rows:
        print(f"| {title} | {first:.2f} | {later:.2f} | {mb:.0f} |")
    slow = [title for title, _, later, mb in rows if later >= LIMIT_S or mb >= LIMIT_MB]
    print(f"\nover {LIMIT_S:g} s or {LIMIT_MB} MB: {', '.join(slow) or 'none'}")
    return int(bool(slow))


if __name__ == "__main__":
    raise SystemExit(main())
