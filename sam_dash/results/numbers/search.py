"""Rows found by words."""

from __future__ import annotations

import pandas as pd


def matching(texts: pd.Series[str], words: str) -> pd.Series[bool]:
    """Which texts, of lower case, hold every word, in any order and anywhere; all where there is none."""
    keep = pd.Series(True, index=texts.index)
    for word in words.lower().split():
        keep &= texts.str.contains(word, regex=False)
    return keep
