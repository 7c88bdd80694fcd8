"""RW-SAM over lambda, beside SAM at m = B."""

from __future__ import annotations

import pandas as pd

from sam_dash.results import words
from sam_dash.results.numbers import tables
from sam_dash.results.views.sharpness import Multiples
from sam_dash.results.views.view import Selection


class RwSam(Multiples):
    """Over λ, of what has no micro-batches."""

    key, title, page = "rw_sam", "RW-SAM over λ", "rw_sam"
    x, usual = "lam", words.RW_SAM
    silent = "A single λ: nothing to compare along the axis."

    def rows(self, at: Selection) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Final values and runs at m = B, or without an m."""
        return tables.at_full_batch(at.finals, at.batch), tables.at_full_batch(at.runs, at.batch)


VIEW = RwSam()
