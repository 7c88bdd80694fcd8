"""What an experiment of a paper is: its claim, the preset that tests it, the figure, and the judgement by a rule.

The judgement is made on the frame that is drawn, so that the CSV of the figure holds all that a verdict rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.claims import rule
from sam_dash.results.experiments.dots import stacked
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.view import View
from sam_dash.runs import presets
from sam_dash.runs.spec import SweepSpec

DATA = Path(__file__).parent / "data"  # made by `python -m docs.example`


class Statement(NamedTuple):
    """A statement, what was tested for it, and the numbers that it rests on."""

    says: str
    test: rule.Sides
    why: str


class Finding(NamedTuple):
    """A statement with its ruling among those beside it, and the numbers that it rests on."""

    says: str
    ruling: rule.Ruling
    why: str

    @property
    def verdict(self) -> str:
        """Supported, not supported, inconclusive or not tested."""
        return self.ruling.verdict


def decide(statements: Sequence[Statement]) -> list[Finding]:
    """Statements that are judged at once, each with its ruling, its p among the numbers."""
    rulings = rule.decide([s.test for s in statements])
    return [
        Finding(s.says, r, f"{s.why} Two-sided {r.says}." if r.says else s.why)
        for s, r in zip(statements, rulings, strict=True)
    ]


@dataclass(frozen=True)
class Experiment:
    """One experiment: `frame` takes the study of the preset, `figure` and `judge` the frame alone.

    `claim`, `source`, `rule` and `limits` are Markdown. A frame is made of `frames.rows`; it is empty where the study
    lacks what is compared.
    """

    name: str
    title: str
    claim: str
    source: str
    preset: str
    rule: str
    limits: str
    frame: Callable[[Study], pd.DataFrame]
    figure: Callable[[pd.DataFrame], go.Figure]
    caption: Callable[[Study, pd.DataFrame], str]
    judge: Callable[[pd.DataFrame], list[Finding]]
    data: Path  # the study that ships with the project

    @property
    def sweeps(self) -> tuple[SweepSpec, ...]:
        """The sweeps of its preset."""
        return presets.get(self.preset).sweeps


class Result(View[Study]):
    """The figure of an experiment, of the study of its preset or of all its studies together."""

    key, title, page = "result", "What the runs show", "experiments"

    def __init__(self, experiment: Experiment) -> None:
        self.of = experiment

    def frame(self, at: Study) -> pd.DataFrame:
        """The experiment's own."""
        return self.of.frame(at)

    def figure(self, frame: pd.DataFrame, at: Study, columns: int) -> go.Figure:
        """The experiment's own, as it is where there is room for it, else in two columns or in one."""
        fig = self.of.figure(frame)
        return fig if columns == 6 else stacked(fig, 1 if columns < 3 else 2)

    def caption(self, frame: pd.DataFrame, at: Study) -> str:
        """The experiment's own."""
        return self.of.caption(at, frame)

    def alt(self, frame: pd.DataFrame, at: Study, found: list[str]) -> str:
        """The verdicts."""
        return alt(self.of.judge(frame))

    def name(self, at: Study) -> str:
        """The experiment is in it."""
        return f"experiment-{self.of.name}"


def alt(findings: list[Finding]) -> str:
    """The alternative text of a figure: what was found."""
    return " ".join(f"{f.says}: {f.verdict}. {f.why}" for f in findings) or "Too few runs to judge."
