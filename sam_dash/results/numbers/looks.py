"""The main numbers of one or two checkpoints that were looked at, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

SHARP = {"tr_H": "tr(H)", "eigenvalue@1": "λ₁", "eigenvalue@2": "λ₂", "eigenvalue@3": "λ₃"}
SPLITS = {"train": "Training", "test": "Test"}


def table(answers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row a number, a column a checkpoint and its error."""
    columns = {name: _numbers(answer) for name, answer in answers.items()}
    rows = list(dict.fromkeys(key for found in columns.values() for key in found))
    out: dict[str, Sequence[Any]] = {"Number": rows}
    for name, found in columns.items():
        out[name] = [found.get(key, (math.nan, math.nan))[0] for key in rows]
        out[f"{name}, ±"] = [found.get(key, (math.nan, math.nan))[1] for key in rows]
    return pd.DataFrame(out)


def _numbers(answer: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Value and standard error (of samples, or of the estimator) by name."""
    about = answer["about"]
    out: dict[str, tuple[float, float]] = {}
    score = about["score"]
    for row in about["scores"]:
        where = f"{SPLITS[row['split']]} loss, {row['n']} samples"
        out[where] = (row["loss"], _number(row["stderr"]))
        if score and row["score"] is not None:
            name = "accuracy (%)" if score == "acc" else score.partition("_")[2]
            error = 100 * math.sqrt(row["score"] * (1 - row["score"]) / row["n"]) if score == "acc" else math.nan
            scale = 100 if score == "acc" else 1
            out[f"{SPLITS[row['split']]} {name}"] = (scale * row["score"], error)
    measured = {row["quantity"]: row for row in answer["measured"]}
    for key, name in SHARP.items():
        if key in measured:
            out[name] = (measured[key]["value"], _number(measured[key]["stderr"]))
    out["‖w‖"] = (about["norm"], 0.0)
    if about["distance"] is not None:
        out["Distance to the other"] = (about["distance"], 0.0)
    return out


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def caption(answers: Mapping[str, Mapping[str, Any]]) -> str:
    """What the errors are, and the rule for reading the numbers."""
    d = next(iter(answers.values()))["about"]["parameters"]
    return (
        f"{d} parameters. ± is a standard error over the samples taken as draws, of λ the bound that Lanczos' residual "
        "gives, 0 where the value is exact for the samples. They are errors at these weights, not the spread over "
        "seeds: one checkpoint is one draw. Under the cross-entropy H falls with the training loss alone: compare at "
        "equal loss, or with the loss beside it."
    )
