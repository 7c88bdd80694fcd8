"""A figure with its caption, its data and its files: the same component on every page."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import paper
from sam_dash.results.files import export
from sam_dash.ui import frame as frame_
from sam_dash.ui import markdown, table

UNUSED = ["select2d", "lasso2d", "autoScale2d"]


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as a file of CSV."""
    return export.csv(frame).encode()


@st.fragment
def show(fig: go.Figure, frame: pd.DataFrame, caption: str, alt: str, name: str, key: str) -> None:
    """Draw `fig`, made from `frame` alone; the CSV is `frame`. Files are called `name`, URL parameters `key`_...."""
    image = {"format": "svg", "filename": name, "width": 1200, "height": int(fig.layout.height or 400)}
    config: dict[str, Any] = {
        "displaylogo": False,
        "toImageButtonOptions": image,
        "modeBarButtonsToRemove": UNUSED,
    }
    if frame_.touched():
        fig.update_layout(dragmode=False)
    chart, data, files = st.tabs(["Chart", "Data", "Export"], key=f"{key}_tab", bind="query-params")
    with chart:
        if frame_.waiting():
            st.skeleton(height=int(fig.layout.height or 400))
        else:
            st.plotly_chart(fig, key=f"fig_{name}", config=config, alt=alt, theme="streamlit")
        st.caption(markdown.unlinked(caption))
        _csv_button(frame, name, "csv")
    if data.open:
        with data:
            used = frame.dropna(axis=1, how="all")
            by = "panel" if "panel" in used else None
            table.show(used, f"The numbers of the figure {name}", by=by, height=280)
            st.caption("Exactly what is drawn: means with intervals, seeds. The CSV has all digits.")
    with files:
        _files(fig, frame, name, key)


def _csv_button(frame: pd.DataFrame, name: str, key: str) -> None:
    st.download_button(
        "CSV", partial(csv, frame), f"{name}.csv", "text/csv", key=f"{key}_{name}", on_click="ignore",
        icon=":material/download:", help="Exactly the numbers of this figure: means, intervals, seeds.",
    )  # fmt: skip


@st.cache_resource(show_spinner=False, ttl=600)
def chrome() -> str | None:
    """The Chrome that makes PDF and PNG, None where there is none."""
    return paper.chrome()


@st.cache_resource(show_spinner=False, on_release=lambda _: paper.stop())
def printer() -> Any:
    """Renders figures; its server starts with the first one and is ended when the app's cache is."""
    return paper.render


def _files(fig: go.Figure, frame: pd.DataFrame, name: str, key: str) -> None:
    """For print: a width, and a button a format; disabled, with the reason, where there is no Chrome."""
    able = chrome() is not None
    width = st.segmented_control(
        "Width", list(paper.WIDTHS), default="183 mm", required=True, key=f"{key}_width", bind="query-params",
        disabled=not able,
        help="One or two columns of a journal (89, 183 mm) or of a conference paper (3.25, 6.75 in).",
    )  # fmt: skip
    with st.container(horizontal=True):
        for kind, mime in paper.FORMATS.items():
            make = partial(printer(), fig, kind, paper.WIDTHS[width or "183 mm"]) if able else b""
            st.download_button(
                kind, make, f"{name}-{(width or '').replace(' ', '')}.{kind.lower()}", mime, disabled=not able,
                key=f"{kind}_{name}", on_click="ignore", icon=":material/download:",
                help="White background, 7 pt, fonts embedded" + (f", {paper.PNG_DPI} dpi" if kind == "PNG" else ""),
            )  # fmt: skip
        _csv_button(frame, name, "csv_again")
    if able:
        st.caption("On white, whatever the theme, panels wrapped to the width. The first file takes some seconds.")
    else:
        st.caption(f":material/print_disabled: {paper.NO_CHROME}")


def legend_of_quantities(quantities: list[str]) -> None:
    """What each quantity is, one line each."""
    st.markdown("\n".join(f"- **{words.quantity(q).name}**: {words.quantity(q).help}" for q in quantities))
