"""Two runs side by side: in what their settings differ, and in what they came out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sam_dash.results import words


def flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A specification as one level: training.lr, knobs.rho, ..."""
    out: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return out


def settings(a: Mapping[str, Any], b: Mapping[str, Any], only_different: bool = True) -> pd.DataFrame:
    """Setting, its value in a and in b as text, and whether they differ; by default only where they do."""
    one, two = flat(a), flat(b)
    rows = []
    for key in dict.fromkeys([*one, *two]):
        left, right = _text(one.get(key)), _text(two.get(key))
        if not only_different or left != right:
            rows.append({"Setting": key, "A": left, "B": right, "Differs": left != right})
    return pd.DataFrame(rows, columns=["Setting", "A", "B", "Differs"])


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def outcomes(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The last measurement of each quantity in both runs, with each estimator's error, and B − A."""
    columns = ["quantity", "value", "stderr"]
    both = a[columns].merge(b[columns], on="quantity", how="outer", suffixes=("_a", "_b"), sort=False)
    rank = {q: i for i, q in enumerate(words.QUANTITIES)}
    both = both.sort_values("quantity", key=lambda s: s.map(lambda q: rank.get(q, len(rank))), kind="stable")
    rows = []
    for q, value_a, error_a, value_b, error_b in both.itertuples(index=False):
        errors = (e if e > 0 and not words.is_fraction(q) else math.nan for e in (error_a, error_b))
        values = (words.in_unit(q, v) for v in (value_a, value_b, value_b - value_a))
        (a_, b_, change), (of_a, of_b) = values, errors
        rows.append((words.labelled(q), a_, of_a, b_, of_b, change))
    return pd.DataFrame(rows, columns=["Quantity", "A", "A, ±", "B", "B, ±", "B − A"])


def sentence(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """What a comparison of two single runs can and cannot show."""
    different = set(settings(a, b)["Setting"])
    if not different:
        return "The two specifications are the same."
    if different == {"seed"}:
        return "They differ by the seed alone: what differs below is chance."
    if "seed" in different:
        return "Their seeds differ too, so that chance is in every difference: compare runs of one seed."
    if a["seed"] == b["seed"] and a["problem"] == b["problem"]:
        return (
            "Same seed, hence the same initial weights and noisy labels. ± is the error of one estimate. One pair of "
            "runs is one replicate: the page Sharpness has the interval over seeds."
        )
    return "They differ in the problem: the numbers are not comparable as they stand."
