"""PyHessian's numbers beside ours: the second opinion, run by run and by setting."""

from __future__ import annotations

import math

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import cells, columns
from sam_dash.results.numbers import statistics, tables


def paired(finals: pd.DataFrame) -> pd.DataFrame:
    """Our estimate beside PyHessian's, run by run, each with its own standard error; empty where it was not asked."""
    index = ["run", "seed", *tables.cell(finals)]
    parts = []
    for quantity in ("tr_H", "lam_max"):
        ours = finals.loc[finals["quantity"] == quantity, [*index, "value", "stderr"]]
        other = finals.loc[finals["quantity"] == f"{quantity}_pyhessian", ["run", "value", "stderr"]]
        both = ours.merge(other, on="run", suffixes=("", "_pyhessian"))
        parts.append(both.assign(quantity=quantity))
    return pd.concat(parts, ignore_index=True)[
        [*index, "quantity", "value", "stderr", "value_pyhessian", "stderr_pyhessian"]
    ]


def table(opinions: pd.DataFrame, look: cells.Looks) -> pd.DataFrame:
    """`paired` for people: mean over the runs of a setting, each method with the standard error of one run."""
    told = tables.cell(opinions)
    rows = []
    for key, of in opinions.groupby(["quantity", *told], sort=False, dropna=False):
        ratio = statistics.mean(of["value_pyhessian"] / of["value"])
        line = look[dict(zip(told, key[1:], strict=True))]["line"]
        row: dict[str, object] = {"Setting": line, "Quantity": words.quantity(str(key[0])).name}
        for name, side in (("sam-dash", ""), ("PyHessian", "_pyhessian")):
            error = math.sqrt(float((of[f"stderr{side}"] ** 2).mean()))
            row |= {name: float(of[f"value{side}"].mean()), f"{name}, ±": error}
        rows.append(row | columns.spread("PyHessian / sam-dash", ratio) | {"Runs": ratio.n})
    return pd.DataFrame(rows)


def caption(opinions: pd.DataFrame) -> str:
    """What the numbers beside each other are."""
    return (
        f"Mean over the runs of a setting ({opinions['run'].nunique()} runs in all) ± the standard error of one run's "
        "estimate (root mean square; 0: exact; – where the method states none); the ratio with its 95 % t-interval "
        "over runs. Both look at the same weights."
    )
