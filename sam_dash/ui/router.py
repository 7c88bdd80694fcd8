"""Navigation, in the one place that lists the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

ROUTED = "_routed"
# no icons: Streamlit makes the page's icon the favicon, and fetches that from fonts.gstatic.com
PAGES = {
    "overview": "Overview", "run": "Run", "sharpness": "Sharpness", "rho_m": "ρ × m", "matched": "Matched",
    "rw_sam": "RW-SAM", "noise": "Noise", "dynamics": "Dynamics", "saddles": "Saddles",
    "experiments": "Experiments", "claims": "Claims",
    "estimators": "Estimators", "runs": "Runs", "export": "Take away",
}  # fmt: skip
FAVICON = (Path(__file__).parent / "favicon.svg").read_text(encoding="utf-8")


def build() -> Any:
    """The navigation, on top: the figures want the width. `.run()` of what it returns runs the chosen page."""
    pages = [st.Page(f"pages/{file}.py", title=title, default=file == "overview") for file, title in PAGES.items()]
    return st.navigation(pages, position="top")


def ensure_routed() -> None:
    """First line of every page.

    Until a session has called st.navigation, Streamlit serves a deep link by its old rule for a folder named pages/:
    the page without app.py round it. Calling it here and starting over puts the page into its frame.
    """
    if not st.session_state.get(ROUTED):
        build()
        st.rerun()
