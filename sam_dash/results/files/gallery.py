"""The figures of a study, or of checkpoints, for their bundle: every view of which there are data.

Each is made from a frame that goes into the bundle beside it, as its page makes it before a control is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.experiments.experiment import Result
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import VIEWS
from sam_dash.results.views.looked import Looked, LookView
from sam_dash.results.views.view import Curves, Selection, StudyView, View
from sam_dash.runs import presets

WIDE = 6  # panels side by side; print wraps them to its width


class Picture(NamedTuple):
    """A figure with its caption, the frame that it was made from, its title, and its sentences: the headline, what was
    found, the alternative text.
    """

    name: str
    figure: go.Figure
    caption: str
    frame: pd.DataFrame
    title: str
    headline: str
    found: list[str]
    alt: str


def pictures(study: Study, curves: Curves, columns: int = WIDE) -> list[Picture]:
    """Every view of each network, at each ρ or of all together; the figure of an experiment, of its preset's study.

    `curves`: what was recorded along the way. Where there are several networks or ρ, they are in the names. `columns`:
    panels side by side.
    """
    found = (_pictures(one, _own(one, curves), columns) for one in study.parts())
    return [*(picture for part in found for picture in part), *_experiments(study, columns)]


def of_checkpoints(at: Looked) -> list[Picture]:
    """Every view of one or two checkpoints, of which there are answers."""
    views = [v for v in VIEWS.values() if isinstance(v, LookView)]
    found = [(v, one, f"{v.key.replace('_', '-')}{choice}") for v in views for choice, one in v.choices(at)]
    return [picture for view, one, name in found for picture in _picture(view, one, name, WIDE)]


def _own(study: Study, curves: Curves) -> Curves:
    """The curves of the study's own runs."""

    def own(quantities: Sequence[str], points: int) -> pd.DataFrame:
        of = curves(quantities, points)
        return of[of["run"].isin(study.runs["run"])]

    return own


def _pictures(study: Study, curves: Curves, columns: int) -> Iterator[Picture]:
    network = f"-{study.network.replace(':', '-')}" if study.network else ""
    every = Selection(study, study.finals, study.runs, curves)
    rhos = study.values("rho")
    at_one = {f"-rho-{rho:g}" if len(rhos) > 1 else "": every.where(rho=rho) for rho in rhos} or {"": every}
    for view in (v for v in VIEWS.values() if isinstance(v, StudyView)):
        for at_rho, at in ({"": every} if view.whole else at_one).items():
            for choice, chosen in view.choices(at):
                yield from _picture(view, chosen, f"{view.key.replace('_', '-')}{choice}{at_rho}{network}", columns)


def _picture(view: View[Any], at: Any, name: str, columns: int) -> Iterator[Picture]:
    """None where the frame is empty."""
    frame = view.frame(at)
    if len(frame):
        shown, found = frame.drop(columns=list(view.drawn_with)), view.findings(frame, at)
        yield Picture(
            name, view.figure(frame, at, columns), view.caption(frame, at), shown, view.title,
            view.headline(frame, at, found), found, view.alt(frame, at, found),
        )  # fmt: skip


def _experiments(study: Study, columns: int) -> Iterator[Picture]:
    """The figures of the experiments whose preset is this one study; of the others see `elsewhere`."""
    for e in EXPERIMENTS.values():
        if e.preset == study.spec.preset and len(presets.get(e.preset).sweeps) == 1:
            yield from _picture(Result(e), study, f"experiment-{e.name}", columns)


def elsewhere(study: Study) -> str:
    """Which figure of its preset a study lacks, and where it is; "" for most."""
    for e in EXPERIMENTS.values():
        n = len(presets.get(e.preset).sweeps)
        if e.preset == study.spec.preset and n > 1:
            return (
                f"The figure of the experiment “{e.title}” is of {n} studies together, of which this is one: it is on "
                "the page Experiments, with its own Export."
            )
    return ""
