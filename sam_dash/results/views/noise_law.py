"""tr(V) at every m against the laws it should follow, and the noise scale.

Over the whole training set, disjoint groups of m random samples have mean gradients of covariance tr(V)/m. Around the
mean of their own batch of B the spread is smaller, as the groups are drawn from it without replacement:

    E ||gbar_m - gbar_B||^2 = tr(V)/m (B - m)/B = S/m (B - m)/(B - 1),   S = tr(V) (B - 1)/B that of the batch
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, columns, lines, style
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.view import Missing, Selection, StudyView

LAW, FACTOR = "tr(V)/m", "within a batch: tr(V)/m · (B−m)/B"
TITLES = {
    "law": "tr(<i>V</i>) of means of <i>m</i> samples",
    "ratio": "<i>m</i> · tr(<i>V</i>@<i>m</i>) / tr(<i>V</i>)",
}
AXES = lines.Axes("samples in the mean, <i>m</i> (log₂ scale)", "m", log2=True, logy=frozenset({"law"}), one="ratio")


def per_run(finals: pd.DataFrame) -> pd.DataFrame:
    """Cell, seed, size and value of tr(V) at every size measured; size 1 is tr(V)."""
    of = finals[(finals["quantity"] == "tr_V") | finals["quantity"].str.startswith("tr_V@")]
    size = of["quantity"].str.partition("@")[2].replace("", "1").astype(float)
    return of.assign(size=size)[["run", *tables.settings(of), "seed", "size", "value", "stderr"]]


def plain(finals: pd.DataFrame) -> pd.DataFrame:
    """The values of SGD and of SAM at the largest and the smallest m: each setting has lines of its own."""
    sam = finals["variant"] == "sam"
    ends = finals.loc[sam, "m"].agg(["min", "max"])
    return finals[finals["variant"].eq("sgd") | (sam & finals["m"].isin(ends))]


def frame(
    finals: pd.DataFrame, look: cells.Looks, interval: str = "ci", pens: cells.Looks | None = None
) -> pd.DataFrame:
    """Panel "law": tr(V@m) of each cell with both laws; panel "ratio": m tr(V@m)/tr(V), paired by seed.

    `pens`: the looks of the lines, where they are not those of the study.
    """
    table = per_run(finals)
    base = table[table["size"] == 1].set_index("run")["value"]
    table = table[table["run"].isin(base.index)]
    table = table.assign(base=table["run"].map(base), ratio=table["value"] * table["size"] / table["run"].map(base))
    rows = []
    for _, cell in table.groupby(tables.cell(table), dropna=False, sort=False):
        of = look[tables.records(cell.head(1))[0]]
        common = {k: (pens or look)[of][k] for k in ("line", *lines.LOOK)}
        common |= {"m_train": of["m"], "variant": of["variant"], "rho": of["rho"], "study": of.get("study")}
        own = look.b(of)
        tr_v = float(cell.drop_duplicates("run")["base"].mean())
        for size, group in cell.groupby("size"):
            at = float(str(size))
            for panel, column in (("law", "value"), ("ratio", "ratio")):
                mean = statistics.mean(group[column], interval)
                here = common | {"panel": panel, "x": at}
                rows.append(here | {"kind": "mean", "y": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n})
                seeds = zip(group["seed"], group[column], strict=True)
                rows += [here | {"kind": "seed", "seed": s, "y": v} for s, v in seeds] if panel == "ratio" else []
            theory = common | {
                "panel": "law",
                "x": at,
                "kind": "reference",
                "of": of["line"],
                "colour": style.GREY,
                "marker": "circle",
            }
            rows.append(theory | {"line": LAW, "dash": "dot", "y": tr_v / at})
            if at < own:
                inside = tr_v / at * (own - at) / own
                rows.append(theory | {"line": FACTOR, "dash": "dash", "y": inside})
    found = pd.DataFrame(rows, columns=[*lines.COLUMNS, "of", "variant", "m_train", "rho", "study", *lines.LOOK])
    return found if "study" in finals else found.drop(columns="study")


def caption(study: Study, table: pd.DataFrame, interval: str) -> str:
    """What is measured, and what the two reference lines are."""
    return (
        f"Mean over {captions.over(table, interval)}. tr(V) of means of m "
        "samples, over disjoint random groups of the training set, unbiased. Dotted: tr(V)/m. Dashed: what groups cut "
        "from one batch of B spread around *its* mean, tr(V)/m · (B−m)/B, which is the finite-population factor "
        "(B−m)/(B−1) times the batch's own covariance (with 1/B); it is 0 at m = B. Right: 1 is the law. "
        f"{captions.about(study)}. {captions.radius(table)}"
    )


def findings(table: pd.DataFrame) -> list[str]:
    """Where the law fails: the sizes at which the interval of the ratio does not contain 1."""
    out = []
    ratio = table[(table["panel"] == "ratio") & (table["kind"] == "mean") & (table["x"] > 1)]
    if ratio.empty:
        return ["tr(V) was measured at m = 1 alone in this study, so there is nothing to hold against the law."]
    for line, of in ratio.groupby("line", sort=False):
        judged = of[of["n"] > 1]
        if judged.empty:
            out.append(f"{line}: one seed, so the 1/m law cannot be judged.")
            continue
        off = judged[(judged["low"] > 1) | (judged["high"] < 1)]
        if off.empty:
            low, high = (words.points(end - 1)
                         for end in (judged["low"].min(), judged["high"].max()))  # fmt: skip
            out.append(
                f"{line}: no deviation from tr(V)/m is seen at any of {len(judged)} sizes; their intervals "
                f"(n = {int(judged['n'].min())}) leave room for {low} to {high} %, no more."
            )
        else:
            at = captions.listed(
                f"m = {r['x']:g} ({words.number(r['y'], 4, keep=True)} ×)" for r in tables.records(off)
            )
            out.append(f"{line}: tr(V) at m is off tr(V)/m at {at}; of {len(judged)} intervals, some miss by chance.")
    return out


def headline(table: pd.DataFrame) -> str:
    """How many intervals of the ratio to the law miss 1, and how far the others leave room; "" without any."""
    of = table[(table["panel"] == "ratio") & (table["kind"] == "mean") & (table["x"] > 1) & (table["n"] > 1)]
    if of.empty:
        return ""
    off = of[(of["low"] > 1) | (of["high"] < 1)]
    low, high = (words.points(end - 1) for end in (of["low"].min(), of["high"].max()))
    room = f"their 95 % intervals leave room for {low} to {high} %, no more"
    if off.empty:
        return f"Gradient noise follows tr(V)/m as far as can be seen, at all of {len(of)} settings and sizes: {room}."
    far = tables.records(off.loc[[(off["y"] - 1).abs().idxmax()]])[0]
    return (
        f"{len(off)} of {len(of)} intervals miss tr(V)/m, where one in 20 would by chance; farthest off is "
        f"{far['line']} at m = {far['x']:g}, {words.number(far['y'], 4, keep=True)} times the law."
    )


def scales(finals: pd.DataFrame) -> pd.DataFrame:
    """Per run: both noise scales, tr(V)/||g||^2 with the training set's own gradient g and with the unbiased ||G||^2.

    The second is nan where ||G||^2 = ||g||^2 - tr(V)/n, as stored, is not positive.
    """
    signal = finals[finals["quantity"] == "grad_sq"].drop_duplicates("run").set_index("run")["value"]
    rows = finals[(finals["quantity"] == "tr_V") & finals["run"].isin(signal.index)]
    G = rows["run"].map(signal).astype(float)
    g = G + rows["value"] / rows["budget"].astype(float)
    out = rows[["run", *tables.settings(rows), "seed"]].assign(tr_V=rows["value"], g_sq=g, G_sq=G)
    return out.assign(on_training_set=(out["tr_V"] / g).where(g > 0), unbiased=(out["tr_V"] / G).where(G > 0))


def scale_table(rows: pd.DataFrame, look: cells.Looks) -> pd.DataFrame:
    """One row a cell: means over the seeds where there is one, intervals, and in how many seeds there is none."""
    out = []
    for _, of in rows.groupby(tables.cell(rows), dropna=False, sort=False):
        row: dict[str, object] = {"Setting": look[tables.records(of.head(1))[0]]["line"]}
        for column, name in (("on_training_set", "tr(V)/‖∇f‖²"), ("unbiased", "tr(V)/‖G‖², unbiased")):
            mean = statistics.mean(of[column])
            row |= columns.spread(name, mean, of=f"{name}, ")
        out.append(row | {"Seeds": len(of), "Seeds with ‖G‖² ≤ 0": int(of["unbiased"].isna().sum())})
    return pd.DataFrame(out)


def scale_findings(rows: pd.DataFrame, look: cells.Looks) -> list[str]:
    """The settings whose ‖G‖² is below 0 by more than its interval over seeds, and what that means."""
    below, of_all = {}, 0
    for _, of in rows.groupby(tables.cell(rows), dropna=False, sort=False):
        mean, of_all = statistics.mean(of["G_sq"]), of_all + 1
        if mean.n > 1 and mean.high < 0:
            name = look[tables.records(of.head(1))[0]]["line"]
            below[f"{name} ({words.number(mean.mean)})"] = -mean.mean / mean.se
    if not below:
        return []
    names = captions.listed(below) if len(below) <= 3 else f"{len(below)} of {of_all} settings"
    far = " to ".join(dict.fromkeys(f"{z:.0f}" for z in (min(below.values()), max(below.values()))))
    return [
        f"‖G‖² is below 0 for {names}, by {far} standard errors over seeds. No squared norm is: the estimate takes the "
        "training samples as drawn afresh, but the weights were fitted to them, which makes ‖∇f‖² smaller than noise "
        "alone would. It says that the training gradient has all but vanished, and nothing of that on fresh samples."
    ]


SCALE_NOTE = (
    "The simple noise scale (McCandlish et al., arXiv:1812.06162) is the batch at which noise and gradient are as "
    "strong as each other. ∇f is the gradient of the training loss itself: near a minimum it vanishes and the scale "
    "grows without bound. ‖G‖² = ‖∇f‖² − tr(V)/n takes the training set as a sample of its population; at the end of "
    "training it usually comes out ≤ 0, and then that scale does not exist (counted in the last column, "
    "not averaged in)."
)


def tail_table(finals: pd.DataFrame, look: cells.Looks) -> pd.DataFrame:
    """One row a cell: the tail index, mean over seeds with its interval, and the error of one run's estimate."""
    rows = finals[finals["quantity"] == "tail"]
    out = []
    for _, of in rows.groupby(tables.cell(rows), dropna=False, sort=False):
        mean = statistics.mean(of["value"])
        row: dict[str, object] = {"Setting": look[tables.records(of.head(1))[0]]["line"]}
        row |= columns.spread("Tail index α", mean)
        error = float((of["stderr"] ** 2).mean()) ** 0.5
        out.append(row | {"Standard error of one run": error, "Seeds": mean.n})
    return pd.DataFrame(out)


TAIL_NOTE = (
    "Hill's estimate from the largest tenth of ‖∇l_i − ∇f‖ over the training samples; smaller is heavier. **It does "
    "not prove a heavy tail**: every sample has a largest tenth and so a finite α, a normal one too. "
    "Compare settings with each other, not α with 2."
)


def chosen(at: Selection) -> pd.DataFrame:
    """The final values of the settings named in the option `settings`; else of `plain` ones."""
    wanted = at.options.get("settings")
    if wanted is None:
        return plain(at.kept)
    runs = tables.records(at.kept.drop_duplicates("run"))
    return at.kept[at.kept["run"].isin([r["run"] for r in runs if at.look[r]["line"] in wanted])]


class NoiseLaw(StudyView):
    """tr(V) over m, of what did not collapse. Options: `settings`, see `chosen`; `facet`, which panels are told by."""

    key, title, page = "noise", "tr(V) of means of m samples against tr(V)/m", "noise"

    def frame(self, at: Selection) -> pd.DataFrame:
        """See `frame`."""
        of = chosen(at)
        return frame(of, at.look, at.interval, at.pens) if (of["quantity"] == "tr_V").any() else of[:0]

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """Two panels, one below the other on a telephone."""
        return lines.figure(frame, AXES, TITLES, columns=2, room=columns, facet=at.facet)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """See `caption`."""
        return caption(at.study, frame, at.interval)

    def headline(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """See `headline`."""
        return headline(frame) or super().headline(frame, at, found)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """See `findings`."""
        return findings(frame)

    def missing(self, at: Selection) -> Missing | None:
        """The noise, unless it is only that no setting is chosen."""
        if (at.kept["quantity"] == "tr_V").any():
            return None
        wanted = {"Set up this study with gradient noise": further.extended(at.study, measures={"what": ("noise",)})}
        return Missing(
            "Gradient noise was not measured in this study", "tr(V) at every m costs three gradients.", wanted
        )


VIEW = NoiseLaw()
