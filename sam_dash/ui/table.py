"""A table on a page: numbers stay numbers, so that they sort and stand at the right."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results.drawing import columns

MOST = 4000
"""Cells from which on a table is written by the browser, to four digits: to write them here would take a second."""


def show(frame: pd.DataFrame, alt: str, *, by: str | None = None, **options: Any) -> Any:
    """Show `frame`; `by` as in `columns.written`, `options` those of st.dataframe; returns its event."""
    given: dict[str, Any] = {"hide_index": True, "placeholder": columns.MISSING, "alt": alt} | options
    if frame.size <= MOST:
        return st.dataframe(columns.styled(frame, by), **given)
    four = {str(c): st.column_config.NumberColumn(format="%.4g") for c in frame.select_dtypes("float")}
    return st.dataframe(frame, **{"column_config": four, **given})
