"""Quantities that are differences of measured ones, run by run: the generalisation gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd

GAPS = {"gap_acc": ("train_acc", "test_acc"), "gap_loss": ("test_loss", "train_loss")}
"""Name: (what it is taken from, what is taken away)."""


def with_gaps(finals: pd.DataFrame) -> pd.DataFrame:
    """The final values with a row more for each run and gap of which both sides were measured."""
    parts = [finals]
    for name, (plus, minus) in (GAPS | _own(finals)).items():
        taken = finals.loc[finals["quantity"] == minus].drop_duplicates("run").set_index("run")
        rows = finals[(finals["quantity"] == plus) & finals["run"].isin(taken.index)]
        if rows.empty:
            continue
        errors = np.hypot(rows["stderr"], rows["run"].map(taken["stderr"]))
        value = rows["value"] - rows["run"].map(taken["value"])
        parts.append(rows.assign(quantity=name, value=value, stderr=errors, method=f"{plus} - {minus}"))
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else finals


def _own(finals: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The gaps of scores that are no accuracy: an error grows from training to test, another score falls."""
    own = [q for q in dict.fromkeys(finals["quantity"]) if q.startswith(("test_score_", "test_error_"))]
    pairs = {q: (q, q.replace("test_", "train_", 1)) for q in own}
    return {
        q.replace("test_", "gap_", 1): pair if q.startswith("test_error_") else pair[::-1] for q, pair in pairs.items()
    }
