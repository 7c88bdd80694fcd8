"""m-sharpness of the final weights: over the m of the measurement, one line for each m of the training."""

from __future__ import annotations

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, lines
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.study import Study

BASE = "m_sharp@"
AXES = lines.Axes(
    "<i>m</i> of the measurement, <i>m</i><sub>eval</sub> (log₂ scale)",
    "m_eval",
    log2=True,
    logy=frozenset({"m_sharp"}),
)


def measured(finals: pd.DataFrame) -> bool:
    """Whether a study has it."""
    return bool(finals["quantity"].str.startswith(BASE).any())


def frame(finals: pd.DataFrame, runs: pd.DataFrame, batch: int, interval: str = "ci") -> pd.DataFrame:
    """Mean, interval and seeds of every cell at every m_eval."""
    wanted = [q for q in dict.fromkeys(finals["quantity"]) if q.startswith(BASE)]
    table = tables.summary(finals, runs, wanted, interval)
    look = cells.by_key(cells.looks(table, batch))
    rows = []
    for r in tables.records(table):
        of = look[cells.key_of(r)]
        at = float(r["quantity"].removeprefix(BASE))
        rows.append({k: of[k] for k in ("line", *lines.LOOK)} | {"panel": "m_sharp", "x": at, "m_train": r["m"]} | {
            k: r[k] for k in ("variant", "kind", "seed", "y", "low", "high", "n", "stderr", "run")
        })  # fmt: skip
    columns = [*lines.COLUMNS, "variant", "m_train", "stderr", "run", *lines.LOOK]
    return pd.DataFrame(rows, columns=columns)


def caption(study: Study, table: pd.DataFrame, interval: str = "ci") -> str:
    """What the two m are, how it was measured, over how many seeds."""
    return (
        f"Mean over {captions.over(table, interval)}. The horizontal axis is "
        "the micro-batch size that the *finished* weights are measured with; the lines are the sizes they were trained "
        "with. One ascent step of ρ = 0.05 per disjoint micro-batch, whatever ρ the training had: a lower bound of the "
        f"largest rise within that radius. {captions.setting(study.spec)}. {captions.radius(study.finals)}"
    )


def findings(table: pd.DataFrame) -> list[str]:
    """At the smallest and the largest m_eval: for which training it is smallest and largest, seed by seed."""
    out = []
    for at in sorted({min(table["x"]), max(table["x"])}) if len(table) else []:
        seeds = table[(table["x"] == at) & (table["kind"] == "seed")]
        by = {str(k): dict(zip(v["seed"], v["y"], strict=True)) for k, v in seeds.groupby("line", sort=False)}
        if len(by) > 1:
            what = f"Measured at m = {at:g}, the m-sharpness is"
            out.append(statistics.extremes(by, what, lambda v: words.number(v, keep=True)))
    return out
