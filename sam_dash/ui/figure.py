"""A figure with its caption, its CSV and its data: the same component on every page."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sam_dash.results import style


def columns(wide: int) -> int:
    """Panels in a row: `wide`, two on a telephone."""
    return 2 if "Mobi" in (st.context.headers.get("User-Agent") or "") else wide


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as UTF-8 CSV, every number with all its digits."""
    return frame.to_csv(index=False).encode()


def show(fig: go.Figure, frame: pd.DataFrame, caption: str, alt: str, name: str) -> None:
    """Draw `fig`, made from `frame` alone; the CSV is `frame`."""
    image = {"format": "svg", "filename": name, "width": 1200, "height": int(fig.layout.height or 400)}
    config: dict[str, Any] = {
        "displaylogo": False,
        "toImageButtonOptions": image,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    }
    st.plotly_chart(fig, key=f"fig_{name}", config=config, alt=alt, theme="streamlit")
    st.caption(caption)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "CSV", csv(frame), f"{name}.csv", "text/csv", key=f"csv_{name}", on_click="ignore",
            icon=":material/download:", help="Exactly the numbers of this figure: means, intervals, seeds.",
        )  # fmt: skip
        st.caption("SVG: the camera in the figure's tool bar.")
    with st.expander("Data", icon=":material/table_rows:"):
        table(frame, alt=f"The numbers of the figure {name}")


def table(frame: pd.DataFrame, alt: str) -> None:
    """The frame for reading: empty columns left out, numbers shortened on screen only."""
    used = frame.dropna(axis=1, how="all")
    number = st.column_config.NumberColumn
    formats = {c: number(format="%.4g") for c in ("y", "low", "high", "stderr", "value", "rho", "lam") if c in used}
    st.dataframe(used, hide_index=True, column_config=formats, alt=alt, placeholder="–", height=280)


def legend_of_quantities(quantities: list[str]) -> None:
    """What each quantity is, one line each."""
    st.markdown("\n".join(f"- **{style.quantity(q).name}**: {style.quantity(q).help}" for q in quantities))
