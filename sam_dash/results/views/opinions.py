"""PyHessian's numbers beside ours: the second opinion, run by run and by setting."""

from __future__ import annotations

import math

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import cells
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
        ends = "" if ratio.n < 2 else f" [{words.number(ratio.low, 4, True)}, {words.number(ratio.high, 4, True)}]"
        rows.append(
            {
                "Setting": look[dict(zip(told, key[1:], strict=True))]["line"],
                "Quantity": words.quantity(str(key[0])).name,
                "sam-dash": _with_error(of["value"], of["stderr"]),
                "PyHessian": _with_error(of["value_pyhessian"], of["stderr_pyhessian"]),
                "PyHessian / sam-dash": f"{words.number(ratio.mean, 4, True)}{ends}", "Runs": ratio.n,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _with_error(values: pd.Series[float], errors: pd.Series[float]) -> str:
    error = math.sqrt(float((errors**2).mean()))
    mean = words.number(float(values.mean()), keep=True)
    return f"{mean} (exact)" if error == 0 else f"{mean} ± {words.number(error, 2)}"


def caption(opinions: pd.DataFrame) -> str:
    """What the numbers beside each other are."""
    return (
        f"Mean over the runs of a setting ({opinions['run'].nunique()} runs in all) ± the standard error of one run's "
        "estimate (root mean square; – where the method states none); the ratio with its 95 % t-interval over runs. "
        "Both look at the same weights."
    )
