"""tr(V) at every m against the laws it should follow, and the noise scale.

Over the whole training set, disjoint groups of m random samples have mean gradients of covariance tr(V)/m. Around the
mean of their own batch of B the spread is smaller, as the groups are drawn from it without replacement:

    E ||gbar_m - gbar_B||^2 = tr(V)/m (B - m)/B = S/m (B - m)/(B - 1),   S = tr(V) (B - 1)/B that of the batch
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sam_dash.results import captions, cells, lines, statistics, style, tables
from sam_dash.results.study import Study

LAW, FACTOR = "tr(V)/m", "within a batch: tr(V)/m · (B−m)/B"
TITLES = {
    "law": "tr(<i>V</i>) of means of <i>m</i> samples",
    "ratio": "<i>m</i> · tr(<i>V</i>@<i>m</i>) / tr(<i>V</i>)",
}
AXES = lines.Axes("samples in the mean, <i>m</i> (log₂ scale)", "m", log2=True, logy=frozenset({"law"}), one="ratio")
SCALE = "noise_scale"


def per_run(finals: pd.DataFrame) -> pd.DataFrame:
    """Cell, seed, size and value of tr(V) at every size measured; size 1 is tr(V)."""
    of = finals[(finals["quantity"] == "tr_V") | finals["quantity"].str.startswith("tr_V@")]
    size = of["quantity"].str.partition("@")[2].replace("", "1").astype(float)
    return of.assign(size=size)[["run", *cells.KEY, "seed", "size", "value", "stderr"]]


def frame(finals: pd.DataFrame, batch: int, interval: str = "ci", sizes: tuple[int, ...] = ()) -> pd.DataFrame:
    """Panel "law": tr(V@m) of each cell with both laws; panel "ratio": m tr(V@m)/tr(V), paired by seed."""
    table = per_run(finals)
    base = table[table["size"] == 1].set_index("run")["value"]
    table = table[table["run"].isin(base.index)]
    table = table.assign(base=table["run"].map(base), ratio=table["value"] * table["size"] / table["run"].map(base))
    look = cells.by_key(cells.looks(table, batch, sizes))
    rows = []
    for _, cell in table.groupby(cells.KEY, dropna=False, sort=False):
        of = look[cells.key_of(tables.records(cell.head(1))[0])]
        common = {k: of[k] for k in ("line", *lines.LOOK)} | {"m_train": of["m"], "variant": of["variant"]}
        tr_v = float(cell.drop_duplicates("run")["base"].mean())
        for size, group in cell.groupby("size"):
            at = float(str(size))
            for panel, column in (("law", "value"), ("ratio", "ratio")):
                mean = statistics.mean(group[column], interval)
                here = common | {"panel": panel, "x": at}
                rows.append(here | {"kind": "mean", "y": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n})
                seeds = zip(group["seed"], group[column], strict=True)
                rows += [here | {"kind": "seed", "seed": s, "y": v} for s, v in seeds] if panel == "ratio" else []
            theory = common | {"panel": "law", "x": at, "kind": "reference", "colour": style.GREY, "marker": "circle"}
            rows.append(theory | {"line": f"{of['line']}: {LAW}", "dash": "dot", "y": tr_v / at})
            if at < batch:
                inside = tr_v / at * (batch - at) / batch
                rows.append(theory | {"line": f"{of['line']}: {FACTOR}", "dash": "dash", "y": inside})
    return pd.DataFrame(rows, columns=[*lines.COLUMNS, "variant", "m_train", *lines.LOOK])


def caption(study: Study, table: pd.DataFrame, interval: str) -> str:
    """What is measured, and what the two reference lines are."""
    return (
        f"Mean over {captions.seeds(table)}; bars: {statistics.INTERVALS[interval]} over seeds. tr(V) of means of m "
        "samples, over disjoint random groups of the training set, unbiased. Dotted: tr(V)/m. Dashed: what groups cut "
        "from one batch of B spread around *its* mean, tr(V)/m · (B−m)/B, which is the finite-population factor "
        "(B−m)/(B−1) times the batch's own covariance (with 1/B); it is 0 at m = B. Right: 1 is the law. "
        f"{captions.setting(study.spec)}."
    )


def findings(table: pd.DataFrame) -> list[str]:
    """Where the law fails: the sizes at which the interval of the ratio does not contain 1."""
    out = []
    ratio = table[(table["panel"] == "ratio") & (table["kind"] == "mean") & (table["x"] > 1)]
    for line, of in ratio.groupby("line", sort=False):
        judged = of[of["n"] > 1]
        if judged.empty:
            out.append(f"{line}: one seed, so the 1/m law cannot be judged.")
            continue
        off = judged[(judged["low"] > 1) | (judged["high"] < 1)]
        if off.empty:
            out.append(f"{line}: tr(V) at m agrees with tr(V)/m at all {len(judged)} sizes, within their intervals.")
        else:
            at = captions.listed(f"m = {r['x']:g} ({style.number(r['y'])} ×)" for r in tables.records(off))
            out.append(f"{line}: tr(V) at m is off tr(V)/m at {at}; of {len(judged)} intervals, some miss by chance.")
    return out


def scales(finals: pd.DataFrame) -> pd.DataFrame:
    """Final values of one more quantity, tr(V)/||G||^2 of each run; nan where the unbiased ||G||^2 is not positive."""
    signal = finals[finals["quantity"] == "grad_sq"].drop_duplicates("run").set_index("run")["value"]
    rows = finals[(finals["quantity"] == "tr_V") & finals["run"].isin(signal.index)]
    g = rows["run"].map(signal).astype(float)
    value = (rows["value"] / g).where(g > 0, math.nan)
    return rows.assign(quantity=SCALE, value=value, stderr=np.nan, method="tr(V) / unbiased ||G||^2")


def scale_table(rows: pd.DataFrame, runs: pd.DataFrame, batch: int) -> pd.DataFrame:
    """One row a cell: mean over the seeds where it exists, interval, and in how many seeds there is none."""
    look = cells.by_key(cells.looks(runs, batch))
    out = []
    for _, of in rows.groupby(cells.KEY, dropna=False, sort=False):
        mean = statistics.mean(of["value"])
        ends = f"{style.number(mean.low)} … {style.number(mean.high)}" if mean.n > 1 else "–"
        out.append(
            {
                "Setting": look[cells.key_of(tables.records(of.head(1))[0])]["line"],
                "Noise scale B_simple": style.number(mean.mean), "95 % t-interval": ends, "Seeds": mean.n,
                "Seeds without one": int(of["value"].isna().sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(out)


SCALE_NOTE = (
    "B_simple = tr(V) / ‖G‖² (McCandlish et al., arXiv:1812.06162): the batch at which noise and gradient are as "
    "strong as each other. ‖G‖² is ‖mean gradient‖² − tr(V)/n, without the bias that noise adds; at the end of "
    "training it can come out ≤ 0, and then there is no noise scale (counted in the last column, not averaged in)."
)
