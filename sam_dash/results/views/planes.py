"""The loss on a plane through the weights of one or two checkpoints, side by side on one scale, with the SAM ball."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import panels
from sam_dash.results.drawing.panels import Panels
from sam_dash.results.views.looked import Looked, LookView

PLANES = {"eigen": "Two top eigenvectors", "random": "Two random directions"}
COLUMNS = ["line", "a", "b", "rise", "rise_stderr", "loss", "stderr", "score"]
HEIGHT = 400
STEPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
BALL = "#D55E00"
BESIDE = {"len": 0.9}
BELOW = {"orientation": "h", "y": -0.1, "yanchor": "top", "len": 1.0}  # of one panel over the other on a telephone


class Planes(LookView):
    """The rise of the loss on one plane of each checkpoint: `Looked.plane`, of `PLANES`."""

    key, title = "planes", "The loss on a plane"

    def frame(self, at: Looked) -> pd.DataFrame:
        """A row a point of each checkpoint."""
        of = f"{at.plane} plane"
        rows = [{"line": s.name, **r} for s in at.seen for r in s.points(of).to_dict("records")]
        return pd.DataFrame(rows, columns=COLUMNS)

    def choices(self, at: Looked) -> Iterator[tuple[str, Looked]]:
        """Both planes."""
        for plane in PLANES:
            yield f"-{plane}", at.but(plane)

    def figure(self, frame: pd.DataFrame, at: Looked, columns: int) -> go.Figure:
        """A panel a checkpoint, one scale of colours: even in the square root, so that a bowl has even rings."""
        grid = Panels([s.name for s in at.seen], 1 if columns < 6 else len(at.seen), 0.1, 0.16)
        most = float(np.sqrt(np.clip(frame["rise"].astype(float), 0, None)).max()) or 1.0
        least = float(_root(frame["rise"]).min())
        for i, seen in enumerate(at.seen):
            of = frame[frame["line"] == seen.name]
            table = of.pivot(index="b", columns="a", values="rise").astype(float)
            errors = of.pivot(index="b", columns="a", values="rise_stderr").astype(float)
            x, y = table.columns.tolist(), table.index.tolist()
            grid.add(
                i,
                {
                    "type": "contour", "x": x, "y": y, "z": np.round(_root(table.to_numpy()), 5).tolist(),
                    "coloraxis": "coloraxis", "ncontours": 16, "line": {"width": 0.6}, "showlegend": False,
                    "contours": {"start": least, "end": most, "size": (most - least) / 16 or 1.0},
                    "name": seen.name, "customdata": np.dstack([table.to_numpy(), errors.to_numpy()]).tolist(),
                    "hovertemplate": "(%{x:.3~g}, %{y:.3~g})<br>rise %{customdata[0]:.4~g} ± %{customdata[1]:.2~g}"
                    "<extra></extra>",
                },
                {
                    **_ball(seen.answer["gram"][f"{at.plane} plane"], seen.look.rho), "mode": "lines",
                    "name": f"ball of SAM, ρ = {seen.look.rho:g}", "line": {"color": BALL, "width": 2.5},
                    "showlegend": not i, "legendgroup": "ball", "hoverinfo": "skip",
                },
                {
                    "x": [0], "y": [0], "mode": "markers", "name": "the weights", "showlegend": not i,
                    "marker": {"color": BALL, "size": 8, "symbol": "cross"}, "legendgroup": "w",
                    "hovertemplate": "the weights<extra></extra>",
                },
            )  # fmt: skip
            ends = {"zeroline": False, "showgrid": False}
            unit = "parameters" if at.plane == "eigen" else "filter norms"
            grid.xaxes[i] |= ends | {"range": [x[0], x[-1]], "title": {"text": f"<i>a</i>, {unit}"}}
            nth = str(i + 1) if i else ""
            grid.yaxes[i] |= ends | {"range": [y[0], y[-1]], "scaleanchor": f"x{nth}", "constrain": "domain"}
            grid.xaxes[i]["constrain"] = "domain"
        grid.yaxes[0]["title"] = {"text": "<i>b</i>"}
        names = [t["name"] for t in grid.traces if t["showlegend"]]
        fig = grid.figure(panels.layout(grid.rows, HEIGHT, names, columns, 60, 10, 60, "Shown"))
        ticks = [s for s in STEPS if 0.06 * (most - least) <= s**0.5 <= most]
        fig.update_layout(coloraxis={
            "colorscale": "Viridis", "cmin": least, "cmax": most,
            "colorbar": {"title": {"text": "rise of the loss"}, "thickness": 14, **(BELOW if columns == 1 else BESIDE),
                         "tickvals": [0, *(s**0.5 for s in ticks)], "ticktext": ["0", *(f"{s:g}" for s in ticks)]},
        })  # fmt: skip
        return fig

    def caption(self, frame: pd.DataFrame, at: Looked) -> str:
        """What is drawn, the scale, and what it does not show."""
        about, look = at.seen[0].answer["about"], at.seen[0].look
        how = (
            "the two top eigenvectors of each checkpoint's own Hessian, in the units of the parameters"
            if at.plane == "eigen"
            else "two random directions with the norm of each checkpoint's own weights in every filter "
            "(arXiv:1712.09913), the same draw for each: a unit is then as far, relative to its weights, for each"
        )
        small = "" if at.plane == "eigen" else " It is drawn to scale, and small."
        errors = frame["rise_stderr"].astype(float) / frame["rise"].astype(float).abs().clip(lower=1e-12)
        return (
            f"Rise of the mean loss over that at the weights, on one scale, even in its square root. {at.setting}. "
            f"Axes: {how}. The ring is SAM's ball, ρ = {look.rho:g}, where it meets this plane.{small} {at.losses} "
            f"Standard error over samples: {words.per_cent(float(errors.median()))} of the rise in the median (hover). "
            f"This is 2 of {about['parameters']} dimensions: a wide picture is no flat minimum; tr(H) counts all."
        )

    def findings(self, frame: pd.DataFrame, at: Looked) -> list[str]:
        """How much of the plane is within given rises."""
        out = []
        for level in (0.1, 1.0):
            shares = [float((of["rise"] < level).mean()) for _, of in frame.groupby("line", sort=False)]
            if any(0 < s < 1 for s in shares):
                each = [f"{words.per_cent(s)} ({seen.name})" for s, seen in zip(shares, at.seen, strict=True)]
                out.append(
                    f"The loss rises by less than {level:g} on {' and '.join(each)} of the square that is drawn."
                )
        return out

    def name(self, at: Looked) -> str:
        """Which plane is in it."""
        return f"{super().name(at)}-{at.plane}"


def _root(rise: Any) -> Any:
    """The square root with the sign of the rise."""
    values = np.asarray(rise, float)
    return np.sign(values) * np.sqrt(np.abs(values))


def _ball(gram: list[list[float]], rho: float) -> dict[str, list[float]]:
    """The points (a, b) with |a u + b v| = rho, for directions of these inner products."""
    turn = np.linspace(0, 2 * np.pi, 91)
    a, b = rho * np.linalg.solve(np.linalg.cholesky(np.array(gram)).T, [np.cos(turn), np.sin(turn)])
    return {"x": np.round(a, 6).tolist(), "y": np.round(b, 6).tolist()}


VIEW = Planes()
