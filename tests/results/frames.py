"""A hand-made study of twelve final values: SGD, and SAM at m = 4 and m = 1, two quantities, two seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.drawing import cells, figures
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs.spec import Problem, SweepSpec, Training

SWEEP = SweepSpec(
    variants=("sgd", "sam"), m=(4, 1), knobs={"rho": (0.1,)}, seeds=(0, 1),
    problem=Problem(network="mlp:8", label_noise=0.4), training=Training(batch=4, epochs=1),
)  # fmt: skip
VALUES = {
    ("sgd", None): {"tr_H": (100.0, 104.0), "test_acc": (0.70, 0.72)},
    ("sam", 4): {"tr_H": (70.0, 74.0), "test_acc": (0.75, 0.71)},
    ("sam", 1): {"tr_H": (24.0, 25.0), "test_acc": (0.80, 0.74)},
}


def study(status: str = "done") -> Study:
    """The study; `status` is that of SAM's last run (m = 1, seed 1)."""
    records, rows = [], []
    for run in SWEEP.runs():
        last = (run.variant, run.m, run.seed) == ("sam", 1, 1)
        fate = status if last else "done"
        records.append({"key": run.key, "spec": run.to_dict(), "status": fate, "step": 10, "steps": 10})
        for quantity, values in VALUES[run.variant, run.m].items():
            error = 0.5 if quantity == "tr_H" else 0.0
            row = {"run": run.key, "step": 10, "epoch": 1.0, "quantity": quantity, "value": values[run.seed]}
            rows.append(row | {"stderr": error, "method": "by hand", "budget": 1, "converged": True})
    runs, last_rows = tables.runs_frame(records), tables.curves_frame(rows)
    return Study("0123456789ab", SWEEP, runs, tables.finals(runs, last_rows))


def summary(status: str = "done", **options: object) -> pd.DataFrame:
    """The frame of its figure."""
    s = study(status)
    return tables.summary(s.finals, s.runs, ("tr_H", "test_acc"), **options)  # type: ignore[arg-type]


def multiples(frame: pd.DataFrame, x: str, **options: Any) -> go.Figure:
    """The figure of a frame, of which all cells are known."""
    return figures.multiples(frame, x, cells.Looks(frame, SWEEP.training.batch), **options)
