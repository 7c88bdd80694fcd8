"""What a step of m-USAM adds to the gradient against what the theory predicts, on a run's own weights, over the radius.

Measured at fixed radii and m_eval, whatever the run was trained with (`sam_dash.maths.regulariser`).
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, lines, style
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.views.view import Missing, Selection, StudyView

WITH, WITHOUT, COSINE, LENGTH = "added_error", "added_error0", "added_cos", "added_len"
TITLES = {
    WITH: "relative error", WITHOUT: "relative error without tr <i>V</i>", COSINE: "cosine",
    LENGTH: "length over predicted",
}  # fmt: skip
KEY = re.compile(rf"(?P<panel>{'|'.join(TITLES)})@m=(?P<m>\d+),rho=(?P<rho>.+)")


def measured(finals: pd.DataFrame) -> pd.DataFrame:
    """The rows of the measurement, with their `panel`, `m_eval` and radius `x`."""
    found = finals["quantity"].str.extract(KEY)
    out = finals.assign(panel=found["panel"], m_eval=found["m"].astype(float), x=found["rho"].astype(float))
    return out[out["panel"].notna()]


def names(at: Selection) -> list[str]:
    """The settings that it was measured for."""
    rows = measured(at.kept).drop_duplicates("run")
    return list(dict.fromkeys(at.look[r]["line"] for r in tables.records(rows)))


def chosen(at: Selection) -> pd.DataFrame:
    """The rows of the setting in the option `setting`, else of the first."""
    rows, wanted = measured(at.kept), at.options.get("setting")
    lines_ = [at.look[r]["line"] for r in tables.records(rows)]
    rows = rows.assign(setting=lines_)
    return rows[rows["setting"] == (wanted if wanted in lines_ else next(iter(lines_), ""))]


class Regulariser(StudyView):
    """Error, cosine and length of the prediction over rho, a line an m_eval, of one setting."""

    key, title, page = "regulariser", "What a step adds against its prediction", "theory"
    drawn_with = ("colour", "dash", "marker")

    def frame(self, at: Selection) -> pd.DataFrame:
        """A row a panel, m_eval and radius: mean over seeds."""
        rows: list[dict[str, Any]] = []
        found = chosen(at)
        order = sorted(found["m_eval"].unique())
        for panel in TITLES:
            of = found[found["panel"] == panel]
            for (m, x), group in of.groupby(["m_eval", "x"]):
                mean = statistics.mean(group["value"], at.interval)
                place = order.index(m) * (len(style.ORDERED) - 1) // max(1, len(order) - 1)
                look = {"colour": style.ORDERED[place], "dash": "solid",
                        "marker": style.COMMON[order.index(m) % len(style.COMMON)]}  # fmt: skip
                own = float((group["stderr"] ** 2).mean()) ** 0.5
                rows.append({"panel": panel, "line": f"m_eval = {m:g}", "kind": "mean", "x": x, "y": mean.mean,
                             "low": mean.low, "high": mean.high, "n": mean.n, "stderr": own,
                             "setting": group["setting"].iat[0], **look})  # fmt: skip
        return pd.DataFrame(rows, columns=[*lines.COLUMNS, "stderr", "setting", *lines.LOOK])

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """The two errors share their axis."""
        axes = lines.Axes("<i>ρ</i> (log scale)", "ρ", log2=True)
        fig = lines.figure(frame, axes, TITLES, columns=4, room=columns)
        errors = frame[frame["panel"].isin([WITH, WITHOUT])]
        top = 1.05 * float(errors[["y", "high"]].max().max())
        for i, panel in enumerate(dict.fromkeys(frame["panel"])):
            if panel in (WITH, WITHOUT):
                fig.layout[f"yaxis{i + 1 if i else ''}"].range = [0, top]
        return fig.update_layout(legend_title_text="Measured with")

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """What is measured, of which runs."""
        own = float(frame["stderr"].max()) if len(frame) else 0.0
        return (
            f"{frame['setting'].iat[0]}: mean over {captions.over(frame, at.interval)}. On the final weights: "
            "E[h] − ∇f of m-USAM at this ρ and micro-batches of m_eval, against ρ/2 ∇‖∇f‖² + ρ/(2m) ∇tr V, whatever ρ "
            "and m the run was trained with. Relative error: ‖E[h] − predicted‖ / ‖E[h] − ∇f‖; 1 is no better than a "
            f"prediction that nothing is added. Standard error of a single estimate at most {words.number(own, 2)}. "
            f"{captions.setting(at.study.spec)}."
        )

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """For each m_eval how far the prediction is off at the smallest radius, and where tr V makes it worse."""
        found, out = chosen(at), []
        for m, of in found.groupby("m_eval"):
            errors = of[of["panel"].isin([WITH, WITHOUT])].set_index(["panel", "x", "seed"])["value"].sort_index()
            radii = sorted(of["x"].unique())
            d = {x: statistics.paired(errors[WITH, x].to_dict(), errors[WITHOUT, x].to_dict()) for x in radii}
            small, more = (statistics.mean(errors[panel, radii[0]]).mean for panel in (WITH, WITHOUT))
            text = f"m_eval = {m:g}: at ρ = {radii[0]:g} the prediction is off by {words.per_cent(small)} of what is "
            text += f"added, without tr V by {words.per_cent(more)}; "
            worse = [f"{x:g}" for x in radii if d[x].n > 1 and d[x].low > 0]
            better = [f"{x:g}" for x in radii if d[x].n > 1 and d[x].high < 0]
            told = [f"with tr V it is {word} at ρ = {captions.listed(at_)}"
                    for word, at_ in (("better", better), ("worse", worse)) if at_]  # fmt: skip
            if max(v.n for v in d.values()) < 2:
                text += "one seed: no comparison."
            else:
                rest = len(radii) - len(worse) - len(better)
                text += "; ".join([*told, *([f"a tie at {rest} of {len(radii)} radii"] if rest else [])]) + "."
            out.append(text)
        return out

    def missing(self, at: Selection) -> Missing:
        """A measurement of its own."""
        return Missing(
            "What a step adds was not measured in this study",
            "The mean step of m-USAM on the final weights against the predicted gradient, at several m and ρ. "
            + further.ANEW,
            {"Set up this study with it": further.extended(at.study, measures={"what": ("regulariser",)})},
        )


VIEW = Regulariser()
