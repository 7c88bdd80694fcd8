"""Screenshots of every page, light and dark: python -m tests.browser.screenshots OUT [--store FILE] [--page run]."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from sam_dash.ui import router
from tests.browser.driver import full_shot, launch, served, settle

PAGES = ("", *(name for name in router.PAGES if name != "overview"))
WIDTHS = {"wide": 1280, "phone": 390}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--store", type=Path, help="a store to show (copied); empty otherwise")
    parser.add_argument("--page", nargs="*", default=list(PAGES), help="for example sharpness?study=...")
    parser.add_argument("--phone", action="store_true", help="at the width of a telephone")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.store:
            for file in args.store.parent.glob(args.store.name + "*"):
                shutil.copy(file, folder / file.name.replace(args.store.name, "store.db"))
        with served(folder) as address, sync_playwright() as playwright:
            browser = launch(playwright)
            for scheme in ("light", "dark"):
                width = WIDTHS["phone" if args.phone else "wide"]
                agent = playwright.devices["Pixel 7"]["user_agent"] if args.phone else None
                window = {"width": width, "height": 800}
                context = browser.new_context(color_scheme=scheme, viewport=window, user_agent=agent)
                page = context.new_page()
                for query in args.page:
                    page.set_viewport_size(window)
                    page.goto(f"{address}/{query}")
                    settle(page)
                    stem = query.replace("?", "-").replace("&", "-").replace("=", "-") or "overview"
                    path = args.out / f"{stem}-{scheme}{'-phone' if args.phone else ''}.png"
                    full_shot(page, path, width)
                    print(path)
                context.close()


if __name__ == "__main__":
    main()
