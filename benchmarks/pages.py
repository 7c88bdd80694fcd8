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
from typing import Any, NamedTuple

import psutil
from playwright.sync_api import sync_playwright

from sam_dash.runs.store import Store
from sam_dash.ui.router import GROUPS, PAGES
from tests.browser.driver import IDLE, in_navigation, launch, served, settle
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


class Row(NamedTuple):
    """A page: seconds of the first load, median seconds of later ones, of the app's processor in them, and its MB."""

    title: str
    first: float
    later: float
    processor: float
    mb: float


def measure(address: str, browser: Any) -> list[Row]:
    """Visit every page from the navigation, `REPEATS` times after the first."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    app = server(address.rpartition(":")[2])
    page.goto(address)
    settle(page)
    of = {title: group for group, files in GROUPS.items() for title in files.values()}
    seen: dict[str, list[tuple[float, float]]] = {title: [] for title in PAGES.values()}
    for _ in range(REPEATS + 1):
        for title, visits in seen.items():
            begun, used = time.perf_counter(), app.cpu_times().user
            in_navigation(page, of[title], title).click()
            page.wait_for_function(
                "title => document.title === title && (" + IDLE + ")()", arg=title, timeout=60_000, polling=20
            )
            visits.append((time.perf_counter() - begun, app.cpu_times().user - used))
    mb = app.memory_info().rss / 1e6
    return [
        Row(title, v[0][0], *(statistics.median(column) for column in zip(*v[1:], strict=True)), mb)
        for title, v in seen.items()
    ]


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
    print("| page | first load (s) | then, median of 3 (s) | of it the app's processor (s) |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.title} | {row.first:.2f} | {row.later:.2f} | {row.processor:.2f} |")
    print(f"\nthe app's process after all of it: {rows[0].mb:.0f} MB")
    over = [row.title for row in rows if row.later >= LIMIT_S] + ["memory"] * (rows[0].mb >= LIMIT_MB)
    print(f"over {LIMIT_S:g} s or {LIMIT_MB} MB: {', '.join(over) or 'none'}")
    return int(bool(over))


if __name__ == "__main__":
    raise SystemExit(main())
