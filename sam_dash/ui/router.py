"""Navigation, in the one place that lists the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

ROUTED = "_routed"
# no icons: Streamlit makes the page's icon the favicon, and fetches that from fonts.gstatic.com
GROUPS = {
    "": {"overview": "Overview", "run": "Run"},
    "Results": {
        "sharpness": "Sharpness", "rho_m": "ρ × m", "dynamics": "Dynamics", "rw_sam": "RW-SAM", "noise": "Noise",
    },
    "Checks": {
        "matched": "Matched", "claims": "Claims", "decide": "Decide", "audit": "Audit", "estimators": "Estimators",
    },
    "Theory": {"theory": "SDE", "saddles": "Saddles", "experiments": "Experiments", "paper": "Paper"},
    "Data": {"runs": "Runs", "checkpoints": "Checkpoints", "export": "Export"},
}  # fmt: skip
"""The pages, by the name of their file, as the navigation groups them: a new one is a line. Those of "" stand alone."""
PAGES = {file: title for group in GROUPS.values() for file, title in group.items()}
FAVICON = (Path(__file__).parent / "favicon.svg").read_text(encoding="utf-8")


def build() -> Any:
    """The navigation, on top as figures want the width. `.run()` of what it returns runs the chosen page."""
    pages = {
        group: [st.Page(f"pages/{file}.py", title=title, default=file == "overview") for file, title in files.items()]
        for group, files in GROUPS.items()
    }
    return st.navigation(pages, position="top")


def ensure_routed() -> None:
    """First line of every page.

    Until a session has called st.navigation, Streamlit serves a deep link by its old rule for a folder named pages/:
    the page without app.py round it. Calling it here and starting over puts the page into its frame.
    """
    if not st.session_state.get(ROUTED):
        build()
        st.rerun()
