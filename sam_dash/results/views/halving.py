"""How both families of a decision were explored: the mean of every setting at each rung, dropped ones grey."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.decide.record import FAMILIES, Decision
from sam_dash.decide.rule import RUNGS
from sam_dash.results import words
from sam_dash.results.drawing import lines, style
from sam_dash.results.views.race import shortened
from sam_dash.results.views.view import View

FINALISTS = 3  # of each family that are named, at most


class Halving(View[Decision]):
    """Means over the seeds of a rung, without intervals: they choose, and decide nothing."""

    key, title, page = "halving", "Both families explored", "decide"
    drawn_with = ("colour", "dash", "marker", "seed", "low", "high", "kind")
    silent = "No rung is finished yet."

    def frame(self, at: Decision) -> pd.DataFrame:
        """A row a setting and rung: `n` seeds; `kept`: whether it is among the best of its family so far."""
        rows: list[dict[str, object]] = []
        sign = words.better(f"test_{at.score}")
        for family in FAMILIES:
            rungs = at.rungs.get(family, [])
            best = list(rungs[-1].kept[:FINALISTS]) if rungs else []
            names = shortened({arm for rung in rungs for arm in rung.means})
            for rung in rungs:
                for arm, mean in rung.means.items():
                    kept, dash = arm in best, "solid" if family == "base" else "dash"
                    place = best.index(arm) if kept else 0
                    own = (style.ORDERED[3 * place], dash, style.COMMON[place])
                    look = dict(zip(lines.LOOK, own if kept else (style.GREY, "dot", "circle"), strict=True))
                    rows.append({"panel": family, "line": f"{family}: {names[arm]}", "kind": "mean", "x": rung.seeds,
                                 "y": sign * mean, "n": rung.seeds, "kept": kept} | look)  # fmt: skip
        frame = pd.DataFrame(rows, columns=[*lines.COLUMNS, *lines.LOOK, "kept"])
        return frame[frame["y"].notna()].sort_values("kept", kind="stable")

    def figure(self, frame: pd.DataFrame, at: Decision, columns: int) -> go.Figure:
        """One panel a family; only the best are in the legend."""
        percent = frozenset(FAMILIES) if words.is_fraction(f"test_{at.score}") else frozenset()
        axes = lines.Axes("seeds a setting (log scale)", "seeds", log2=True, percent=percent)
        titles = {"base": "the base optimiser", "sam": "SAM on the best base"}
        fig = lines.figure(frame, axes, titles, columns=2, room=columns)
        named = list(dict.fromkeys(frame.loc[frame["kept"], "line"]))
        for trace in fig.data:
            trace.showlegend = bool(trace.showlegend and trace.name in named)
        rows = 1 if columns > 1 else frame["panel"].nunique()
        return fig.update_layout(lines.layout(rows, named, columns)).update_layout(legend_title_text="Best so far")

    def caption(self, frame: pd.DataFrame, at: Decision) -> str:
        """The rungs, and why there are no intervals."""
        rungs = ", ".join(f"{seeds} seeds ({words.per_cent(share)} of the settings)" for seeds, share in RUNGS)
        return (
            f"Mean {words.within(f'test_{at.score}')} of every setting, each at its best epoch of the mean curve: "
            f"{rungs}. Both families are as large and get as many seeds. No intervals: these seeds choose the "
            "finalists, and the best of many looks better than it is on the seeds it was chosen on; the race takes "
            "fresh ones."
        )

    def findings(self, frame: pd.DataFrame, at: Decision) -> list[str]:
        """The best of each family, and what each has taken."""
        out = []
        for family in FAMILIES:
            rungs = at.rungs.get(family, [])
            if rungs and rungs[-1].kept:
                best, last = rungs[-1].kept[0], rungs[-1]
                value = words.better(f"test_{at.score}") * last.means[best]
                name = "the base" if family == "base" else "SAM"
                text = f"Best of {name} after {last.seeds} seeds: {best}, {words.show(f'test_{at.score}', value)}."
                if took := at.effort.get(family):
                    text += f" All of {name} so far: {took.runs} runs, {took.gradients:,.0f} mini-batch gradients, "
                    text += f"{words.duration(took.seconds)} of training."
                out.append(text)
        return out


VIEW = Halving()
